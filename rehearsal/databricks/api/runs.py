"""The API's runs of jobs. docs.databricks.com/api/workspace/jobs/runnow"""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from rehearsal.databricks import job
from rehearsal.databricks.api import jobs
from rehearsal.databricks.api.protocol import ApiError, Reply, Request, Routes, missing
from rehearsal.databricks.compute import Compute
from rehearsal.databricks.workspace import Json, Workspace, new_job_id

KNOWN = {"job_id", "job_parameters", "notebook_params", "idempotency_token", "queue"}
RUNNING: Json = {"life_cycle_state": "RUNNING"}
SUCCESS: Json = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}


def failed(message: str) -> Json:
    """The state of what has failed."""
    return {
        "life_cycle_state": "INTERNAL_ERROR",
        "result_state": "FAILED",
        "state_message": message,
    }


@dataclass
class Run:
    """A run of a job; `ended` is what came of it, once it is over."""

    id_: str
    job_id: str
    settings: Json
    started: float = field(default_factory=time.time)
    ended: job.JobRun | None = None

    def task_state(self, key: str) -> Json:
        """The state of a task."""
        if self.ended is None:
            return RUNNING
        state = self.ended.states.get(key, job.EXCLUDED)
        if state == job.FAILED:
            return failed(job.TASK_FAILED)
        return {"life_cycle_state": "TERMINATED", "result_state": state}

    @property
    def state(self) -> Json:
        """The state of the whole run."""
        if self.ended is None:
            return RUNNING
        if not self.ended.failed:
            return SUCCESS
        return failed(self.ended.message)

    @property
    def tasks(self) -> dict[str, str]:
        """The IDs of the tasks' own runs, and the tasks' keys."""
        keys = [task["task_key"] for task in self.settings.get("tasks", [])]
        return {str(int(self.id_) + number): key for number, key in enumerate(keys, 1)}

    def shown(self, host: str) -> Json:
        """The run as the API shows it."""
        order = list(self.ended.outputs) if self.ended else []
        tasks = [
            {"run_id": int(id_), "task_key": key, "state": self.task_state(key)}
            | ({"end_time": order.index(key) + 1} if key in order else {})
            for id_, key in self.tasks.items()
        ]
        return {
            "run_id": int(self.id_),
            "job_id": int(self.job_id),
            "run_name": self.settings["name"],
            "run_page_url": f"{host}/jobs/{self.job_id}/runs/{self.id_}",
            "start_time": int(self.started * 1000),
            "state": self.state,
            "tasks": tasks,
        }


class Runs:
    """The runs of one workspace, each in a thread of its own."""

    def __init__(self, compute: Callable[[Workspace], Compute]) -> None:
        self.compute = compute
        self.runs: dict[str, Run] = {}

    def routes(self) -> Routes:
        """The operations on them."""
        return {
            "POST /api/2.2/jobs/run-now": self.run_now,
            "GET /api/2.2/jobs/runs/list": self.list_active,
            "GET /api/2.2/jobs/runs/get": self.get,
            "GET /api/2.2/jobs/runs/get-output": self.get_output,
        }

    def run_now(self, workspace: Workspace, request: Request) -> Reply:
        """Starts a job."""
        asked = request.json
        if unknown := asked.keys() - KNOWN:
            message = f"the rehearsal's workspace does not know {', '.join(sorted(unknown))}"
            raise ApiError(501, "NOT_IN_THIS_REHEARSAL", message)
        job_id = str(asked["job_id"])
        run = Run(new_job_id(), job_id, jobs.found(workspace, job_id))
        self.runs[run.id_] = run
        parameters = asked.get("job_parameters", {}) | asked.get("notebook_params", {})
        arguments = (workspace, run, parameters)
        threading.Thread(target=self.play, args=arguments, daemon=True).start()
        return {"run_id": int(run.id_)}

    def play(self, workspace: Workspace, run: Run, parameters: dict[str, str]) -> None:
        """Runs a job to its end, whatever that is."""
        settings = workspace.resources.get("jobs", run.job_id) or run.settings
        try:
            compute, ids = self.compute(workspace), (run.job_id, run.id_)
            run.ended = job.run_job(workspace, compute, settings, parameters, ids)
        except Exception as error:  # else the client would wait for ever
            trace = traceback.format_exc()
            ours = job.TaskError(f"the rehearsal itself has failed: {error!r}", trace)
            key = next(iter(run.tasks.values()), "")
            run.ended = job.JobRun({key: job.FAILED}, errors={key: ours}, failed=True)

    def found(self, id_: str) -> Run:
        """A run. Raises ApiError."""
        if id_ not in self.runs:
            raise missing(f"Run {id_} does not exist.")
        return self.runs[id_]

    def list_active(self, workspace: Workspace, request: Request) -> Reply:
        """Lists the runs of a job that are not over."""
        host, wanted = workspace.storage.host.rstrip("/"), request.query.get("job_id")
        runs = [run for run in self.runs.values() if run.job_id == wanted and run.ended is None]
        return {"runs": [run.shown(host) for run in runs]}

    def get(self, workspace: Workspace, request: Request) -> Reply:
        """Answers with a run."""
        return self.found(request.query["run_id"]).shown(workspace.storage.host.rstrip("/"))

    def get_output(self, workspace: Workspace, request: Request) -> Reply:
        """Answers with what a task has printed, or why it failed."""
        id_ = request.query["run_id"]
        run = next((run for run in self.runs.values() if id_ in run.tasks), None)
        if run is None or run.ended is None:
            raise missing(f"Run {id_} does not exist, or has no output yet.")
        key = run.tasks[id_]
        output: Json = {"metadata": {"run_id": int(id_), "task_key": key}}
        if logs := run.ended.outputs.get(key):
            output |= {"logs": logs, "logs_truncated": False}
        if error := run.ended.errors.get(key):
            output |= {"error": error.message, "error_trace": error.trace}
        return output
