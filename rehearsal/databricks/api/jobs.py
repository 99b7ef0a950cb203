"""The API's jobs. docs.databricks.com/api/workspace/jobs"""

from rehearsal.databricks.api.protocol import Reply, Request, Routes, accepted, missing
from rehearsal.databricks.workspace import Json, Workspace, new_job_id

PAGE = 100  # tasks of one answer


def create(workspace: Workspace, request: Request) -> Reply:
    """Creates a job."""
    settings, id_ = request.json, new_job_id()
    settings.pop("access_control_list", None)
    workspace.keep("create", "jobs", id_, accepted("jobs", settings))
    return {"job_id": int(id_)}


def found(workspace: Workspace, id_: str) -> Json:
    """A job's settings as the service shows them. Raises ApiError."""
    settings = workspace.resources.describe("jobs", id_)
    if settings is None:
        raise missing(f"Job {id_} does not exist.")
    return settings


def shown(workspace: Workspace, id_: str, settings: Json) -> Json:
    """A job as the API shows it."""
    creator = workspace.resources.creator("jobs", id_)
    return {"job_id": int(id_), "creator_user_name": creator, "settings": settings}


def get(workspace: Workspace, request: Request) -> Reply:
    """Answers with a job, its tasks by pages."""
    id_ = request.query["job_id"]
    job = shown(workspace, id_, found(workspace, id_))
    tasks = job["settings"].get("tasks", [])
    first = int(request.query.get("page_token", 0))
    if len(tasks) > PAGE:
        job["settings"]["tasks"] = tasks[first : first + PAGE]
    if first + PAGE < len(tasks):
        job |= {"has_more": True, "next_page_token": str(first + PAGE)}
    return job


def list_all(workspace: Workspace, request: Request) -> Reply:
    """Lists the jobs, or those of one name."""
    name = request.query.get("name", "").lower()
    jobs = [
        shown(workspace, id_, settings)
        for id_, settings, _ in workspace.resources.list("jobs")
        if not name or settings["name"].lower() == name
    ]
    return {"jobs": jobs, "has_more": False}


def reset(workspace: Workspace, request: Request) -> Reply:
    """Replaces a job's settings; who it runs as stays if nothing is said of it."""
    asked = request.json
    id_, settings = str(asked["job_id"]), asked["new_settings"]
    before = found(workspace, id_)
    if "run_as" in before:
        settings.setdefault("run_as", before["run_as"])
    workspace.keep("update", "jobs", id_, accepted("jobs", settings))
    return {}


def delete(workspace: Workspace, request: Request) -> Reply:
    """Deletes a job; the rights on it can still be read, as in the service."""
    id_ = str(request.json["job_id"])
    found(workspace, id_)
    workspace.delete("jobs", id_)
    return {}


ROUTES: Routes = {
    "POST /api/2.2/jobs/create": create,
    "GET /api/2.2/jobs/get": get,
    "GET /api/2.2/jobs/list": list_all,
    "POST /api/2.2/jobs/reset": reset,
    "POST /api/2.2/jobs/delete": delete,
}
