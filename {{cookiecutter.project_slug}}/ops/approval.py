"""The approval that waits: what its reviewer reads, and the answer."""

import hashlib
import io
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from cicd.steps.names import DATA_LOSS, LOSES_DATA, PLAN, PLAN_SHA256, PUSHED_BY
from ops import ROOT, Stop
from ops.aws import Stack, agreed, plain, refusal, when
from ops.pipeline import Pipeline, person


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
    checksum: str = ""  # the SHA-256 of the plan that production would deploy

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
                    self.checksum = output.get("outputVariables", {}).get(PLAN_SHA256, "")

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


# ---- The plan ------------------------------------------------------------------------------------


class Unshown(Exception):
    """Why a plan cannot be shown."""


class Plan(NamedTuple):
    """The plan that waits: its text for the reviewer, and what it would lose, or ""."""

    text: str
    loss: str


def fetch(stack: Stack, approval: Approval) -> tuple[bytes, str]:
    """The plan of an approval and its text. Raises Unshown."""
    if not approval.plan:
        raise Unshown("this execution has none")
    place = {"Bucket": approval.plan["bucket"], "Key": approval.plan["key"]}
    try:
        body = stack.client("s3").get_object(**place)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.read("plan.json"), archive.read("plan.md").decode(errors="replace")
    except ClientError as error:
        raise Unshown(refusal(error)) from None
    except (zipfile.BadZipFile, KeyError) as error:
        raise Unshown(f"its artifact is damaged ({error})") from None


def loss_of(plan: bytes) -> str:
    """What a plan would lose, as cicd/steps/plan.py says it, or "". Raises Unshown."""
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder, "plan.json")).write_bytes(plan)
        # A program of its own: the steps import each other by their short names.
        command = [sys.executable, str(ROOT / "cicd/steps/plan.py"), "variables", str(file)]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode:
        raise Unshown(result.stderr.strip().rpartition("plan.json: ")[2])
    exports = (shlex.split(line)[1] for line in result.stdout.splitlines())
    variables = dict(export.split("=", 1) for export in exports)
    return "" if variables[LOSES_DATA] == "false" else variables[DATA_LOSS]


def read_plan(stack: Stack, approval: Approval) -> Plan:
    """The plan that production would deploy. Raises Unshown."""
    plan, text = fetch(stack, approval)
    if hashlib.sha256(plan).hexdigest() != approval.checksum:
        raise Unshown("it is not the file that was planned; the bucket's access log says by whom")
    return Plan(text, loss_of(plan))


def show_plan(approval: Approval, text: str) -> None:
    """Prints what waits, with its plan or why there is none."""
    print(plain(f"{approval.text}\n{approval.link}\n\n{text.strip()}\n"))


# ---- The answer ----------------------------------------------------------------------------------


def confirm(loss: str, yes: str) -> None:
    """Asks, and raises Stop unless it is to be approved."""
    nothing = "nothing is approved"
    if loss and yes == "1":
        raise Stop(f"{nothing}: this plan loses data. YES=delete approves that")
    agreed("Approve it?", yes, nothing)
    if loss and not yes:
        print(f"{plain(loss)} To approve that, type delete: ", end="", flush=True)
        if sys.stdin.readline().strip() != "delete":
            raise Stop(f"{nothing}: the word delete was not typed")


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


def answer(pipeline: Pipeline, approval: Approval, status: str, reason: str) -> None:
    """Answers Approved or Rejected."""
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


def awaited(pipeline: Pipeline) -> Approval:
    """The approval that waits. Raises Stop if there is none."""
    if approval := waiting(pipeline):
        return approval
    raise Stop("nothing waits for an approval; see: make status")


def check_person(pipeline: Pipeline, approval: Approval) -> None:
    """Raises Stop if the caller pushed or started this, where the stack wants four eyes.

    Production checks it again, and more: cicd/steps/four_eyes.py.
    """
    if pipeline.stack.parameters.get("FourEyes") != "true":
        return
    caller = pipeline.stack.client("sts").get_caller_identity()["Arn"]
    record = pipeline.execution(approval.execution)
    variables = {item["name"]: item["resolvedValue"] for item in record.get("variables", [])}
    started = record.get("trigger", {}).get("triggerDetail", "")
    if person(caller) in (person(variables.get(PUSHED_BY, "")), person(started)):
        raise Stop(
            f"nothing is approved: {person(caller)} pushed or started this; another reviewer"
            " must approve it"
        )


def approve(stack: Stack, reason: str, yes: str) -> None:
    """Shows the plan that waits, asks, and approves it. What it cannot show it never approves."""
    pipeline = Pipeline(stack)
    approval = awaited(pipeline)
    check_person(pipeline, approval)
    try:
        plan = read_plan(stack, approval)
    except Unshown as why:
        show_plan(approval, "")
        raise Stop(f"nothing is approved: the plan cannot be shown: {plain(str(why))}") from None
    show_plan(approval, plan.text)
    confirm(plan.loss, yes)
    answer(pipeline, approval, "Approved", reason)


def reject(stack: Stack, reason: str) -> None:
    """Shows the plan that waits, if it can, and rejects it. The reason is the person's word."""
    pipeline = Pipeline(stack)
    approval = awaited(pipeline)
    try:
        text = read_plan(stack, approval).text
    except Unshown as why:
        text = f"The plan cannot be shown: {why}"
    show_plan(approval, text)
    answer(pipeline, approval, "Rejected", reason)
