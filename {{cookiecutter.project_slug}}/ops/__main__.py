"""The entrance: `python -m ops COMMAND`. A command imports what only it needs.

`make` has a short name for each command, and passes the stack's name and region.
"""

import io
import json
import sys
import traceback
from pathlib import Path

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
        return f"{error} Are you signed in to AWS? Try: aws sts get-caller-identity"
    return None


class Operations(click.Group):
    """Runs a command; what stops it is one line, and a bug is a traceback."""

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
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack what others have written
        sys.stdout.reconfigure(errors="replace")
    context.obj = Stack(stack, region)


for command in credentials.COMMANDS:
    operations.add_command(command)


# ---- The repository ------------------------------------------------------------------------------


@operations.command()
@click.option("--strict", is_flag=True, help="Fail on what could not be checked, too.")
@click.argument("path", default=ROOT, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_context
def check(context: click.Context, strict: bool, path: Path) -> None:
    """Prove the repository: YAML, stack, buildspecs, bundle, and that they agree."""
    from ops.check import run

    context.exit(run(path, strict))


@operations.command("pin-cli")
@click.argument("version", default="")
def pin_cli(version: str) -> None:
    """Pin another Databricks CLI, with its checksum."""
    pin(version)


# The stack's parameters: single ones, and as make passes all of them.
CHANGES = click.argument("single", metavar="[NAME=VALUE]...", nargs=-1)
PARAMETERS = click.option(
    "--parameters", default="", help="Several NAME=VALUE in one text, quoted as for a shell."
)


@operations.command("stack-parameters")
@CHANGES
@PARAMETERS
def stack_parameters(single: tuple[str, ...], parameters: str) -> None:
    """Print what make stack passes as JSON: the defaults in cicd/stack.yml, with these changes."""
    values = Project(changes(single, parameters)).parameters
    print(json.dumps([f"{name}={value}" for name, value in values.items()]))


@operations.command()
@CHANGES
@PARAMETERS
@click.pass_context
def doctor(context: click.Context, single: tuple[str, ...], parameters: str) -> None:
    """Say what the next make stack or make push would fail on; changes nothing."""
    from ops.doctor import examine

    context.exit(examine(context.obj, Project(changes(single, parameters))))


# ---- The pipeline --------------------------------------------------------------------------------


@operations.command()
@click.pass_obj
def start(stack: Stack) -> None:
    """Start the pipeline on the head of its branch, without a push."""
    from ops.pipeline import start

    start(stack)


@operations.command()
@click.pass_obj
def status(stack: Stack) -> None:
    """Show where the pipeline stands, what waits, what is deployed, drift, credentials."""
    from ops.status import show

    show(stack)


@operations.command()
@click.option(
    "--build",
    type=click.Choice(tuple(PROJECTS)),
    help="Another build than the pipeline's current or last one.",
)
@click.pass_obj
def logs(stack: Stack, build: str | None) -> None:
    """Follow a build's log until the build ends."""
    follow(stack, build)


@operations.command()
@click.option("--reason", default="", help="What the record says; a reason is not required.")
@click.pass_obj
def approve(stack: Stack, reason: str) -> None:
    """Show the plan that waits, ask, and approve it."""
    from ops.approval import answer

    answer(stack, "Approved", reason.strip() or "approved with make approve")


@operations.command()
@click.option("--reason", default="", help="Required: what the author should know.")
@click.pass_obj
def reject(stack: Stack, reason: str) -> None:
    """Reject what waits for an approval."""
    from ops.approval import answer

    if not reason.strip():
        raise click.UsageError('say why: make reject REASON="..."')
    answer(stack, "Rejected", reason.strip())


@operations.command()
@click.option("--count", default=10, type=click.IntRange(min=1), show_default=True)
@click.pass_obj
def releases(stack: Stack, count: int) -> None:
    """List what was deployed to production, newest first."""
    from ops.releases import show

    show(stack, count)


@operations.command()
@click.option("--to", default="", metavar="EXECUTION", help="Another release than the one before.")
@click.pass_obj
def rollback(stack: Stack, to: str) -> None:
    """Take production back to an earlier release, after asking."""
    from ops.releases import roll_back

    roll_back(stack, to.strip().lower())


@operations.command()
@click.pass_context
def drift(context: click.Context) -> None:
    """Compare production with what was deployed: exits with 0 for no drift, 1 for drift, else 2."""
    context.exit(compare(context.obj))


@operations.command()
@click.option("--keep-deployments", is_flag=True, help="Delete the stack only.")
@click.pass_obj
def destroy(stack: Stack, keep_deployments: bool) -> None:
    """Delete the deployments and the stack, after asking."""
    from ops.destroy import destroy

    destroy(stack, keep_deployments)


if __name__ == "__main__":
    operations(prog_name="python -m ops")
