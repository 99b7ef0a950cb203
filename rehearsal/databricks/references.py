"""Dynamic values of a run of a job: `{{job.id}}`, `{{tasks.a.values.b}}` and so on.

docs.databricks.com/aws/en/jobs/dynamic-value-references
"""

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rehearsal.databricks.errors import NotSupported
from rehearsal.databricks.workspace import Json

if TYPE_CHECKING:
    from rehearsal.databricks.job import JobRun

REFERENCE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class References:
    """What references stand for; `task` and `input` change while the run goes on."""

    def __init__(
        self, job: Json, run: "JobRun", parameters: dict[str, str], ids: tuple[str, str]
    ) -> None:
        self.job, self.run, self.parameters = job, run, parameters
        self.task, self.input = "", list[Any]()  # in a loop, the input of this iteration
        self.started = datetime.now(UTC)
        self.values: dict[str, Any] = {
            "job.id": ids[0],
            "job.run_id": ids[1],
            "job.name": job.get("name", ""),
            "job.repair_count": 0,
            "task.execution_count": 1,
            "job.trigger.type": "manual",
        } | {f"job.start_time.{name}": value for name, value in self.times().items()}
        self.values |= {"job_id": ids[0], "run_id": ids[1]}  # as they were called earlier

    def times(self) -> dict[str, Any]:
        """The parts of the time when the run started."""
        started = self.started
        names = ("year", "month", "day", "hour", "minute", "second")
        return {
            "iso_date": started.date().isoformat(),
            "iso_datetime": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "iso_weekday": started.isoweekday(),
            "is_weekday": str(started.isoweekday() < 6).lower(),
            "timestamp_ms": int(started.timestamp() * 1000),
        } | {name: getattr(started, name) for name in names}

    def fill(self, text: str) -> str:
        """A text with its references replaced. Raises NotSupported for what is not played."""
        return REFERENCE.sub(lambda match: shown(self.value(match[1], text)), text)

    def value(self, name: str, text: str) -> Any:
        """What a reference stands for. Raises NotSupported."""
        match re.split(r"\.(?![^\[]*\])", name):
            case ["job", "parameters", key] if key.strip("[]") in self.parameters:
                return self.parameters[key.strip("[]")]
            case ["input", *fields] if self.input:
                return part(self.input[0], fields)
            case ["tasks", task, "values", key] if key in self.run.values.get(task, {}):
                return self.run.values[task][key]
            case ["tasks", task, "result_state"] if task in self.run.states:
                return self.run.states[task].lower()
            case ["tasks", task, *_] if task in self.run.not_run:
                raise NotSupported(f"{task}, whose value it takes, was not run")
            case ["task", "name"]:
                return self.task
        if name in self.values:
            return self.values[name]
        raise NotSupported(f"the dynamic value reference in {text}")


def part(value: Any, fields: list[str]) -> Any:
    """A field of a value, or the value; None if there is none."""
    for name in fields:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def shown(value: Any) -> str:
    """A value as a parameter has it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
