"""Says what the first deployment, or the next, would stumble over: doctor.py [Name=Value ...].

Looks at this machine, the AWS account and the workspaces, and changes nothing. The arguments are
the stack's parameters, as `make stack` takes them.
"""

import contextlib
import os
import queue
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial

import aws_stack
import boto3
import botocore.config
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from probes import NotChecked, Note, Problem, machine, workspaces
from probes.account import Account
from probes.project import Project
from probes.rights import rights
from rich.console import Console
from rich.text import Text

Probe = Callable[[], str]
Result = tuple[str, str, str]  # a key of MARKS, what was found, and what mends it

SECONDS = 30  # for one probe, whatever it waits for
MARKS = {
    "ok": ("✓", "green"),
    "wrong": ("✗", "bold red"),
    "note": ("\N{EN DASH}", "yellow"),
    "not checked": ("\N{EN DASH}", "yellow"),
}


def sections(project: Project, account: Account) -> dict[str, dict[str, Probe]]:
    """Every probe by its subject, in the order of the screen."""
    return {
        "This machine": {
            "git": partial(machine.tool, "git"),
            "uv": partial(machine.tool, "uv"),
            "AWS CLI": partial(machine.tool, "aws"),
            "Databricks CLI": partial(machine.databricks, project),
            "Java": machine.java,
            "this folder": partial(machine.repository, project),
        },
        "AWS": {
            "identity": account.identity,
            "region": account.region,
            "rights": partial(rights, account),
            "stack": account.state,
            "parameters": account.parameters,
            "qa secret": partial(account.secret, "qa"),
            "prod secret": partial(account.secret, "prod"),
            "repository": account.repository,
        },
        "Databricks": {
            f"{target} {what}": partial(probe, account, target)
            for target in ("qa", "prod")
            for what, probe in (("host", workspaces.same_host), ("workspace", workspaces.answers))
        },
    }


def outcome(probe: Probe) -> Result:
    """What a probe finds."""
    try:
        return "ok", probe(), ""
    except Note as note:
        return "note", str(note), note.mend
    except Problem as problem:
        return "wrong", str(problem), problem.mend
    except NotChecked as why:
        return "not checked", str(why), ""
    except ClientError as error:
        message = error.response["Error"]["Message"]
        return "not checked", f"AWS refuses {error.operation_name}: {message}", ""
    except BotoCoreError as error:
        return "not checked", str(error), ""


def in_time(probe: Probe) -> Result:
    """The outcome of a probe, which is wrong where it takes too long: a name server may be slow."""
    found: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            found.put(outcome(probe))
        except BaseException as error:
            found.put(error)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        result = found.get(timeout=SECONDS)
    except queue.Empty:
        return "wrong", f"no answer within {SECONDS} seconds", "mend the network, then make doctor"
    if isinstance(result, BaseException):
        raise result
    return result


def line(subject: str, result: Result, width: int) -> Text:
    """A line of the screen, continued below its last column; no address is cut in two."""
    kind, found, mend = result
    mark, style = MARKS[kind]
    start = f"  {mark} {kind:<11}  {subject:<14}  "
    told = textwrap.fill(
        f"{found} → {mend}" if mend else found,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return Text.assemble(told[:2], (told[2:15], style), told[15:])


def main() -> None:
    """Prints a line for each probe as it comes to an end, and exits with 1 where one is wrong."""
    session = botocore.session.get_session()
    quick = {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 2}}
    session.set_default_client_config(botocore.config.Config(**quick))
    boto3.setup_default_session(botocore_session=session)

    project = Project(sys.argv[1:])
    with contextlib.suppress(Problem):
        _ = project.parameters  # exits where the command line names one that does not exist
    console = Console(highlight=False)
    width = console.width if console.is_terminal else sys.maxsize  # a pipe's reader wants lines
    console.print(f"[bold]{aws_stack.STACK}[/] in {os.environ['AWS_REGION']}")
    kinds = []
    for title, probes in sections(project, Account(project)).items():
        console.print(f"\n[bold]{title}[/]")
        for subject, probe in probes.items():
            result = in_time(probe)
            kinds.append(result[0])
            console.print(line(subject, result, width), soft_wrap=True)
    wrong, unknown = kinds.count("wrong"), kinds.count("not checked")
    need = "needs" if wrong == 1 else "need"
    left = f", {unknown} not checked" if unknown else ""
    console.print(f"\n{wrong} of {len(kinds)} {need} attention{left}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    aws_stack.run(main)
