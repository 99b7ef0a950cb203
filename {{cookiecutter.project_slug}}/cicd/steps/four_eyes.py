"""Stops a deployment that was approved by who pushed it, where the stack wants four eyes.

Usage: FOUR_EYES=true|false python four_eyes.py PIPELINE

AWS records who approved and who started an execution. Who pushed is in the variable PUSHED_BY,
which counts only in an execution that the push itself started. A person is the last part of an
ARN: the same one with two roles is one person. A rollback has no approval of its own, and passes.
"""

import json
import os
import sys
from typing import Any

from names import PUSHED_BY
from release import Refused, aws, latest

PUSH = "CloudWatchEvent"  # CodePipeline's word for a start by a rule
UNKNOWN = ""

Record = dict[str, Any]


class Stop(Exception):
    """Why the release is not deployed."""


def ask(command: str, pipeline: str, *arguments: str) -> Any:
    """Returns what CodePipeline answers about a pipeline."""
    return json.loads(aws("codepipeline", command, "--pipeline-name", pipeline, *arguments))


def person(arn: str) -> str:
    """Returns the user or session at the end of an ARN; UNKNOWN for what is no ARN."""
    return arn.rpartition("/")[2] if arn.startswith("arn:") and "/" in arn else UNKNOWN


def execution(pipeline: str, identity: str) -> Record:
    """Returns the record of an execution."""
    answer = ask("get-pipeline-execution", pipeline, "--pipeline-execution-id", identity)
    return dict(answer["pipelineExecution"])


def pusher(record: Record) -> str:
    """Returns who pushed, of an execution that a push started."""
    variables = {item["name"]: item["resolvedValue"] for item in record.get("variables", [])}
    return person(variables.get(PUSHED_BY, ""))


def is_push(record: Record) -> bool:
    """Whether a push started an execution. AWS writes this, the caller cannot."""
    return bool(record.get("trigger", {}).get("triggerType") == PUSH)


def commits(revisions: list[Record]) -> set[str]:
    """Returns the revisions of an execution, without what has none."""
    return {str(item["revisionId"]) for item in revisions if item.get("revisionId")}


def authors(pipeline: str, record: Record) -> set[str]:
    """Returns who brought the commit: its pusher and, after `make start`, who started it, too."""
    if is_push(record):
        return {pusher(record)}
    commit = {
        str(item["revisionId"])
        for item in record.get("artifactRevisions", [])
        if item.get("name") == "Source"
    }
    summaries = ask("list-pipeline-executions", pipeline)["pipelineExecutionSummaries"]
    pushes = [
        item["pipelineExecutionId"]
        for item in summaries
        if is_push(item) and commit & commits(item.get("sourceRevisions", []))
    ]
    people = {pusher(execution(pipeline, identity)) for identity in pushes} or {UNKNOWN}
    return people | {person(record.get("trigger", {}).get("triggerDetail", ""))}


def approvers(pipeline: str, identity: str) -> set[str]:
    """Returns who approved an execution."""
    only = ("--filter", f"pipelineExecutionId={identity}")
    actions = ask("list-action-executions", pipeline, *only)["actionExecutionDetails"]
    return {
        person(action.get("updatedBy", ""))
        for action in actions
        if action["status"] == "Succeeded"
        and action["input"].get("actionTypeId", {}).get("category") == "Approval"
    }


def check(pipeline: str) -> str:
    """Returns who pushed and who approved. Raises Stop unless they are known and differ."""
    if latest(pipeline, "type") == "ROLLBACK":
        return "A rollback: nobody approves it anew."
    identity = latest(pipeline, "pipelineExecutionId")
    by, approved = authors(pipeline, execution(pipeline, identity)), approvers(pipeline, identity)
    if UNKNOWN in by:
        raise Stop("AWS does not say who pushed this commit. Push it anew: git commit --amend")
    if not approved or UNKNOWN in approved:
        raise Stop(f"AWS does not say who approved {identity}")
    if same := by & approved:
        raise Stop(
            f"{', '.join(sorted(same))} pushed or started this and approved it; another"
            " reviewer must approve: make start"
        )
    people = (", ".join(sorted(names)) for names in (by, approved))
    return "Pushed or started by {}; approved by {}.".format(*people)


def main() -> None:
    """Checks the execution that the stage Production is working on."""
    if os.environ["FOUR_EYES"] != "true":
        return
    try:
        print(check(sys.argv[1]))
    except (Stop, Refused) as reason:
        sys.exit(f"four_eyes.py: {reason}")


if __name__ == "__main__":
    main()
