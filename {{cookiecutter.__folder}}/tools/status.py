"""Shows where the pipeline stands: every stage, its commit, and the approval that waits."""

from dataclasses import dataclass

import aws_stack
from rich.console import Console
from rich.markup import escape
from rich.table import Table

COLORS = {"Succeeded": "green", "InProgress": "yellow", "Failed": "red"}


@dataclass
class Approval:
    """An approval that waits for its answer."""

    stage: str
    action: str
    token: str
    text: str
    link: str


def waiting_approval(pipeline: str) -> Approval | None:
    """The approval that waits in this pipeline, with the text that its reviewer sees, or None."""
    codepipeline = aws_stack.client("codepipeline")
    for stage in codepipeline.get_pipeline_state(name=pipeline)["stageStates"]:
        for action in stage["actionStates"]:
            latest = action.get("latestExecution", {})
            if latest.get("status") != "InProgress" or "token" not in latest:
                continue
            # Only the execution's own record has the text with its variables filled in.
            execution = stage["latestExecution"]["pipelineExecutionId"]
            details = codepipeline.list_action_executions(
                pipelineName=pipeline, filter={"pipelineExecutionId": execution}
            )["actionExecutionDetails"]
            told = next(
                (
                    item["input"].get("resolvedConfiguration", {})
                    for item in details
                    if item["actionName"] == action["actionName"]
                ),
                {},
            )
            return Approval(
                stage["stageName"],
                action["actionName"],
                latest["token"],
                told.get("CustomData", "An approval waits."),
                told.get("ExternalEntityLink", ""),
            )
    return None


def stages(pipeline: str) -> Table:
    """A table with a row for each stage: state, time of the last change, execution, commit."""
    codepipeline = aws_stack.client("codepipeline")
    commits: dict[str, str] = {}
    pages = codepipeline.get_paginator("list_pipeline_executions").paginate(
        pipelineName=pipeline, PaginationConfig={"MaxItems": 100}
    )
    for page in pages:
        for item in page["pipelineExecutionSummaries"]:
            revision = (item.get("sourceRevisions") or [{}])[0]
            commits[item["pipelineExecutionId"]] = revision.get("revisionId", "")[:8]
    table = Table("Stage", "State", "Since", "Commit", "Execution", box=None, pad_edge=False)
    for stage in codepipeline.get_pipeline_state(name=pipeline)["stageStates"]:
        latest = stage.get("latestExecution")
        if latest is None:
            table.add_row(stage["stageName"], "not run yet")
            continue
        changes = [
            action["latestExecution"]["lastStatusChange"]
            for action in stage["actionStates"]
            if "lastStatusChange" in action.get("latestExecution", {})
        ]
        since = f"{max(changes).astimezone():%d %b %H:%M}" if changes else ""
        state, execution = latest["status"], latest["pipelineExecutionId"]
        color = COLORS.get(state, "white")
        table.add_row(
            stage["stageName"],
            f"[{color}]{state}[/]",
            since,
            commits.get(execution, ""),
            execution[:8],
        )
    return table


def main() -> None:
    """Prints the screen."""
    console = Console(highlight=False)
    outputs = aws_stack.outputs()
    pipeline = outputs["PipelineName"]
    console.print(f"[bold]{pipeline}[/]  {outputs['PipelineUrl']}\n", soft_wrap=True)
    console.print(stages(pipeline))
    approval = waiting_approval(pipeline)
    if approval:
        text = escape(approval.text)  # an author may be called [bot]
        console.print(f"\n[yellow]Waits in {approval.stage}:[/] {text}", soft_wrap=True)
        console.print(approval.link, soft_wrap=True)
        console.print('Answer with: make approve, or make reject REASON="..."')


if __name__ == "__main__":
    aws_stack.run(main)
