"""The API's dashboards. docs.databricks.com/api/workspace/lakeview"""

import uuid

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import Reply, Request, Routes, missing
from rehearsal.databricks.workspace import Json, Workspace

KIND = "dashboards"
API = "/api/2.0/lakeview/dashboards"


def found(workspace: Workspace, id_: str) -> Json:
    """What is kept of a dashboard. Raises ApiError."""
    return protocol.found(workspace, KIND, id_, f"Dashboard {id_} does not exist.")


def shown(workspace: Workspace, id_: str) -> Json:
    """A dashboard as the API shows it. Raises ApiError."""
    settings = found(workspace, id_)
    settings.pop("published", None)
    parent = settings.get("parent_path", f"/Users/{workspace.user}").removeprefix("/Workspace")
    return settings | {
        "dashboard_id": id_,
        "parent_path": parent,
        "path": f"{parent}/{settings['display_name']}.lvdash.json",
        "lifecycle_state": "ACTIVE",
    }


def put(workspace: Workspace, id_: str, settings: Json, action: str) -> Json:
    """Keeps a dashboard in a new edition, which its etag names."""
    edition = int(settings.get("etag", 0)) + 1
    workspace.keep(action, KIND, id_, settings | {"etag": str(edition)})
    return shown(workspace, id_)


def create(workspace: Workspace, request: Request) -> Reply:
    """Creates a dashboard."""
    return put(workspace, uuid.uuid4().hex, request.json, "create")


def get(workspace: Workspace, request: Request) -> Reply:
    """Answers with a dashboard."""
    return shown(workspace, request.fields["id"])


def update(workspace: Workspace, request: Request) -> Reply:
    """Changes what a request names."""
    id_, changes = request.fields["id"], request.json
    changes.pop("etag", None)
    return put(workspace, id_, found(workspace, id_) | changes, "update")


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a dashboard."""
    id_ = request.fields["id"]
    found(workspace, id_)
    workspace.delete(KIND, id_)
    return {}


def publish(workspace: Workspace, request: Request) -> Reply:
    """Publishes the newest edition of a dashboard."""
    id_ = request.fields["id"]
    settings = found(workspace, id_)
    published = request.json | {"display_name": settings["display_name"]}
    workspace.resources.put(KIND, id_, settings | {"published": published})
    return published


def get_published(workspace: Workspace, request: Request) -> Reply:
    """Answers with what is published."""
    id_ = request.fields["id"]
    published = found(workspace, id_).get("published")
    if published is None:
        raise missing(f"Dashboard {id_} is not published.")
    return dict(published)


def unpublish(workspace: Workspace, request: Request) -> Reply:
    """Takes back what is published."""
    id_ = request.fields["id"]
    settings = found(workspace, id_)
    settings.pop("published", None)
    workspace.resources.put(KIND, id_, settings)
    return {}


ROUTES: Routes = {
    f"POST {API}": create,
    f"GET {API}/{{id}}": get,
    f"PATCH {API}/{{id}}": update,
    f"DELETE {API}/{{id}}": delete,
    f"POST {API}/{{id}}/published": publish,
    f"GET {API}/{{id}}/published": get_published,
    f"DELETE {API}/{{id}}/published": unpublish,
}
