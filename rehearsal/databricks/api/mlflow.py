"""The API's experiments and models. docs.databricks.com/api/workspace/experiments"""

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace, new_job_id

EXPERIMENTS, MODELS = "experiments", "models"
API = "/api/2.0/mlflow"


def found(workspace: Workspace, kind: str, id_: str) -> Json:
    """What is kept of an experiment or a model. Raises ApiError."""
    return protocol.found(workspace, kind, id_, f"{kind} '{id_}' does not exist.")


def create_experiment(workspace: Workspace, request: Request) -> Reply:
    """Creates an experiment; its name is a path below /Workspace."""
    id_, settings = new_job_id(), request.json
    settings["name"] = settings["name"].removeprefix("/Workspace")
    where = {"artifact_location": f"dbfs:/databricks/mlflow-tracking/{id_}"}
    workspace.keep("create", EXPERIMENTS, id_, where | settings)
    return {"experiment_id": id_}


def get_experiment(workspace: Workspace, request: Request) -> Reply:
    """Answers with an experiment."""
    id_ = request.query["experiment_id"]
    experiment = found(workspace, EXPERIMENTS, id_)
    return {"experiment": experiment | {"experiment_id": id_, "lifecycle_stage": "active"}}


def update_experiment(workspace: Workspace, request: Request) -> Reply:
    """Renames an experiment."""
    asked = request.json
    id_ = asked["experiment_id"]
    experiment = found(workspace, EXPERIMENTS, id_)
    workspace.keep("update", EXPERIMENTS, id_, experiment | {"name": asked["new_name"]})
    return {}


def delete_experiment(workspace: Workspace, request: Request) -> Reply:
    """Deletes an experiment."""
    return delete(workspace, EXPERIMENTS, request.json["experiment_id"])


def delete(workspace: Workspace, kind: str, id_: str) -> Reply:
    """Deletes an experiment or a model. Raises ApiError."""
    found(workspace, kind, id_)
    workspace.delete(kind, id_)
    return {}


def create_model(workspace: Workspace, request: Request) -> Reply:
    """Creates a model; its name is its id."""
    settings = request.json
    workspace.keep("create", MODELS, settings["name"], settings | {"id": new_job_id()})
    return {"registered_model": settings}


def get_model(workspace: Workspace, request: Request) -> Reply:
    """Answers with a model."""
    return {"registered_model_databricks": found(workspace, MODELS, request.query["name"])}


def update_model(workspace: Workspace, request: Request) -> Reply:
    """Changes a model's description."""
    asked = request.json
    model = found(workspace, MODELS, asked["name"]) | asked
    workspace.keep("update", MODELS, asked["name"], model)
    return {"registered_model": model}


def delete_model(workspace: Workspace, request: Request) -> Reply:
    """Deletes a model."""
    return delete(workspace, MODELS, request.query["name"])


ROUTES: Routes = {
    f"POST {API}/experiments/create": create_experiment,
    f"GET {API}/experiments/get": get_experiment,
    f"POST {API}/experiments/update": update_experiment,
    f"POST {API}/experiments/delete": delete_experiment,
    f"POST {API}/registered-models/create": create_model,
    f"GET {API}/databricks/registered-models/get": get_model,
    f"PATCH {API}/registered-models/update": update_model,
    f"DELETE {API}/registered-models/delete": delete_model,
}
