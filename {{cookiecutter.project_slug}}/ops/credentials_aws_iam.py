"""The credentials for Databricks: the AWS role of each target's builds. Nothing is stored."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from cicd.steps.names import PLACEHOLDER
from ops import Problem
from ops.aws import Stack

if TYPE_CHECKING:
    from ops.account import Account

COMMANDS: list[click.Command] = []
REMAINING = "the service principals and their federation policies"


def status(stack: Stack) -> dict[str, Callable[[], str]]:
    """What `make status` says of the credentials."""
    return {"Credentials": lambda: "none is stored: builds sign in with their AWS roles"}


def federation(account: "Account") -> str:
    """The issuer of the account's identity tokens."""
    iam = account.client("iam")
    disabled = Problem(
        "the account may not sign identity tokens",
        "aws iam enable-outbound-web-identity-federation (docs/security.md)",
    )
    try:
        info = iam.get_outbound_web_identity_federation_info()
    except iam.exceptions.ClientError as error:
        if not error.response["Error"]["Code"].startswith("FeatureDisabled"):
            raise
        raise disabled from None
    if not info["JwtVendingEnabled"]:
        raise disabled
    return f"enabled, issuer {info['IssuerIdentifier']}"


def client_id(account: "Account", target: str) -> str:
    """Which service principal a target's builds sign in as."""
    name = f"{target.capitalize()}ClientId"
    value = account.existing().parameters.get(name, PLACEHOLDER)
    if value == PLACEHOLDER:
        raise Problem(f"{name} is not set", "set it in cicd/stack.yml, then make stack")
    return value


def probes(account: "Account") -> dict[str, Callable[[], str]]:
    """What doctor probes."""
    return {
        "federation": partial(federation, account),
        "qa client ID": partial(client_id, account, "qa"),
        "prod client ID": partial(client_id, account, "prod"),
    }
