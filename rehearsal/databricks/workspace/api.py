"""The HTTP API of a workspace: who is signed in, and OAuth's token endpoint.

docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m and .../oauth-federation-exchange
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rehearsal.databricks.errors import Refused
from rehearsal.databricks.workspace import identities
from rehearsal.databricks.workspace.storage import Json, Storage, stable_id

OAUTH_ERROR = {"error": "invalid_client", "error_description": "Client authentication failed"}
Answer = tuple[int, Json]


@dataclass(frozen=True)
class Request:
    """What a route needs of an HTTP request: `Bearer abc` is the scheme and the credential."""

    storage: Storage
    scheme: str
    credential: str
    form: dict[str, str]


def current_user(request: Request) -> Answer:
    """Answers who is signed in."""
    token = request.credential if request.scheme == "Bearer" else ""
    try:
        user = identities.with_token(request.storage, token).user_name
    except Refused as refused:
        return refused.status, {"error_code": str(refused.status), "message": str(refused)}
    request.storage.record(user, "sign-in", "HTTP")
    return 200, {"id": stable_id(user), "userName": user}


def create_token(request: Request) -> Answer:
    """Answers with an access token for a client's secret, or for another issuer's token."""
    try:
        identity = _client(request)
    except Refused as refused:
        return refused.status, OAUTH_ERROR
    token = identities.issue_token(request.storage, identity)
    lifetime = identities.TOKEN_LIFETIME
    return 200, {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}


def _client(request: Request) -> identities.Identity:
    form = request.form
    if form.get("grant_type") == "client_credentials":
        pair = base64.b64decode(request.credential + "==").decode(errors="replace")
        client_id, _, secret = pair.partition(":")
        return identities.with_secret(request.storage, client_id, secret)
    # The grant type is urn:ietf:params:oauth:grant-type:token-exchange.
    client_id, jwt = form.get("client_id", ""), form.get("subject_token", "")
    return identities.with_jwt(request.storage, client_id, jwt)


ROUTES: dict[str, Callable[[Request], Answer]] = {
    "GET /api/2.0/preview/scim/v2/Me": current_user,
    "POST /oidc/v1/token": create_token,
}


def respond(
    home: Path, host: str, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    """The status and the JSON that a workspace answers. Raises Unreachable."""
    operation = f"{method} {urlsplit(path).path}"
    if operation not in ROUTES:
        message = f"No API found for '{operation}'"
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": message}
    authorization = {name.lower(): value for name, value in headers.items()}.get("authorization")
    scheme, _, credential = (authorization or "").partition(" ")
    fields = parse_qs(body.decode(errors="replace"))
    form = {name: values[0] for name, values in fields.items()}
    return ROUTES[operation](Request(Storage(home, host), scheme, credential, form))
