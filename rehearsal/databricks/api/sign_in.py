"""The API's part that says who somebody is, and gives tokens to who can prove it.

docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m
"""

import base64
from collections.abc import Mapping
from urllib.parse import parse_qs

from rehearsal.databricks import identities
from rehearsal.databricks.api.protocol import Reply, Request, Routes
from rehearsal.databricks.errors import Refused
from rehearsal.databricks.workspace import Json, Storage, Workspace, stable_id

WORKSPACE_ID = "1234567890123456"


def credential(headers: Mapping[str, str]) -> tuple[str, str]:
    """The scheme and the credential of a request: `Bearer` and `abc`."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return scheme, value


def signed_in(storage: Storage, headers: Mapping[str, str]) -> str:
    """The user whose token a request brings. Raises Refused and Unreachable."""
    scheme, token = credential(headers)
    return identities.with_token(storage, token if scheme == "Bearer" else "").user_name


def me(workspace: Workspace, request: Request) -> Reply:
    """Answers who is signed in."""
    name = workspace.user
    return {"id": stable_id(name), "userName": name, "displayName": name, "active": True}


def create_token(storage: Storage, request: Request) -> tuple[int, Json]:
    """Answers with an access token for a client's secret, or for another issuer's token."""
    try:
        identity = client(storage, request)
    except Refused as refused:
        return refused.status, identities.OAUTH_ERROR
    token = identities.issue_token(storage, identity)
    lifetime = identities.TOKEN_LIFETIME
    return 200, {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}


def client(storage: Storage, request: Request) -> identities.Identity:
    """Who asks for a token. Raises Refused and Unreachable."""
    fields = parse_qs(request.body.decode(errors="replace"))
    form = {name: values[0] for name, values in fields.items()}
    if form.get("grant_type") == "client_credentials":
        pair = base64.b64decode(credential(request.headers)[1] + "==").decode(errors="replace")
        client_id, _, secret = pair.partition(":")
        return identities.with_secret(storage, client_id, secret)
    # The grant type is urn:ietf:params:oauth:grant-type:token-exchange.
    client_id, jwt = form.get("client_id", ""), form.get("subject_token", "")
    return identities.with_jwt(storage, client_id, jwt)


ROUTES: Routes = {"GET /api/2.0/preview/scim/v2/Me": me}


def public(storage: Storage, request: Request) -> tuple[int, Json] | None:
    """What everybody may ask before signing in; None if this is no such question."""
    issuer = f"{storage.host.rstrip('/')}/oidc"
    operation = f"{request.method} {request.path}"
    if operation == "POST /oidc/v1/token":
        return create_token(storage, request)
    if operation == "GET /oidc/.well-known/oauth-authorization-server":
        ends = {
            "authorization_endpoint": f"{issuer}/v1/authorize",
            "token_endpoint": f"{issuer}/v1/token",
        }
        return 200, {"issuer": issuer} | ends
    if operation == "GET /.well-known/databricks-config":
        return 200, {"oidc_endpoint": issuer, "workspace_id": WORKSPACE_ID}
    return None
