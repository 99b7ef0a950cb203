"""Says what the next deployment would fail on: this machine, the AWS account, the workspaces."""

import contextlib
import http.client
import os
import re
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple

import botocore.config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from cicd.steps.workspace import NoRedirect
from ops import ROOT, NotChecked, Note, Problem, Stop, credentials
from ops.account import Account, rights
from ops.aws import Stack, refusal
from ops.project import Project, Unreadable

Probe = Callable[[], str]

SECONDS = 30  # for one probe, whatever it waits for
TOOL_SECONDS = 5  # for a tool to print its version
HTTP_SECONDS = 5  # for a connection, and for an answer
INSTALL = {
    "git": "https://git-scm.com/downloads",
    "uv": "https://docs.astral.sh/uv/getting-started/installation/",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "databricks": "https://docs.databricks.com/aws/en/dev-tools/cli/install",
    "java": "https://adoptium.net/temurin/releases/?version=17",
}
MARKS = {
    "ok": ("✓", "green"),
    "wrong": ("✗", "bold red"),
    "note": ("\N{EN DASH}", "yellow"),
    "not checked": ("\N{EN DASH}", "yellow"),
}


# ---- This machine --------------------------------------------------------------------------------


def output(*command: str) -> str | None:
    """What a command prints; None if it is missing, fails, or does not end."""
    try:
        result = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout + result.stderr if result.returncode == 0 else None


def version(*command: str) -> str | None:
    """The first version number that a command prints, or None."""
    match = re.search(r"\d+(\.\d+)+", output(*command) or "")
    return match[0] if match else None


def tool(name: str) -> str:
    """The version of a tool that `make` needs."""
    installed = version(name, "--version")
    if installed is None:
        raise Problem("is missing, or does not run", f"install it: {INSTALL[name]}")
    return installed


def databricks(project: Project) -> str:
    """The version of the Databricks CLI: builds install their own, so another is only noted."""
    installed, pinned = version("databricks", "--version"), project.cli_version
    link = INSTALL["databricks"]
    if installed is None:
        raise Note("is missing; only development needs it", f"install it: {link}")
    if installed != pinned:
        what = f"is {installed}, the builds' is {pinned}; only development needs it"
        raise Note(what, f"install that one: {link}")
    return installed


def java() -> str:
    """The version of the Java that local Spark would take."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    # Java 8 calls itself 1.8.
    match = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', output(program, "-version") or "")
    if match is None:
        raise Note("is missing; only make test needs it", f"install it: {INSTALL['java']}")
    if int(match[2]) < 17:
        what = f"is {match[1]}; make test needs 17 or newer"
        raise Note(what, f"install it: {INSTALL['java']}")
    return match[1]


def repository(project: Project) -> str:
    """The branch that is checked out in a git repository of this folder's own."""
    branch = project.parameters["BranchName"]
    if output("git", "--version") is None:
        raise NotChecked("git is missing")
    top = output("git", "rev-parse", "--show-toplevel")
    if top is None or not ROOT.samefile(top.strip()):
        raise Problem("this folder is no git repository of its own", f"git init -b {branch}")
    head = output("git", "symbolic-ref", "--short", "HEAD")
    if head is None:
        raise Problem("no branch is checked out", f"git switch {branch}")
    return f"on the branch {head.strip()}"


# ---- The workspaces ------------------------------------------------------------------------------


def workspace(project: Project, target: str) -> str:
    """Whether a workspace answers. It is asked without a credential, and refuses."""
    host = project.host(target)
    fix = f"correct {target}'s host in databricks.yml and cicd/stack.yml, or fix the network"
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(f"{host}/api/2.0/preview/scim/v2/Me", timeout=HTTP_SECONDS) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    except urllib.error.URLError as error:
        raise Problem(f"{host} cannot be reached ({error.reason})", fix) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Problem(f"{host} does not answer ({error})", fix) from None
    if status not in (401, 403):
        raise Problem(f"{host} answers HTTP {status}, which no Databricks workspace answers", fix)
    return f"answers (HTTP {status}, as expected without a credential)"


