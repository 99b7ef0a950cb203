"""What the service refuses of a job's or a pipeline's settings, whoever sends them.

docs.databricks.com/api/workspace/jobs/create: keys are unique, and what refers to a key needs it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from rehearsal.databricks.workspace import Json

# Quartz: seconds, minutes, hours, days, months, weekdays, and perhaps years.
CRON = re.compile(r"[\w*/,-]+( [\w*/,#?-]+){5,6}")
GRAPH = "Invalid dependency graph"


def problem(kind: str, settings: Json) -> str:
    """What is wrong with a resource's settings, or ""."""
    return next(PROBLEMS[kind](settings), "") if kind in PROBLEMS else ""


def _pipeline(pipeline: Json) -> Iterator[str]:
    if "." in str(pipeline.get("schema") or pipeline.get("target")):
        yield "The name of a schema cannot contain periods."


def _job(job: Json) -> Iterator[str]:
    tasks = job.get("tasks", [])
    for name, key in (("tasks", "task_key"), ("environments", "environment_key")):
        counted = Counter(str(item.get(key, "")) for item in job.get(name, []))
        yield from (f"{name}: {value!r} is no {key}, or twice" for value in _bad(counted))
    yield from _graph(tasks)
    for task in _with_inner(tasks):
        for name, key in (("job_clusters", "job_cluster_key"), ("environments", "environment_key")):
            known = [item.get(key) for item in job.get(name, [])]
            if task.get(key) and task[key] not in known:
                yield f"task '{task['task_key']}': {key} '{task[key]}' is not defined in {name}"
    if job.get("schedule") and job.get("continuous"):
        yield "Only one of schedule and continuous can be used"
    cron = (job.get("schedule") or {}).get("quartz_cron_expression", "0 0 0 * * ?")
    if not CRON.fullmatch(cron):
        yield f"Invalid quartz_cron_expression '{cron}'"


def _bad(counted: Counter[str]) -> list[str]:
    """The keys that are empty or there more than once."""
    return [value for value, number in counted.items() if not value or number > 1]


def _graph(tasks: list[Json]) -> Iterator[str]:
    """What is wrong with the order of tasks."""
    needs = {
        task.get("task_key", ""): [need["task_key"] for need in task.get("depends_on", [])]
        for task in tasks
    }
    for key, keys in needs.items():
        if key in keys:
            yield f"{GRAPH}, task '{key}' can not reference itself."
        yield from (f"{GRAPH}, task '{key}' needs unknown '{n}'." for n in keys if n not in needs)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield f"{GRAPH}, tasks wait for each other: {', '.join(error.args[1])}."


def _with_inner(tasks: list[Json]) -> Iterator[Any]:
    """Tasks, and the tasks that they repeat."""
    for task in tasks:
        yield task
        if inner := task.get("for_each_task", {}).get("task"):
            yield inner


PROBLEMS = {"jobs": _job, "pipelines": _pipeline}
