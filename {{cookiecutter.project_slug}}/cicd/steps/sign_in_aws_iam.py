"""How this repository's builds sign in to Databricks: with their role's AWS identity token."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from workspace import Problem, ask

MINT_SECONDS = 10  # the workspace has to answer in what is left of workspace.SECONDS
# Environment variables that hold the credential; cicd/stack.yml sets them.
VARIABLES = ("DATABRICKS_CLIENT_ID",)


def how_to_set(target: str) -> str:
    """Says what to do about a variable without a value."""
    return f"set {target.capitalize()}ClientId in cicd/stack.yml, then: make stack"


def how_to_replace(target: str) -> str:
    """Says what to do about a credential that the workspace refuses."""
    return "does its federation policy name this build's role? See docs/security.md"


def identity_token() -> str:
    """Mints the token that the Databricks CLI reads too, for as long as the build runs."""
    file = Path(os.environ["DATABRICKS_OIDC_TOKEN_FILEPATH"])
    script = Path(__file__).with_name("mint_token.sh")
    try:
        result = subprocess.run(["bash", script, file], timeout=MINT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Problem(
            f"AWS STS gave no identity token within {MINT_SECONDS} seconds;"
            " may this build reach it?"
        ) from None
    if result.returncode:
        raise Problem("the build has no AWS identity token; the line above says why")
    return file.read_text(encoding="ascii").strip()


def access_token(host: str, credential: Mapping[str, str]) -> str:
    """Returns a token for the workspace's API, in exchange for the build's identity token.

    Raises the errors of `ask`, and KeyError for an answer without a token.
    """
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "client_id": credential["DATABRICKS_CLIENT_ID"],
        "subject_token": identity_token(),
        "scope": "all-apis",
    }
    return str(ask(f"{host}/oidc/v1/token", form=form)["access_token"])