# ---- The screen ----------------------------------------------------------------------------------


class Result(NamedTuple):
    """A key of MARKS, what the probe says, and what fixes it."""

    kind: str
    text: str
    fix: str = ""


def sections(project: Project, account: Account) -> dict[str, dict[str, Probe]]:
    """Every probe by its subject, in the order of the screen."""
    workspaces: dict[str, Probe] = {}
    for target in ("qa", "prod"):
        workspaces[f"{target} host"] = partial(account.same_host, target)
        workspaces[f"{target} workspace"] = partial(workspace, project, target)
    return {
        "This machine": {
            "git": partial(tool, "git"),
            "uv": partial(tool, "uv"),
            "AWS CLI": partial(tool, "aws"),
            "Databricks CLI": partial(databricks, project),
            "Java": java,
            "this folder": partial(repository, project),
        },
        "AWS": {
            "identity": account.identity,
            "region": account.region,
            "rights": partial(rights, account),
            "stack": account.state,
            "parameters": account.parameters,
            "cicd/": account.cicd,
            **credentials.probes(account),
            "repository": account.repository,
        },
        "Databricks": workspaces,
    }


def outcome(probe: Probe) -> Result:
    """The result of a probe, or why it has none."""
    try:
        return Result("ok", probe())
    except Note as note:
        return Result("note", str(note), note.fix)
    except Problem as problem:
        return Result("wrong", str(problem), problem.fix)
    except Unreadable as error:
        return Result("wrong", str(error), "make check")
    except (NotChecked, Stop) as reason:
        return Result("not checked", str(reason))
    except ClientError as error:
        return Result("not checked", refusal(error))
    except BotoCoreError as error:
        return Result("not checked", str(error))


def in_time(probe: Probe) -> Result:
    """The outcome of a probe, which is wrong if it takes too long: a name server may be slow."""
    future: Future[Result] = Future()

    def attempt() -> None:
        try:
            future.set_result(outcome(probe))
        except BaseException as error:  # a bug, for the main thread to raise
            future.set_exception(error)

    # A daemon: nobody waits for it when the command ends.
    threading.Thread(target=attempt, daemon=True).start()
    try:
        return future.result(timeout=SECONDS)
    except TimeoutError:
        text = f"no answer within {SECONDS} seconds"
        return Result("wrong", text, "fix the network, then make doctor")


def line(subject: str, result: Result, width: int) -> Text:
    """A line of the screen, continued below its last column; no address is cut in two."""
    mark, style = MARKS[result.kind]
    start = f"  {mark} {result.kind:<11}  {subject:<14}  "
    text = textwrap.fill(
        f"{result.text} → {result.fix}" if result.fix else result.text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text.assemble(text[:2], (text[2:15], style), text[15:])


def examine(stack: Stack, project: Project) -> int:
    """Prints a line for each probe as it ends, and returns 1 if anything is wrong."""
    stack.config = botocore.config.Config(
        connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2}
    )
    with contextlib.suppress(Unreadable):
        _ = project.parameters  # stops here if the command line names one that does not exist
    console = Console(highlight=False)
    width = console.width if console.is_terminal else sys.maxsize  # a pipe's reader wants lines
    console.print(f"[bold]{stack.name}[/] in {stack.region}")
    kinds = []
    for title, rows in sections(project, Account(stack, project)).items():
        console.print(f"\n[bold]{title}[/]")
        for subject, probe in rows.items():
            result = in_time(probe)
            kinds.append(result.kind)
            console.print(line(subject, result, width), soft_wrap=True)
    wrong, unknown = kinds.count("wrong"), kinds.count("not checked")
    need = "needs" if wrong == 1 else "need"
    rest = f", {unknown} not checked" if unknown else ""
    console.print(f"\n{wrong} of {len(kinds)} {need} attention{rest}")
    return 1 if wrong else 0
