"""The API's clusters, always running. docs.databricks.com/api/workspace/clusters"""

import uuid

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace

KIND = "clusters"
API = "/api/2.1/clusters"


def found(workspace: Workspace, id_: str) -> Json:
    """A cluster. Raises ApiError."""
    return protocol.found(workspace, KIND, id_, f"Cluster {id_} does not exist.")


def create(workspace: Workspace, request: Request) -> Reply:
    """Creates a cluster."""
    id_ = str(uuid.uuid4())
    workspace.keep("create", KIND, id_, request.json)
    return {"cluster_id": id_}


def get(workspace: Workspace, request: Request) -> Reply:
    """Answers with a cluster."""
    id_ = request.query["cluster_id"]
    return found(workspace, id_) | {"cluster_id": id_, "state": "RUNNING"}


def edit(workspace: Workspace, request: Request) -> Reply:
    """Replaces a cluster's settings."""
    settings = request.json
    id_ = settings.pop("cluster_id")
    found(workspace, id_)
    workspace.keep("update", KIND, id_, settings)
    return {}


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a cluster for good."""
    id_ = request.json["cluster_id"]
    found(workspace, id_)
    workspace.delete(KIND, id_)
    return {}


def list_all(workspace: Workspace, request: Request) -> Reply:
    """Lists the clusters."""
    kept = workspace.resources.list(KIND)
    return {"clusters": [settings | {"cluster_id": id_} for id_, settings, _ in kept]}


ROUTES: Routes = {
    f"POST {API}/create": create,
    f"GET {API}/get": get,
    f"GET {API}/list": list_all,
    f"POST {API}/edit": edit,
    f"POST {API}/permanent-delete": delete,
}
