"""The command `bundle run`, and how the client reports a run."""

import time

from rehearsal.databricks.bundle import Bundle
from rehearsal.databricks.commands import state_of
from rehearsal.databricks.compute import Compute
from rehearsal.databricks.errors import ClientError, Invalid, NotSupported
from rehearsal.databricks.job import JobRun, run_job
from rehearsal.databricks.session import Session, say, show
from rehearsal.databricks.workspace import new_job_id


def run(session: Session, key: str) -> None:
    """databricks bundle run KEY [--params k=v,...]"""
    parameters = _parameters(session.options.params)
    kind = _kind(session.load_bundle(), key)
    id_ = state_of(session).id(f"resources.{kind}.{key}")
    job = session.workspace.resources.get(kind, id_)
    if job is None:
        hint = "Did you forget to run 'databricks bundle deploy'?"
        raise Invalid(f"resource not found or not yet deployed. {hint}")
    if kind != "jobs":
        raise NotSupported(f"bundle run of {kind}")
    # The engine is kept beside the workspaces.
    compute = Compute(session.home.parent, session.workspace.files.root)
    run_id = new_job_id()
    say(f"Run URL: {session.host}/jobs/{id_}/runs/{run_id}\n")
    _print_state(job["name"], "RUNNING")
    job_run = run_job(session.workspace, compute, job, parameters, (id_, run_id))
    if job_run.failed:
        raise _failure(job["name"], job_run)
    _print_state(job["name"], "TERMINATED SUCCESS")
    _print_outputs(job_run.outputs, session.json)


def _parameters(options: list[str]) -> dict[str, str]:
    """The parameters that `--params k=v,...` give, however often."""
    pairs = [pair for option in options for pair in option.split(",")]
    for pair in pairs:
        if "=" not in pair:
            argument = f'invalid argument "{pair}" for "--params" flag'
            raise ClientError(f"{argument}: {pair} must be formatted as key=value")
    return dict(pair.split("=", 1) for pair in pairs)


def _kind(bundle: Bundle, key: str) -> str:
    """The kind of the resource with this key. Raises ClientError if there is none."""
    for kind, named in bundle.config.section("resources").items():
        if key in named:
            return str(kind)
    raise ClientError(f'resource with key "{key}" not found')


def _print_state(job: str, state: str) -> None:
    say(f'{time.strftime("%Y-%m-%d %H:%M:%S")} "{job}" {state}')


def _failure(job: str, job_run: JobRun) -> ClientError:
    """Prints the errors of a run; returns what ends the command."""
    message = job_run.message
    _print_state(job, f"INTERNAL_ERROR FAILED {message}")
    for key, (error, trace) in job_run.errors.items():
        say(f"Task {key} FAILED:\n{error}\n{trace}\n")
        say(f"Error: Task {key} failed!\nError:\n{error}\nTrace:\n{trace}")
    return ClientError(f"failed to reach TERMINATED or SKIPPED, got INTERNAL_ERROR: {message}")


def _print_outputs(outputs: dict[str, str], as_json: bool) -> None:
    if as_json:
        tasks = [
            {"TaskKey": key, "Output": {"logs": logs, "logs_truncated": False}, "EndTime": 0}
            for key, logs in outputs.items()
        ]
        show({"task_outputs": tasks})
    elif len(outputs) == 1:
        print(*outputs.values())
    else:
        print("Output:")
        for key, output in outputs.items():
            print(f"=======\nTask {key}:\n{output}")
