"""Shows where the pipeline stands: stages, what waits, what is deployed, drift, credentials."""

from collections.abc import Callable
from datetime import datetime

import approval
import aws_stack
import drift
import logs
import pipeline
from botocore.exceptions import ClientError
from pipeline import PRODUCTION, QA, Pipeline
from rich.console import Console
from rich.table import Table
from rich.text import Text
from screen import plain, when

COLORS = {"Succeeded": "green", "InProgress": "yellow", "Failed": "red"}


def stages(given: Pipeline) -> Table:
    """A table with a row for each stage: state, time of the last change, commit, execution."""
    table = Table("Stage", "State", "Since", "Commit", "Execution", box=None, pad_edge=False)
    for stage in given.stages:
        latest = stage.get("latestExecution")
        if latest is None:
            table.add_row(stage["stageName"], "not run yet")
            continue
        changes = [
            action["latestExecution"]["lastStatusChange"]
            for action in stage["actionStates"]
            if "lastStatusChange" in action.get("latestExecution", {})
        ]
        state, execution = latest["status"], latest["pipelineExecutionId"]
        kind = " (rollback)" if latest.get("type") == "ROLLBACK" else ""
        table.add_row(
            stage["stageName"],
            Text(state, COLORS.get(state, "")),
            when(max(changes)) if changes else "",
            given.commit(execution)[:8],
            execution[:8] + kind,
        )
    return table


def release(given: Pipeline, stage: str) -> str:
    """The last release in a stage."""
    for found in given.releases(stage):
        commit, back = found.commit[:8] or "unknown", found.rolled_back_to
        how = f"rolled back to execution {back[:8]}" if back else f"execution {found.execution[:8]}"
        after = given.broken(stage)
        more = f"; what came after it: {after}" if after else ""
        return f"{commit}, {when(found.at)}, {how}{more}"
    return "nothing yet"


def looked_for_drift() -> str:
    """What the last look for drift found; and whether anybody looks by the clock."""
    found = drift.last_look(logs.project("drift"))
    by_the_clock = aws_stack.parameters().get("DriftSchedule")
    return found if by_the_clock else f"{found}; the schedule is off (DriftSchedule is empty)"


def credential(arn: str) -> str:
    """How old a secret's value is. AWS does not know when what it holds expires."""
    versions = aws_stack.client("secretsmanager").list_secret_version_ids(SecretId=arn)["Versions"]
    made = {stage: one["CreatedDate"] for one in versions for stage in one.get("VersionStages", [])}
    if "AWSPREVIOUS" not in made:  # the stack's placeholder becomes the previous value
        return "not set yet: make secrets"
    at = made["AWSCURRENT"].astimezone()
    days = (datetime.now().astimezone() - at).days
    return f"set {at:%d %b %Y}, {days} days ago; its workspace knows when it expires"


def told(question: Callable[[], str]) -> str:
    """An answer, or what AWS refused: who may not see one thing sees the others."""
    try:
        return question()
    except ClientError as error:
        refused = error.response["Error"]["Message"]
        return f"unknown: AWS refuses {error.operation_name}: {refused}"
    except SystemExit as stop:  # an older stack lacks something
        return f"unknown: {stop.code}"


def main() -> None:
    """Prints the screen."""
    console = Console(highlight=False)
    outputs = aws_stack.outputs()
    given = pipeline.deployed()
    console.print(f"[bold]{given.name}[/]  {outputs['PipelineUrl']}\n", soft_wrap=True)
    console.print(stages(given))
    waits = approval.waiting(given)
    if waits:
        console.print(f"\n[yellow]Waits in {waits.stage}:[/]", end=" ")
        console.print(Text(plain(f"{waits.text}\n{waits.link}")), soft_wrap=True)
    rows: dict[str, Callable[[], str]] = {
        "In qa": lambda: release(given, QA),
        "In prod": lambda: release(given, PRODUCTION),
        "Drift": looked_for_drift,
        "Token of qa": lambda: credential(outputs["QaSecretArn"]),
        "Token of prod": lambda: credential(outputs["ProdSecretArn"]),
    }
    console.print()
    for name, question in rows.items():
        console.print(Text(f"{name:<14} {plain(told(question))}"), soft_wrap=True)


if __name__ == "__main__":
    aws_stack.run(main)
