"""The API's secret scopes: their names and rights, and of secrets nothing.

docs.databricks.com/api/workspace/secrets
"""

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import ApiError, Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace

KIND = "secret_scopes"
API = "/api/2.0/secrets"


def found(workspace: Workspace, name: str) -> Json:
    """A scope. Raises ApiError."""
    return protocol.found(workspace, KIND, name, f"Scope {name} does not exist!")


def create(workspace: Workspace, request: Request) -> Reply:
    """Creates a scope; whoever creates it may manage it."""
    name = request.json["scope"]
    if workspace.resources.get(KIND, name) is not None:
        raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Scope {name} already exists!")
    workspace.keep("create", KIND, name, {"name": name, "acls": {workspace.user: "MANAGE"}})
    return {}


def list_all(workspace: Workspace, request: Request) -> Reply:
    """Lists the scopes."""
    names = [name for name, *_ in workspace.resources.list(KIND)]
    return {"scopes": [{"name": name, "backend_type": "DATABRICKS"} for name in names]}


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a scope."""
    name = request.json["scope"]
    found(workspace, name)
    workspace.delete(KIND, name)
    return {}


def list_acls(workspace: Workspace, request: Request) -> Reply:
    """Lists the rights on a scope."""
    acls = found(workspace, request.query["scope"])["acls"]
    return {"items": [{"principal": who, "permission": what} for who, what in acls.items()]}


def put_acl(workspace: Workspace, request: Request) -> Reply:
    """Gives a right on a scope."""
    asked = request.json
    scope = found(workspace, asked["scope"])
    scope["acls"][asked["principal"]] = asked["permission"]
    workspace.keep("update", KIND, asked["scope"], scope)
    return {}


def delete_acl(workspace: Workspace, request: Request) -> Reply:
    """Takes a right on a scope away."""
    asked = request.json
    scope = found(workspace, asked["scope"])
    scope["acls"].pop(asked["principal"], None)
    workspace.keep("update", KIND, asked["scope"], scope)
    return {}


ROUTES: Routes = {
    f"POST {API}/scopes/create": create,
    f"GET {API}/scopes/list": list_all,
    f"POST {API}/scopes/delete": delete,
    f"GET {API}/acls/list": list_acls,
    f"POST {API}/acls/put": put_acl,
    f"POST {API}/acls/delete": delete_acl,
}
