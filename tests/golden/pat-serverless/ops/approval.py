"""Answers the approval that waits: approval.py Approved|Rejected, with a reason in REASON."""

import io
import os
import sys
import zipfile
from dataclasses import dataclass, field
from typing import Any

import aws_stack
import pipeline
from botocore.exceptions import ClientError
from pipeline import Pipeline, person
from screen import agreed, plain, when

PLAN = "Plan"  # the artifact that the build plan hands on
LOSS = "DATA WOULD BE LOST"  # as cicd/steps/plan.py begins DATA_LOSS


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


def waiting(given: Pipeline) -> Approval | None:
    """The approval that waits, with the text that its reviewer sees, or None."""
    for stage in given.stages:
        for action in stage["actionStates"]:
            latest = action.get("latestExecution", {})
            if latest.get("status") == "InProgress" and "token" in latest:
                name, execution = stage["stageName"], stage["latestExecution"]
                found = Approval(
                    name, action["actionName"], execution["pipelineExecutionId"], latest["token"]
                )
                read_record(found, list(given.actions(found.execution)))
                return found
    return None


def read_record(approval: Approval, actions: list[dict[str, Any]]) -> None:
    """Fills in what only the execution's own record has: the text, and where the plan is."""
    for action in reversed(actions):  # oldest first, so that the newest try decides
        if (action["stageName"], action["actionName"]) == (approval.stage, approval.action):
            told = action["input"].get("resolvedConfiguration", {})
            approval.text = told.get("CustomData", approval.text)
            approval.link = told.get("ExternalEntityLink", approval.link)
        output = action.get("output", {})
        for artifact in output.get("outputArtifacts", []):
            if artifact["name"] == PLAN and action["status"] == "Succeeded":
                approval.plan = artifact["s3location"]
                lost = output.get("outputVariables", {}).get("DATA_LOSS", "")
                approval.loses_data = lost.startswith(LOSS)


def plan(approval: Approval) -> str:
    """The plan as its reviewer reads it, or why it cannot be shown."""
    if not approval.plan:
        return "This execution has no plan to show."
    where = {"Bucket": approval.plan["bucket"], "Key": approval.plan["key"]}
    try:
        body = aws_stack.client("s3").get_object(**where)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return archive.read("plan.md").decode(errors="replace")
    except ClientError as error:
        why = f"AWS refuses {error.operation_name}: {error.response['Error']['Message']}"
    except (zipfile.BadZipFile, KeyError) as error:
        why = f"its artifact is damaged ({error})"
    return f"The plan cannot be shown: {why}. Read it behind the link before you approve."


def approves(approval: Approval) -> bool:
    """Whether it is to be approved; a plan that loses data takes a word, a terminal or not."""
    if not agreed("Approve it?"):
        return False
    if not approval.loses_data:
        return True
    print("This plan loses data. To approve that, type delete: ", end="", flush=True)
    return sys.stdin.readline().strip() == "delete"


def answered(given: Pipeline, approval: Approval) -> str:
    """Who was faster, as far as AWS knows."""
    for action in given.actions(approval.execution):
        if (action["stageName"], action["actionName"]) == (approval.stage, approval.action):
            done = {"Succeeded": "approved", "Failed": "rejected"}.get(action["status"])
            if done and action.get("updatedBy"):
                who, at = person(action["updatedBy"]), when(action["lastUpdateTime"])
                return f"{who} has {done} it ({at})"
            break
    return "it has been answered, or has expired"


def main() -> None:
    """Shows what waits and the plan, and answers; a rejection needs a reason."""
    answer, reason = sys.argv[1], os.environ.get("REASON", "").strip()
    if answer == "Rejected" and not reason:
        sys.exit('approval.py: say why: make reject REASON="..."')
    given = pipeline.deployed()
    approval = waiting(given)
    if approval is None:
        sys.exit("approval.py: nothing waits for an approval; see: make status")
    print(plain(f"{approval.text}\n{approval.link}\n\n{plan(approval).strip()}\n"))
    if answer == "Approved" and not approves(approval):
        word = ": that takes the word delete" if approval.loses_data else ""
        sys.exit(f"approval.py: nothing is approved{word}")
    refusals = given.client.exceptions
    try:
        given.client.put_approval_result(
            pipelineName=given.name,
            stageName=approval.stage,
            actionName=approval.action,
            token=approval.token,
            result={"status": answer, "summary": (reason or "approved with make approve")[:512]},
        )
    except (refusals.ApprovalAlreadyCompletedException, refusals.InvalidApprovalTokenException):
        faster = answered(given, approval)
        sys.exit(f"approval.py: too late: {faster}. Your answer changes nothing; see: make status")
    print(f"{answer}.")


if __name__ == "__main__":
    aws_stack.run(main)
