"""How this repository's builds sign in to Databricks: with a personal access token."""

from collections.abc import Mapping

# Environment variables that hold the credential; cicd/stack.yml sets them.
VARIABLES = ("DATABRICKS_TOKEN",)


def how_to_set(target: str) -> str:
    """Says what to do about a variable without a value."""
    return f"set it: make secrets ENV={target}"


def how_to_replace(target: str) -> str:
    """Says what to do about a credential that the workspace refuses."""
    return f"expired, revoked or of another workspace? Set a new one: make secrets ENV={target}"


def access_token(host: str, credential: Mapping[str, str]) -> str:
    """Returns the token for the workspace's API: the personal access token itself."""
    return credential["DATABRICKS_TOKEN"]
