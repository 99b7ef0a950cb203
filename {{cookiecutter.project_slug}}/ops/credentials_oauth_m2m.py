"""The credentials for Databricks: an OAuth secret per target, in Secrets Manager."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from ops import secrets
from ops.aws import Stack

COMMANDS = [
    secrets.command({"client_id": "client ID (application ID)", "client_secret": "OAuth secret"})
]
probes = secrets.probes
REMAINING = "the service principals and their OAuth secrets"
LIFETIME = timedelta(days=730)  # an OAuth secret lives no longer


def expiry(moment: datetime) -> str:
    """What is known of when an OAuth secret expires."""
    return f"expires by {moment + LIFETIME:%d %b %Y} at the latest"


def status(stack: Stack) -> dict[str, Callable[[], str]]:
    """What `make status` says of the OAuth secrets."""
    return {
        f"Secret of {target}": partial(secrets.age, stack, target, expiry)
        for target in secrets.TARGETS
    }
