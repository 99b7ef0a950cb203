"""The credentials for Databricks: a personal access token per target, in Secrets Manager."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from ops import secrets
from ops.aws import Stack

COMMANDS = [secrets.command({"token": "personal access token"})]
probes = secrets.probes
REMAINING = "the personal access tokens, to be revoked in their workspaces"


def expiry(_: datetime) -> str:
    """What is known of when a token expires."""
    return "its workspace knows when it expires"


def status(stack: Stack) -> dict[str, Callable[[], str]]:
    """What `make status` says of the tokens."""
    return {
        f"Token of {target}": partial(secrets.age, stack, target, expiry)
        for target in secrets.TARGETS
    }
