"""The command line: `python -m ops COMMAND`. Each command imports its own module when it runs.

`make` has a short name for each command, and passes the stack's name and region.
"""

import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ops import ROOT, Stop, credentials
from ops.aws import Stack, refusal
from ops.builds import PROJECTS, compare, follow
from ops.project import Project, changes, pin

# A command whose exit code 1 means something else fails with this code.
FAILURE = {"drift": 2}


def explain(error: Exception) -> str | None:
    """Why a command stops, in a line for its operator; None for a bug."""
    if isinstance(error, Stop):
        return str(error)
    if "botocore" not in sys.modules:  # `check` runs without it
        return None
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    if isinstance(error, ClientError):
        return refusal(error)
    if isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError):
        return (
            f"{str(error).rstrip('.')}. Are you signed in to AWS? Try: aws sts get-caller-identity"
        )
    return None


class Operations(click.Group):
    """Runs a command. An expected failure prints one line, a bug prints a traceback."""

    def invoke(self, context: click.Context) -> None:
        try:
            super().invoke(context)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # the reader of `make logs | head` has enough
            sys.stdout = io.TextIOWrapper(io.BytesIO())  # for what is still flushed
            context.exit(FAILURE.get(context.invoked_subcommand or "", 1))
        except (KeyboardInterrupt, EOFError):
            self.fail(context, "stopped", start="\n")
        except Exception as error:
            if reason := explain(error):
                self.fail(context, reason)
            traceback.print_exc()
            self.fail(context, "this is a bug in ops/, not your mistake")

    def fail(self, context: click.Context, reason: str, start: str = "") -> None:
        """Says why the command stops, and exits."""
        name = context.invoked_subcommand or ""
        print(f"{start}{name}: {reason}", file=sys.stderr)
        context.exit(FAILURE.get(name, 1))


@click.group(cls=Operations)
@click.option("--stack", default="", metavar="NAME", help="The CloudFormation stack.")
@click.option("--region", default="", metavar="REGION", help="The AWS region that it is in.")
@click.pass_context
def operations(context: click.Context, stack: str, region: str) -> None:
    """Operate this repository's stack and pipeline. `make help` lists short names for this."""
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a terminal may lack characters of a commit message
        sys.stdout.reconfigure(errors="replace")
    context.obj = Stack(stack, region)


for command in credentials.COMMANDS:
    operations.add_command(command)


# ---- The repository ------------------------------------------------------------------------------


