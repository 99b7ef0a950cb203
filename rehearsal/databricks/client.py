"""A stand-in for the `databricks` client, on folders that stand in for workspaces.

It does what builds call, with the real client's outputs and exit codes; all else fails loudly. It
follows tests/data/client-recordings.json, which are the real client's own answers, and
docs.databricks.com/aws/en/dev-tools/cli/{bundle-commands,reference/workspace-commands}.
"""

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from rehearsal.databricks import commands, deploy
from rehearsal.databricks.bundle_schema import KINDS, resource_class
from rehearsal.databricks.errors import ClientError, NotSupported
from rehearsal.databricks.runs import run
from rehearsal.databricks.session import SECRET, Session, say


class Command(NamedTuple):
    """A command: its function, how many arguments it takes after the session, and its options."""

    function: Callable[..., None]
    arguments: int = 0
    options: frozenset[str] = frozenset()


ADVICE = "take the real one with --client PATH"
OUTPUT = frozenset({"output"})
BUNDLE = frozenset({"target", "var"})
COMMANDS = {
    "version": Command(commands.version),
    "current-user me": Command(commands.current_user, 0, OUTPUT),
    "jobs list": Command(commands.list_jobs, 0, OUTPUT | {"name"}),
    "pipelines list-pipelines": Command(commands.list_pipelines, 0, OUTPUT | {"filter"}),
    "workspace list": Command(commands.list_folder, 1, OUTPUT),
    "workspace get-status": Command(commands.get_status, 1, OUTPUT),
    "workspace export": Command(commands.export, 1),
    "workspace export-dir": Command(commands.export_dir, 2, frozenset({"overwrite"})),
    "workspace delete": Command(commands.delete, 1, frozenset({"recursive"})),
    "bundle validate": Command(commands.validate, 0, BUNDLE | OUTPUT | {"strict"}),
    "bundle summary": Command(commands.summary, 0, BUNDLE | OUTPUT),
    "bundle plan": Command(commands.plan, 0, BUNDLE | OUTPUT),
    "bundle deploy": Command(deploy.deploy, 0, BUNDLE | {"plan", "auto_approve"}),
    "bundle destroy": Command(deploy.destroy, 0, BUNDLE | {"auto_approve"}),
    "bundle run": Command(run, 1, BUNDLE | OUTPUT | {"params"}),
}


class Parser(argparse.ArgumentParser):
    """Raises NotSupported instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raises NotSupported."""
        raise NotSupported(f"a call of this form ({message})")


def parse(arguments: list[str]) -> tuple[Command, list[str], argparse.Namespace]:
    """The command, its arguments and its options, which may stand anywhere.

    Raises NotSupported.
    """
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-t", "--target")
    parser.add_argument("-o", "--output", choices=["text", "json"])
    parser.add_argument("--plan")
    parser.add_argument("--name")
    parser.add_argument("--filter")
    parser.add_argument("--var", action="append", default=[])
    parser.add_argument("--params", action="append", default=[])
    parser.add_argument("-v", "--version", action="store_true")
    for name in ("strict", "auto-approve", "overwrite", "recursive"):
        parser.add_argument(f"--{name}", action="store_true")
    # The real client takes options before and after a command's words.
    options = parser.parse_intermixed_args(arguments)
    words = options.words or (["version"] if options.version else [])
    set_options = {name for name, value in vars(options).items() if value} - {"words", "version"}
    for name, command in COMMANDS.items():
        length = len(name.split())
        if words[:length] != name.split() or len(words) != length + command.arguments:
            continue
        if unknown := set_options - command.options:
            raise NotSupported(f"{name} with {', '.join(sorted(unknown))}")
        return command, words[length:], options
    raise NotSupported("such a command, or its arguments")


def warm_up() -> None:
    """Imports what most commands need, once for all of them (see warm.py)."""
    for kind in KINDS:
        resource_class(kind)


def main(arguments: list[str]) -> int:
    """Runs one command on the workspaces in a folder, the first argument; returns the exit code.

    A command that the stand-in does not know ends with 1 and a message.
    """
    home, *arguments = arguments
    call = f"databricks {shlex.join(arguments)}"
    try:
        command, words, options = parse(arguments)
        command.function(Session(Path(home), options), *words)
    except NotSupported as reason:
        _say(f"Error: the rehearsal's stand-in client does not know {reason}: {ADVICE} ({call})")
        return reason.exit_code
    except ClientError as error:
        sys.stderr.write(error.printed)
        return error.exit_code
    except Exception as error:  # a fault of ours is not to look like the bundle's
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        _say(f"Error: the rehearsal itself has failed: {error!r} at {where}: {ADVICE} ({call})")
        return 1
    return 0


def _say(text: str) -> None:
    """Prints a line without the environment's own secrets."""
    for secret in filter(None, map(os.environ.get, SECRET)):
        text = text.replace(secret, "***")
    say(text)
