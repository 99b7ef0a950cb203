"""Runs of jobs: each task after those that it depends on, on the rehearsal's compute."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import NamedTuple

from rehearsal.databricks.compute import Compute, Outcome
from rehearsal.databricks.errors import NotSupported
from rehearsal.databricks.workspace.model import Workspace
from rehearsal.databricks.workspace.storage import Json

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
