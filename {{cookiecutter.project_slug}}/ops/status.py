"""Where the pipeline stands: its screen, and the answer to the approval that waits."""

import io
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cicd.steps.names import LOSES_DATA, PLAN, PRODUCTION, QA
from ops import Stop, credentials
from ops.aws import Stack, agreed, plain, refusal, when
from ops.builds import last_comparison
from ops.pipeline import Pipeline, person

COLORS = {"Succeeded": "green", "InProgress": "yellow", "Failed": "red"}


@dataclass
class Approval:
    """An approval that waits for its answer."""

    stage: str
    action: str
    execution: str
    token: str
    text: str = "An approval waits."
    link: str = ""
    plan: dict[str, str] = field(default_factory=dict)  # bucket and key of its artifact
    loses_data: bool = False

    def read_record(self, actions: Iterable[dict[str, Any]]) -> None:
        """Takes the text and the plan's place from the execution's actions, newest first."""
        for action in reversed(list(actions)):  # oldest first: the newest attempt decides
            if self.is_answered_by(action):
                configuration = action["input"].get("resolvedConfiguration", {})
                self.text = configuration.get("CustomData", self.text)
                self.link = configuration.get("ExternalEntityLink", self.link)
            output = action.get("output", {})
            for artifact in output.get("outputArtifacts", []):
                if artifact["name"] == PLAN and action["status"] == "Succeeded":
                    self.plan = artifact["s3location"]
                    # A plan that does not say loses data, until somebody has read it.
                    variables = output.get("outputVariables", {})
                    self.loses_data = variables.get(LOSES_DATA) != "false"

    def is_answered_by(self, action: dict[str, Any]) -> bool:
        """Whether an action's record is this approval's."""
        return (action["stageName"], action["actionName"]) == (self.stage, self.action)


def waiting(pipeline: Pipeline) -> Approval | None:
    """The approval that waits, with the text that its reviewer sees, or None."""
    for stage in pipeline.stages:
        for action in stage["actionStates"]:
            latest = action.get("latestExecution", {})
            if latest.get("status") == "InProgress" and "token" in latest:
                execution = stage["latestExecution"]["pipelineExecutionId"]
                approval = Approval(
                    stage["stageName"], action["actionName"], execution, latest["token"]
                )
                approval.read_record(pipeline.actions(execution))
                return approval
    return None


# ---- The screen ----------------------------------------------------------------------------------


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


# ---- The answer ----------------------------------------------------------------------------------


def read_plan(stack: Stack, approval: Approval) -> str:
    """The plan as its reviewer reads it, or why it cannot be shown."""
    if not approval.plan:
        return "This execution has no plan to show."
    place = {"Bucket": approval.plan["bucket"], "Key": approval.plan["key"]}
    try:
        body = stack.client("s3").get_object(**place)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.read("plan.md").decode(errors="replace")
    except ClientError as error:
        reason = refusal(error)
    except (zipfile.BadZipFile, KeyError) as error:
        reason = f"its artifact is damaged ({error})"
    return f"The plan cannot be shown: {reason}. Read it behind the link before you approve."


def confirm(approval: Approval) -> None:
    """Asks, and raises Stop unless it is to be approved."""
    if not approval.loses_data:
        if not agreed("Approve it?"):
            raise Stop("nothing is approved")
        return
    if agreed("Approve it?"):
        # This word is needed without a terminal, too.
        print("This plan loses data. To approve that, type delete: ", end="", flush=True)
        if sys.stdin.readline().strip() == "delete":
            return
    raise Stop("nothing is approved: the word delete was not typed")


def first_answer(pipeline: Pipeline, approval: Approval) -> str:
    """Who answered the approval first, as far as AWS says."""
    for action in pipeline.actions(approval.execution):
        if approval.is_answered_by(action):
            answer = {"Succeeded": "approved", "Failed": "rejected"}.get(action["status"])
            if answer and action.get("updatedBy"):
                time = when(action["lastUpdateTime"])
                return f"{person(action['updatedBy'])} has {answer} it ({time})"
            break
    return "it has been answered, or has expired"


def answer(stack: Stack, status: str, reason: str) -> None:
    """Shows what waits with its plan, and answers Approved or Rejected."""
    pipeline = Pipeline(stack)
    approval = waiting(pipeline)
    if approval is None:
        raise Stop("nothing waits for an approval; see: make status")
    plan = read_plan(stack, approval).strip()
    print(plain(f"{approval.text}\n{approval.link}\n\n{plan}\n"))
    if status == "Approved":
        confirm(approval)
    refusals = pipeline.client.exceptions
    try:
        pipeline.client.put_approval_result(
            pipelineName=pipeline.name,
            stageName=approval.stage,
            actionName=approval.action,
            token=approval.token,
            result={"status": status, "summary": reason[:512]},  # AWS takes no more
        )
    except (refusals.ApprovalAlreadyCompletedException, refusals.InvalidApprovalTokenException):
        first = first_answer(pipeline, approval)
        raise Stop(f"too late: {first}. Your answer changes nothing; see: make status") from None
    print(f"{status}.")
