"""Says what the next deployment would fail on: this machine, the AWS account, the workspaces."""

import contextlib
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import botocore.config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from ops import Stop, credentials, probes
from ops.account import Account, rights
from ops.aws import Stack, refusal
from ops.probes import NotChecked, Note, Problem
from ops.project import Project, Unreadable

Probe = Callable[[], str]

SECONDS = 30  # for one probe, whatever it waits for
MARKS = {
    "ok": ("✓", "green"),
    "wrong": ("✗", "bold red"),
    "note": ("\N{EN DASH}", "yellow"),
    "not checked": ("\N{EN DASH}", "yellow"),
}


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
        workspaces[f"{target} workspace"] = partial(probes.workspace, project, target)
    return {
        "This machine": {
            "git": partial(probes.tool, "git"),
            "uv": partial(probes.tool, "uv"),
            "AWS CLI": partial(probes.tool, "aws"),
            "Databricks CLI": partial(probes.databricks, project),
            "Java": probes.java,
            "this folder": partial(probes.repository, project),
        },
        "AWS": {
            "identity": account.identity,
            "region": account.region,
            "rights": partial(rights, account),
            "stack": account.state,
            "parameters": account.parameters,
            **credentials.probes(account),
            "repository": account.repository,
        },
        "Databricks": workspaces,
    }


def outcome(probe: Probe) -> Result:
    """What a probe says, or why it cannot."""
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
