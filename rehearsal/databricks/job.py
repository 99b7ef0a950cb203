"""A run of a job: each task after those that it depends on, on the compute.

docs.databricks.com/aws/en/jobs/run-if
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from rehearsal.databricks import reports
from rehearsal.databricks.calls import TASK, recorded
from rehearsal.databricks.compute import UNSUPPORTED, Compute, Outcome
from rehearsal.databricks.errors import NotSupported
from rehearsal.databricks.references import References
from rehearsal.databricks.task.errors import failures
from rehearsal.databricks.workspace import Json, Workspace, host_name, new_job_id

TASK_FAILED = "Workload failed, see run output for details."
SUCCESS, FAILED, UPSTREAM, EXCLUDED = "SUCCESS", "FAILED", "UPSTREAM_FAILED", "EXCLUDED"
DISABLED = "DISABLED"
BAD = {FAILED, UPSTREAM}
FOR_FAILURES = ("AT_LEAST_ONE_FAILED", "ALL_FAILED")  # these are excluded where nothing has failed
# Whether a task runs, by the states of those that it depends on.
RUN_IF: dict[str, Callable[[set[str]], bool]] = {
    "ALL_SUCCESS": lambda states: states <= {SUCCESS},
    "AT_LEAST_ONE_SUCCESS": lambda states: SUCCESS in states,
    "NONE_FAILED": lambda states: not states & BAD,
    "ALL_DONE": lambda states: True,
    "AT_LEAST_ONE_FAILED": lambda states: FAILED in states,
    "ALL_FAILED": lambda states: states == {FAILED},
}
# What Spark and DuckDB say of a table or schema that is not there.
MISSING = re.compile(
    r"(TABLE_OR_VIEW|SCHEMA)_NOT_FOUND|(Table|Schema) with name \S+ does not exist"
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQUAL_TO": operator.eq,
    "NOT_EQUAL": operator.ne,
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
}


class TaskError(NamedTuple):
    """Why a task failed."""

    message: str
    trace: str


@dataclass
class JobRun:
    """What came of a job's tasks, by their keys, in the order of their execution.

    `not_run` says of tasks that cannot run on one machine why; they count as done.
    """

    states: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    values: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: dict[str, TaskError] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    failed: bool = False

    @property
    def message(self) -> str:
        """What the service says of a run that has failed."""
        return "; ".join(f"Task {key} failed with message: {TASK_FAILED}" for key in self.errors)


def run_job(
    workspace: Workspace,
    compute: Compute,
    job: Json,
    parameters: dict[str, str],
    ids: tuple[str, str] = ("", ""),
) -> JobRun:
    """Runs a job with these parameters, and the job's defaults for the others.

    `ids` are the job's and the run's.
    """
    defaults = {parameter["name"]: parameter["default"] for parameter in job.get("parameters", [])}
    run = JobRun()
    references = References(job, run, defaults | parameters, ids)
    runner = _TaskRunner(workspace, compute, job, references)
    tasks = {task["task_key"]: task for task in job.get("tasks", [])}
    needs = {
        key: [need["task_key"] for need in task.get("depends_on", [])]
        for key, task in tasks.items()
    }
    for key in TopologicalSorter(needs).static_order():
        state = state_before(tasks[key], run)
        if unknown := unknown_outcomes(tasks[key], run):
            runner.leave_out(run, key, f"{unknown[0]}, on which it depends, was not run")
        elif state == SUCCESS:
            runner.run_into(run, tasks[key])
        else:
            run.states[key] = state
    leaves = tasks.keys() - {need for keys in needs.values() for need in keys}
    run.failed = any(run.states[key] in BAD for key in leaves)
    workspace.record("bundle run", f"{job['name']}: {'failed' if run.failed else 'succeeded'}")
    return run


def state_before(task: Json, run: JobRun) -> str:
    """SUCCESS if a task is to run now, else the state that it gets without running."""
    rule = task.get("run_if", "ALL_SUCCESS")
    states = {need_state(need, run) for need in task.get("depends_on", [])}
    if task.get("disabled"):
        return DISABLED
    if states == {EXCLUDED}:
        return EXCLUDED
    states -= {EXCLUDED}  # beside others they are as good as successful
    if not states or RUN_IF[rule](states):
        return SUCCESS
    if rule in FOR_FAILURES:
        return EXCLUDED
    return UPSTREAM if states & BAD else DISABLED


def unknown_outcomes(task: Json, run: JobRun) -> list[str]:
    """The conditions that a task depends on, and that could not be run."""
    needs = (need["task_key"] for need in task.get("depends_on", []) if need.get("outcome"))
    return [key for key in needs if key in run.not_run]


def need_state(need: Json, run: JobRun) -> str:
    """The state of a task that another one depends on: of a condition, whether it came out so."""
    state = run.states[need["task_key"]]
    wanted = need.get("outcome")
    if state == SUCCESS and wanted and run.outputs[need["task_key"]] != wanted:
        return EXCLUDED
    return state


class _TaskRunner:
    """Runs the tasks of one run of a job."""

    def __init__(
        self, workspace: Workspace, compute: Compute, job: Json, references: References
    ) -> None:
        self.workspace, self.compute = workspace, compute
        self.job, self.references, self._fill = job, references, references.fill
        self.kinds: dict[str, Callable[[Json, list[str]], Outcome]] = {
            "notebook_task": self._notebook,
            "python_wheel_task": self._wheel,
            "spark_python_task": self._script,
            "pipeline_task": self._pipeline,
            "run_job_task": self._job,
            "condition_task": self._condition,
            "for_each_task": self._for_each,
        }

    def run_into(self, run: JobRun, task: Json) -> None:
        """Runs a task, and notes what came of it; what cannot run here counts as done."""
        key = task["task_key"]
        self.references.task = key
        try:
            outcome = self.run(task)
            if reason := self.limit(outcome.error):
                raise NotSupported(reason)
        except NotSupported as limit:
            self.leave_out(run, key, str(limit))
            self.skip_tests(task, str(limit))
            return
        run.outputs[key], run.states[key] = outcome.output, SUCCESS
        run.values[key] = outcome.values
        if not outcome.ok:
            message, _, trace = outcome.error.strip().partition("\n")
            run.errors[key], run.states[key] = TaskError(message, trace), FAILED
        self.record(key, "")

    def limit(self, error: str) -> str:
        """Why a task could not run on this machine; "" if it ran, or failed by itself."""
        first = error.partition("\n")[0]
        if error.startswith(UNSUPPORTED):
            return first.removeprefix(UNSUPPORTED)
        if error and all(MISSING.search(failure) for failure in failures(error)):
            # It may be what a task would have made that was not run, in this job or in another one.
            for task in not_run_before(self.workspace):
                return f"{task}, which may make what it reads, was not run: {first}"
        return ""

    def skip_tests(self, task: Json, reason: str) -> None:
        """Writes that tests were skipped, if a task of tests was not run (run_nutter.sh)."""
        parameters = self.references.parameters
        if "notebook_task" in task and parameters.get("results", "").startswith("/"):
            reports.skip(self.workspace.files.locate(parameters["results"]), reason)

    def leave_out(self, run: JobRun, key: str, reason: str) -> None:
        """Notes a task that is not run here."""
        run.not_run[key], run.states[key] = reason, SUCCESS
        run.outputs[key] = f"Not run in this rehearsal: {reason}\n"
        self.record(key, reason)

    def record(self, key: str, reason: str) -> None:
        """Records a task, with the reason if it was not run."""
        self.workspace.record(TASK, json.dumps([f"{self.job['name']}: {key}", reason]))

    def run(self, task: Json) -> Outcome:
        """Runs one task. Raises NotSupported for one that the rehearsal cannot run."""
        libraries = self._libraries(task)
        if error := self._start_error(libraries):
            return Outcome(False, "", error)
        for kind, run in self.kinds.items():
            if kind in task:
                return run(task[kind], libraries)
        kind = next((name for name in task if name.endswith("_task")), "a task of this kind")
        raise NotSupported(f"{kind} needs a workspace")

    def _libraries(self, task: Json) -> list[str]:
        """What a task needs installed: wheels of the workspace, and names of packages."""
        libraries = [library_name(library) for library in task.get("libraries", [])]
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

    def _filled(self, values: dict[str, str]) -> dict[str, str]:
        """A task's own parameters under the job's, which take precedence.

        docs.databricks.com/aws/en/jobs/job-parameters
        """
        every = values | self.references.parameters
        return {name: self._fill(value) for name, value in every.items()}

    def _notebook(self, notebook: Json, libraries: list[str]) -> Outcome:
        if notebook.get("source", "WORKSPACE") != "WORKSPACE":
            raise NotSupported(f"{notebook['notebook_path']} comes from another repository")
        parameters = self._filled(notebook.get("base_parameters", {}))
        values = self.references.run.values
        return self.compute.notebook(notebook["notebook_path"], parameters, libraries, values)

    def _wheel(self, wheel: Json, libraries: list[str]) -> Outcome:
        arguments = [self._fill(argument) for argument in wheel.get("parameters", [])]
        # Only named parameters take the job's: positional ones have no names to match.
        if named := wheel.get("named_parameters"):
            arguments = [f"--{name}={value}" for name, value in self._filled(named).items()]
        package, entry_point = wheel["package_name"], wheel["entry_point"]
        return self.compute.wheel(package, entry_point, arguments, libraries)

    def _script(self, script: Json, libraries: list[str]) -> Outcome:
        if script.get("source", "WORKSPACE") != "WORKSPACE" or "://" in script["python_file"]:
            raise NotSupported(f"{script['python_file']} is not in the workspace")
        arguments = [self._fill(argument) for argument in script.get("parameters", [])]
        return self.compute.script(script["python_file"], arguments, libraries)

    def _pipeline(self, task: Json, libraries: list[str]) -> Outcome:
        pipeline_id = task["pipeline_id"]
        pipeline = self.workspace.resources.get("pipelines", pipeline_id)
        if pipeline is None:
            return Outcome(False, "", f"The specified pipeline {pipeline_id} was not found.")
        return self.compute.pipeline(pipeline)

    def _job(self, task: Json, libraries: list[str]) -> Outcome:
        job = self.workspace.resources.get("jobs", str(task["job_id"]))
        if job is None:
            return Outcome(False, "", f"Job {task['job_id']} does not exist.")
        parameters = {
            name: self._fill(text) for name, text in task.get("job_parameters", {}).items()
        }
        ids = (str(task["job_id"]), new_job_id())
        run = run_job(self.workspace, self.compute, job, parameters, ids)
        errors = "\n".join(f"{key}: {error.message}" for key, error in run.errors.items())
        return Outcome(
            not run.failed, "\n".join(run.outputs.values()), errors if run.failed else ""
        )

    def _condition(self, condition: Json, libraries: list[str]) -> Outcome:
        left, right = self._fill(condition["left"]), self._fill(condition["right"])
        compare = COMPARISONS[condition["op"]]
        if condition["op"] in ("EQUAL_TO", "NOT_EQUAL"):
            return Outcome(True, str(compare(left, right)).lower(), "")
        try:
            return Outcome(True, str(compare(float(left), float(right))).lower(), "")
        except ValueError:
            return Outcome(False, "", f"{left!r} and {right!r}: {condition['op']} needs numbers")

    def _for_each(self, loop: Json, libraries: list[str]) -> Outcome:
        text = self._fill(loop["inputs"])
        try:
            inputs = list(json.loads(text))
        except (TypeError, ValueError):
            return Outcome(False, "", f"inputs: {text} is no list in JSON")
        outcomes = list(self._iterations(loop["task"], inputs))
        failed = [outcome.error for outcome in outcomes if not outcome.ok]
        # A failure of the team's own comes before what cannot run here.
        errors = "\n".join(sorted(failed, key=lambda error: error.startswith(UNSUPPORTED)))
        return Outcome(not errors, "\n".join(outcome.output for outcome in outcomes), errors)

    def _iterations(self, task: Json, inputs: list[Any]) -> Iterator[Outcome]:
        """Runs a task once for each input."""
        for each in inputs:
            self.references.input = [each]
            yield self._iteration(task)
        self.references.input = []

    def _iteration(self, task: Json) -> Outcome:
        """Runs a task once."""
        try:
            return self.run(task)
        except NotSupported as reason:
            return Outcome(False, "", f"{UNSUPPORTED}{reason}")


def not_run_before(workspace: Workspace) -> list[str]:
    """The tasks of a workspace that were not run so far, in any job."""
    host = host_name(workspace.storage.host)
    calls = recorded(workspace.storage.home)
    tasks = [json.loads(one.what) for one in calls if (one.command, one.host) == (TASK, host)]
    return [task for task, reason in tasks if reason]


def library_name(library: Json) -> str:
    """A wheel's path or a package's name. Raises NotSupported."""
    if "whl" in library:
        return str(library["whl"])
    if "pypi" in library:
        return str(library["pypi"]["package"])
    raise NotSupported(f"the library {json.dumps(library)}")
