"""How this repository's builds sign in to Databricks: as a service principal, with OAuth."""

import base64
from collections.abc import Mapping

from workspace import ask

# Environment variables that hold the credential; cicd/stack.yml sets them.
VARIABLES = ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")


def how_to_set(target: str) -> str:
    """Says what to do about a variable without a value."""
    return f"set it: make secrets ENV={target}"


def how_to_replace(target: str) -> str:
    """Says what to do about a credential that the workspace refuses."""
    return f"expired, revoked or of another workspace? Set a new one: make secrets ENV={target}"


def access_token(host: str, credential: Mapping[str, str]) -> str:
    """Returns a token for the workspace's API, for the service principal's ID and secret.

    Raises the errors of `ask`, and KeyError for an answer without a token.
    """
    pair = f"{credential['DATABRICKS_CLIENT_ID']}:{credential['DATABRICKS_CLIENT_SECRET']}"
    basic = base64.b64encode(pair.encode()).decode()
    form = {"grant_type": "client_credentials", "scope": "all-apis"}
    return str(ask(f"{host}/oidc/v1/token", f"Basic {basic}", form)["access_token"])
