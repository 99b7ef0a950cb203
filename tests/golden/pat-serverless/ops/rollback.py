"""Takes production back to an earlier release: the one before, or the one that TO names."""

import itertools
import os
import sys
from typing import Any, NoReturn

import aws_stack
import pipeline
from botocore.exceptions import ClientError
from pipeline import PRODUCTION, Pipeline
from screen import agreed, plain, when

REVERT = "Revert the commit instead, and push that: git revert <commit>, make push"


def stop(why: str) -> NoReturn:
    """Exits, with nothing changed."""
    sys.exit(f"rollback.py: {why}")


def succeeded(given: Pipeline) -> list[dict[str, Any]]:
    """What AWS may roll back to, newest first, and the rollbacks among it.

    It leaves out what ran before the pipeline itself was changed.
    """
    pages = given.client.get_paginator("list_pipeline_executions").paginate(
        pipelineName=given.name, filter={"succeededInStage": {"stageName": PRODUCTION}}
    )
    return [one for page in pages for one in page["pipelineExecutionSummaries"]]


def is_rollback(one: dict[str, Any]) -> bool:
    """Whether an execution brought back an earlier one."""
    return one.get("executionType") == "ROLLBACK"


def release(one: dict[str, Any]) -> str:
    """The execution whose release this one brought to production: its own, or its target's."""
    target = one.get("rollbackMetadata", {}).get("rollbackTargetPipelineExecutionId", "")
    return target if is_rollback(one) else one["pipelineExecutionId"]


def named(found: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """The release whose execution begins so. Exits unless there is one such."""
    fit = [one for one in found if one["pipelineExecutionId"].startswith(wanted)]
    if not fit:
        stop(f"no release that AWS can go back to begins with {wanted}; see: make releases")
    if len(fit) > 1:
        stop(f"{len(fit)} executions begin with {wanted}; give TO more of its characters")
    if is_rollback(fit[0]):
        stop(f"{wanted} is itself a rollback, which AWS does not go back to: TO={release(fit[0])}")
    return fit[0]


def choose(found: list[dict[str, Any]], current: str, broken: bool, wanted: str) -> dict[str, Any]:
    """The execution to go back to from the current release's. Exits where there is none."""
    if not found:
        stop(
            "there is nothing to go back to: since the pipeline was created, or changed by"
            f" make stack, no release has succeeded in {PRODUCTION}. {REVERT}"
        )
    if wanted:
        target = named(found, wanted)
        if target["pipelineExecutionId"] == current and not broken:
            stop(f"{current} is what production has; nothing is changed")
        return target
    since = itertools.dropwhile(lambda one: one["pipelineExecutionId"] != current, found)
    standard = [one for one in since if not is_rollback(one)]
    rest = standard if broken else standard[1:]
    if not rest:
        stop(f"there is no release before {current} to go back to. {REVERT}")
    return rest[0]


def check_artifacts(given: Pipeline, target: str) -> None:
    """Exits where a file that the release was deployed from is no longer there."""
    s3 = aws_stack.client("s3")
    deploy = (
        action
        for action in given.actions(target)
        if (action["stageName"], action["status"]) == (PRODUCTION, "Succeeded")
    )
    for artifact in next(deploy, {"input": {}})["input"].get("inputArtifacts", []):
        place = artifact["s3location"]
        try:
            s3.head_object(Bucket=place["bucket"], Key=place["key"])
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            stop(
                f"the artifact {artifact['name']} of {target} is gone: artifacts are kept for 180"
                f" days (docs/operations.md). {REVERT}"
            )


def told(given: Pipeline, execution: str, state: str) -> str:
    """An execution's release in a line."""
    commit = given.commit(execution)[:8] or "unknown"
    line = f"commit {commit}, execution {execution[:8]}, {state}  {given.subject(execution)}"
    return plain(line).strip()


def main() -> None:
    """Chooses, shows, asks and rolls back."""
    wanted = os.environ.get("TO", "").strip().lower()
    given = pipeline.deployed()
    production = next(one for one in given.stages if one["stageName"] == PRODUCTION)
    latest = production.get("latestExecution", {"status": "none"})
    if latest["status"] in ("InProgress", "Stopping"):
        stop(f"{PRODUCTION} is at work; wait for it: make logs BUILD=prod")
    broken = bool(given.broken(PRODUCTION))
    found = succeeded(given)
    now = next(given.releases(), None)
    current = (now.rolled_back_to or now.execution) if now else ""
    target = choose(found, current, broken, wanted)
    execution = target["pipelineExecutionId"]
    check_artifacts(given, execution)
    if broken:
        print(f"From: {told(given, latest['pipelineExecutionId'], latest['status'])}")
    else:
        print(f"From: {told(given, current, when(now.at))}")
    print(f"To:   {told(given, execution, when(target['lastUpdateTime']))}")
    print("The build plans it anew, and stops where data would be lost. What jobs wrote stays.")
    if not agreed("Roll production back?"):
        stop("nothing is changed")
    try:
        started = given.client.rollback_stage(
            pipelineName=given.name, stageName=PRODUCTION, targetPipelineExecutionId=execution
        )
    except given.client.exceptions.UnableToRollbackStageException as error:
        stop(f"AWS cannot roll back: {error.response['Error']['Message']} {REVERT}")
    print(f"Started execution {started['pipelineExecutionId']}.")
    print("Follow it: make logs BUILD=prod, make status")
    print("The branch still has what was taken back: revert it there, or the next push brings it.")


if __name__ == "__main__":
    aws_stack.run(main)
