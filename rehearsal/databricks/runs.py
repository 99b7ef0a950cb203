"""The command `bundle run`: each task of a job after those that it depends on, on the compute."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import NamedTuple

from rehearsal.databricks.bundle import Bundle
from rehearsal.databricks.commands import state_of
from rehearsal.databricks.compute import Compute, Outcome
from rehearsal.databricks.errors import ClientError, Invalid, NotSupported
from rehearsal.databricks.session import Session, say, show
from rehearsal.databricks.workspace import Json, Workspace, new_job_id

FAILED = "failed with message: Workload failed, see run output for details."
JOB_PARAMETER = re.compile(r"\{\{\s*job\.parameters\.\[?([\w.-]+?)\]?\s*\}\}")


class TaskError(NamedTuple):
    """Why a task failed."""

    message: str
    trace: str


@dataclass
class JobRun:
    """The outputs and errors of a job's tasks by their keys, in the order of their execution."""

    outputs: dict[str, str] = field(default_factory=dict)
    errors: dict[str, TaskError] = field(default_factory=dict)


def run_job(
    workspace: Workspace, compute: Compute, job: Json, parameters: dict[str, str]
) -> JobRun:
    """Runs a job with these parameters, and the job's defaults for the others.

    Raises NotSupported for a task that the rehearsal cannot run.
    """
    defaults = {parameter["name"]: parameter["default"] for parameter in job.get("parameters", [])}
    runner = _TaskRunner(workspace, compute, job, defaults | parameters)
    tasks = {task["task_key"]: task for task in job["tasks"]}
    needs = {
        key: [dependency["task_key"] for dependency in task.get("depends_on", [])]
        for key, task in tasks.items()
    }
    run, not_done = JobRun(), set[str]()
    for key in TopologicalSorter(needs).static_order():
        if not_done.intersection(needs[key]):  # and what depends on this one does not run either
            not_done.add(key)
            continue
        outcome = runner.run(tasks[key])
        run.outputs[key] = outcome.output
        if not outcome.ok:
            message, _, trace = outcome.error.strip().partition("\n")
            run.errors[key] = TaskError(message, trace)
            not_done.add(key)
    workspace.record("bundle run", f"{job['name']}: {'failed' if run.errors else 'succeeded'}")
    return run


class _TaskRunner:
    """Runs the tasks of one run of a job."""

    def __init__(
        self, workspace: Workspace, compute: Compute, job: Json, parameters: dict[str, str]
    ) -> None:
        self.workspace, self.compute = workspace, compute
        self.job, self.parameters = job, parameters
        self.kinds: dict[str, Callable[[Json, list[str]], Outcome]] = {
            "notebook_task": self._notebook,
            "python_wheel_task": self._wheel,
            "pipeline_task": self._pipeline,
        }

    def run(self, task: Json) -> Outcome:
        """Runs one task."""
        libraries = self._libraries(task)
        if error := self._start_error(libraries):
            return Outcome(False, "", error)
        if task.get("run_if", "ALL_SUCCESS") != "ALL_SUCCESS" or task.get("disabled"):
            raise NotSupported(f"run_if or disabled of the task {task['task_key']}")
        for kind, run in self.kinds.items():
            if kind in task:
                return run(task[kind], libraries)
        raise NotSupported(f"how to run the task {task['task_key']}")

    def _libraries(self, task: Json) -> list[str]:
        """What a task needs installed: wheels of the workspace, and names of packages."""
        libraries = [
            library.get("whl") or library["pypi"]["package"]
            for library in task.get("libraries", [])
        ]
        for environment in self.job.get("environments", []):
            if environment["environment_key"] == task.get("environment_key"):
                libraries += environment["spec"].get("dependencies", [])
        return libraries

    def _start_error(self, libraries: list[str]) -> str:
        """Why a task cannot start, or ""."""
        for library in libraries:
            if library.startswith("/") and not self.workspace.files.locate(library).is_file():
                return f"Library installation failed: {library} not found"
        return str(self.workspace.storage.fault("run").get("message", ""))

    def _fill(self, text: str) -> str:
        """A text with the values of the job's parameters."""
        text = JOB_PARAMETER.sub(lambda match: self.parameters.get(match[1], match[0]), text)
        if "{{" in text:
            raise NotSupported(f"the dynamic value reference in {text}")
        return text

    def _filled(self, values: dict[str, str]) -> dict[str, str]:
        """A task's own parameters under the job's, which take precedence.

        docs.databricks.com/aws/en/jobs/job-parameters
        """
        return {name: self._fill(value) for name, value in values.items()} | self.parameters

    def _notebook(self, notebook: Json, libraries: list[str]) -> Outcome:
        if "source" in notebook:
            raise NotSupported(f"the source of the notebook {notebook['notebook_path']}")
        parameters = self._filled(notebook.get("base_parameters", {}))
        return self.compute.notebook(notebook["notebook_path"], parameters, libraries)

    def _wheel(self, wheel: Json, libraries: list[str]) -> Outcome:
        arguments = [self._fill(argument) for argument in wheel.get("parameters", [])]
        # Only named parameters take the job's: positional ones have no names to match.
        if named := wheel.get("named_parameters"):
            arguments = [f"--{name}={value}" for name, value in self._filled(named).items()]
        package, entry_point = wheel["package_name"], wheel["entry_point"]
        return self.compute.wheel(package, entry_point, arguments, libraries)

    def _pipeline(self, task: Json, libraries: list[str]) -> Outcome:
        pipeline_id = task["pipeline_id"]
        pipeline = self.workspace.resources.get("pipelines", pipeline_id)
        if pipeline is None:
            return Outcome(False, "", f"The specified pipeline {pipeline_id} was not found.")
        return self.compute.pipeline(pipeline)


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
    job_run = run_job(session.workspace, compute, job, parameters)
    if job_run.errors:
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
    message = "; ".join(f"Task {key} {FAILED}" for key in job_run.errors)
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
