"""The API's declarative pipelines. docs.databricks.com/api/workspace/pipelines"""

import re
import uuid

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import ApiError, Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace

NOT_IN_SPEC = ("run_as", "parameters")  # shown beside the spec
REQUEST_ONLY = ("allow_duplicate_names", "dry_run", "expected_last_modified")


def create(workspace: Workspace, request: Request) -> Reply:
    """Creates a pipeline."""
    id_ = str(uuid.uuid4())
    workspace.keep("create", "pipelines", id_, settings(request))
    return {"pipeline_id": id_}


def settings(request: Request) -> Json:
    """The settings that a request has. Raises ApiError."""
    asked = {name: value for name, value in request.json.items() if name not in REQUEST_ONLY}
    return protocol.accepted("pipelines", asked)


def found(workspace: Workspace, id_: str) -> Json:
    """A pipeline's settings. Raises ApiError."""
    message = f"The specified pipeline {id_} was not found."
    return protocol.found(workspace, "pipelines", id_, message)


def get(workspace: Workspace, request: Request) -> Reply:
    """Answers with a pipeline."""
    id_ = request.fields["id"]
    pipeline = found(workspace, id_)
    beside = {name: pipeline.pop(name) for name in NOT_IN_SPEC if name in pipeline}
    creator = workspace.resources.creator("pipelines", id_)
    return beside | {
        "pipeline_id": id_,
        "name": pipeline.get("name", ""),
        "spec": pipeline | {"id": id_},
        "state": "IDLE",
        "creator_user_name": creator,
        "run_as_user_name": creator,
    }


def list_all(workspace: Workspace, request: Request) -> Reply:
    """Lists the pipelines whose name fits the filter `name LIKE '...'`."""
    match = re.fullmatch(r"name LIKE '([^']*)'", request.query.get("filter", "name LIKE '%'"))
    if not match:
        message = f"the rehearsal's workspace does not know the filter {request.query['filter']}"
        raise ApiError(501, "NOT_IMPLEMENTED", message)
    pattern = re.escape(match[1]).replace("_", ".").replace("%", ".*")
    return {
        "statuses": [
            {"pipeline_id": id_, "creator_user_name": creator, "name": settings["name"]}
            for id_, settings, creator in workspace.resources.list("pipelines")
            if re.fullmatch(pattern, settings["name"])
        ]
    }


def update(workspace: Workspace, request: Request) -> Reply:
    """Replaces a pipeline's settings; who it runs as stays if nothing is said of it."""
    id_ = request.fields["id"]
    before, after = found(workspace, id_), settings(request)
    after.pop("pipeline_id", None)
    if "run_as" in before:
        after.setdefault("run_as", before["run_as"])
    workspace.keep("update", "pipelines", id_, after)
    return {}


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a pipeline; the rights on it can still be read, as in the service."""
    id_ = request.fields["id"]
    found(workspace, id_)
    workspace.delete("pipelines", id_)
    return {}


ROUTES: Routes = {
    "POST /api/2.0/pipelines": create,
    "GET /api/2.0/pipelines": list_all,
    "GET /api/2.0/pipelines/{id}": get,
    "PUT /api/2.0/pipelines/{id}": update,
    "DELETE /api/2.0/pipelines/{id}": delete,
}
