"""Where the pipeline stands: the screen of `make status`."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cicd.steps.names import PRODUCTION, QA
from ops import Stop, credentials
from ops.approval import waiting
from ops.aws import Stack, plain, refusal, when
from ops.builds import last_comparison
from ops.pipeline import Pipeline

COLORS = {"Succeeded": "green", "InProgress": "yellow", "Failed": "red"}


def stage_row(pipeline: Pipeline, stage: dict[str, Any]) -> list[str | Text]:
    """A stage's name, state, time of its last change, commit and execution."""
    latest = stage.get("latestExecution")
    if latest is None:
        return [stage["stageName"], "not run yet"]
    changes = [
        action["latestExecution"]["lastStatusChange"]
        for action in stage["actionStates"]
        if "lastStatusChange" in action.get("latestExecution", {})
    ]
    state, execution = latest["status"], latest["pipelineExecutionId"]
    return [
        stage["stageName"],
        Text(state, COLORS.get(state, "")),
        when(max(changes)) if changes else "",
        pipeline.commit(execution)[:8],
        execution[:8] + (" (rollback)" if latest.get("type") == "ROLLBACK" else ""),
    ]


def stages(pipeline: Pipeline) -> Table:
    """A table with a row for each stage."""
    table = Table("Stage", "State", "Since", "Commit", "Execution", box=None, pad_edge=False)
    for stage in pipeline.stages:
        table.add_row(*stage_row(pipeline, stage))
    return table


def release(pipeline: Pipeline, stage: str) -> str:
    """The last release in a stage."""
    newest = next(pipeline.releases(stage), None)
    if newest is None:
        return "nothing yet"
    source = f"execution {newest.execution[:8]}"
    if newest.rolled_back_to:
        source = f"rolled back to execution {newest.rolled_back_to[:8]}"
    after = pipeline.broken(stage)
    warning = f"; the deployment after it: {after}" if after else ""
    return f"{newest.commit[:8] or 'unknown'}, {when(newest.at)}, {source}{warning}"


def drift(stack: Stack) -> str:
    """What the last comparison said, and whether there is a schedule for the next one."""
    text = last_comparison(stack)
    if stack.parameters.get("DriftSchedule"):
        return text
    return f"{text}; the schedule is off (DriftSchedule is empty)"


def ask(question: Callable[[], str]) -> str:
    """An answer, or AWS's refusal, so that the other rows still appear."""
    try:
        return question()
    except ClientError as error:
        return f"unknown: {refusal(error)}"
    except Stop as stop:  # an older stack lacks something
        return f"unknown: {stop}"


def show(stack: Stack) -> None:
    """Prints the screen."""
    console = Console(highlight=False)
    pipeline = Pipeline(stack)
    console.print(f"[bold]{pipeline.name}[/]  {stack.output('PipelineUrl')}\n", soft_wrap=True)
    console.print(stages(pipeline))
    if review := waiting(pipeline):
        console.print(f"\n[yellow]Waits in {review.stage}:[/]", end=" ")
        console.print(Text(plain(f"{review.text}\n{review.link}")), soft_wrap=True)
    rows: dict[str, Callable[[], str]] = {
        "In qa": lambda: release(pipeline, QA),
        "In prod": lambda: release(pipeline, PRODUCTION),
        "Drift": lambda: drift(stack),
        **credentials.status(stack),
    }
    console.print()
    for name, question in rows.items():
        console.print(Text(f"{name:<14} {plain(ask(question))}"), soft_wrap=True)