@operations.command()
@click.option("--strict", is_flag=True, help="Fail also if something could not be checked.")
@click.argument("path", default=ROOT, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_context
def check(context: click.Context, strict: bool, path: Path) -> None:
    """Check this repository's files, and that they agree.

    Reads YAML, stack, buildspecs, bundle, scripts and Python; needs no cloud.
    """
    from ops.check import run

    context.exit(run(path, strict))


@operations.command("pin-cli")
@click.argument("version", default="")
def pin_cli(version: str) -> None:
    """Pin another Databricks CLI, with its checksum."""
    pin(version)


# The stack's parameters: as single arguments, or in one text, as make passes them.
CHANGES = click.argument("single", metavar="[NAME=VALUE]...", nargs=-1)
PARAMETERS = click.option(
    "--parameters", default="", help="Several NAME=VALUE in one text, quoted as for a shell."
)


def yes(*words: str) -> Callable[[Any], Any]:
    """The option that answers a command's question beforehand: with 1, or with a word."""
    return click.option(
        "--yes",
        is_flag=False,
        flag_value="1",
        type=click.Choice(("1", *words)),
        callback=lambda _context, _option, word: word or "",
        help="Do not ask" + "".join(f"; '{word}' agrees to that, too" for word in words) + ".",
    )


@operations.command()
@CHANGES
@PARAMETERS
@click.option("--tags", default="", help="Tags of the stack: NAME=VALUE in one text.")
@yes()
@click.pass_obj
def stack(stack: Stack, single: tuple[str, ...], parameters: str, tags: str, yes: str) -> None:
    """Create the stack, or bring it to what cicd/stack.yml says.

    Shows what changes, and asks if anything would be replaced or removed.
    """
    from ops.stack import deploy

    deploy(stack, Project(changes(single, parameters)), changes((), tags), yes)


@operations.command()
@click.pass_obj
def protect(stack: Stack) -> None:
    """Have pull requests to the pipeline's branch need a reviewer."""
    from ops.protect import protect

    protect(stack)


@operations.command()
@CHANGES
@PARAMETERS
@click.pass_context
def doctor(context: click.Context, single: tuple[str, ...], parameters: str) -> None:
    """Find what would make the next stack or push fail.

    Looks at this machine, the AWS account and the workspaces. Changes nothing.
    """
    from ops.doctor import examine

    context.exit(examine(context.obj, Project(changes(single, parameters))))


# ---- The pipeline --------------------------------------------------------------------------------


@operations.command()
@click.pass_obj
def start(stack: Stack) -> None:
    """Start the pipeline on its branch, without a push."""
    from ops.pipeline import start

    start(stack)


@operations.command()
@click.pass_obj
def status(stack: Stack) -> None:
    """Show stages, approval, deployed commits and drift.

    Shows also when the credentials were set.
    """
    from ops.status import show

    show(stack)


@operations.command()
@click.option(
    "--build",
    type=click.Choice(tuple(PROJECTS)),
    help="Which build; by default the pipeline's current or last one.",
)
@click.pass_obj
def logs(stack: Stack, build: str | None) -> None:
    """Follow a build's log until the build ends."""
    follow(stack, build)


@operations.command()
@click.option("--reason", default="", help="Optional: why, for the record in AWS.")
@yes("delete")
@click.pass_obj
def approve(stack: Stack, reason: str, yes: str) -> None:
    """Show the waiting plan, ask, and approve it.

    A plan that loses data needs the word delete, typed or as --yes delete.
    """
    from ops.approval import approve

    approve(stack, reason.strip() or "approved with make approve", yes)


@operations.command()
@click.option("--reason", default="", help="Required: why, for the author.")
@click.pass_obj
def reject(stack: Stack, reason: str) -> None:
    """Reject the release that waits for approval."""
    from ops.approval import reject

    if not reason.strip():
        raise click.UsageError('a reason is missing: make reject REASON="..."')
    reject(stack, reason.strip())


@operations.command()
@click.option(
    "--count", default=10, type=click.IntRange(min=1), show_default=True, help="How many."
)
@click.pass_obj
def releases(stack: Stack, count: int) -> None:
    """List what was deployed to production, newest first."""
    from ops.pipeline import show_releases

    show_releases(stack, count)


@operations.command()
@click.option(
    "--to", default="", metavar="EXECUTION", help="Which release; by default the one before."
)
@yes()
@click.pass_obj
def rollback(stack: Stack, to: str, yes: str) -> None:
    """Deploy an earlier release to production, after asking."""
    from ops.pipeline import roll_back

    roll_back(stack, to.strip().lower(), yes)


@operations.command()
@click.pass_context
def drift(context: click.Context) -> None:
    """Compare production with what was deployed.

    Exits with 0 for no drift, 1 for drift, 2 if it could not compare.
    """
    context.exit(compare(context.obj))


@operations.command()
@click.option("--keep-deployments", is_flag=True, help="Delete the stack only.")
@click.option("--yes", default="", metavar="STACK", help="Do not ask: the stack's name.")
@click.pass_obj
def destroy(stack: Stack, keep_deployments: bool, yes: str) -> None:
    """Delete the deployments and the stack, after asking."""
    from ops.destroy import destroy

    destroy(stack, keep_deployments, yes)


if __name__ == "__main__":
    operations(prog_name="python -m ops")
