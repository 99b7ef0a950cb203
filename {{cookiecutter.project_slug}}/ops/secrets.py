"""The secrets that builds sign in to Databricks with: sets them, and says when that was.

Nothing here reads a secret's value. A new one goes from the terminal, without echo, or from
standard input to Secrets Manager and nowhere else: no argument, no file, no output.
"""

import getpass
import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from cicd.steps.names import PLACEHOLDER
from ops import NotChecked, Problem, Stop
from ops.aws import Stack

if TYPE_CHECKING:  # ops.account needs boto3, and the command's --help does not
    from ops.account import Account

TARGETS = ("qa", "prod")


def arn(stack: Stack, target: str) -> str:
    """The ARN of a target's secret."""
    return stack.output(f"{target.capitalize()}SecretArn")


def set_at(stack: Stack, target: str) -> datetime | None:
    """When a secret got the value that it has, or None while that is the stack's placeholder.

    The first value that somebody sets makes the placeholder the previous one. LastChangedDate says
    less: it moves with a tag or a description, too.
    """
    manager = stack.client("secretsmanager")
    dates = {
        stage: version["CreatedDate"]
        for version in manager.list_secret_version_ids(SecretId=arn(stack, target))["Versions"]
        for stage in version.get("VersionStages", [])
    }
    return dates["AWSCURRENT"].astimezone() if "AWSPREVIOUS" in dates else None


# ---- make status, make doctor --------------------------------------------------------------------


def age(stack: Stack, target: str, expiry: Callable[[datetime], str]) -> str:
    """How old a secret's value is. AWS does not know when what it holds expires."""
    moment = set_at(stack, target)
    if moment is None:
        return "not set yet: make secrets"
    days = (datetime.now().astimezone() - moment).days
    return f"set {moment:%d %b %Y}, {days} days ago; {expiry(moment)}"


def is_set(account: "Account", target: str) -> str:
    """Whether a target's secret was ever set."""
    stack = account.existing()
    if not stack.outputs:
        raise NotChecked("the stack has none yet")
    if set_at(stack, target) is None:
        raise Problem("is still the stack's placeholder", f"make secrets ENV={target}")
    return "is set"


def probes(account: "Account") -> dict[str, Callable[[], str]]:
    """What doctor probes."""
    return {f"{target} secret": partial(is_set, account, target) for target in TARGETS}


# ---- make secrets --------------------------------------------------------------------------------


def read(target: str, label: str) -> str:
    """A value, from the terminal without echo or from standard input."""
    if sys.stdin.isatty():
        value = getpass.getpass(f"{target}: {label} (not shown): ")
    else:
        value = sys.stdin.readline()
    value = value.strip()
    if not value or not (value.isascii() and value.isprintable()) or " " in value:
        raise Stop(f"{target}: the {label} must be one word; nothing is set")
    if value == PLACEHOLDER:
        raise Stop(f"{target}: {value} is the stack's placeholder; nothing is set")
    return value


def command(fields: dict[str, str]) -> click.Command:
    """The command that asks for these fields of a secret."""

    @click.command("secrets")
    @click.argument("targets", metavar="[qa] [prod]", nargs=-1, type=click.Choice(TARGETS))
    @click.pass_obj
    def secrets(stack: Stack, targets: tuple[str, ...]) -> None:
        """Set the credentials for Databricks: qa, prod or both."""
        values = {}
        # Everything is read first, so that a slip leaves all secrets as they were.
        for target in targets or TARGETS:
            place = arn(stack, target)
            value = {key: read(target, label) for key, label in fields.items()}
            values[place] = json.dumps(value)
        if not sys.stdin.isatty() and sys.stdin.read().strip():
            raise Stop("more lines than were asked for; nothing is set")
        manager = stack.client("secretsmanager")
        for place, text in values.items():
            manager.put_secret_value(SecretId=place, SecretString=text)
            print(f"Set {place}")

    return secrets
