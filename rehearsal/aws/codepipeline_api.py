"""CodePipeline's API as builds and operators ask it, answered from the pipeline that is played.

https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_Operations.html
"""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rehearsal.aws.codepipeline import Action, CodePipeline, Execution, Stage


def find(pipeline: "CodePipeline", given: str) -> "Execution":
    """The execution of an ID. Raises LookupError."""
    for one in pipeline.executions:
        if one.id == given:
            return one
    raise LookupError(f"PipelineExecutionNotFoundException: {given}")


def type_of(one: "Execution") -> str:
    """STANDARD or ROLLBACK."""
    return "ROLLBACK" if one.rolls_back_to else "STANDARD"


def summary(one: "Execution") -> dict[str, Any]:
    """What lists and details tell of an execution alike."""
    told: dict[str, Any] = {
        "pipelineExecutionId": one.id,
        "status": one.status,
        "executionMode": "SUPERSEDED",
        "executionType": type_of(one),
    }
    if one.rolls_back_to:
        told["rollbackMetadata"] = {"rollbackTargetPipelineExecutionId": one.rolls_back_to.id}
    return told


def passed(one: "Execution", stage: str) -> bool:
    """Whether an execution succeeded in a stage."""
    return any(s.name == stage and s.status == "Succeeded" for s in one.stages)


def executions(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """ListPipelineExecutions, newest first."""
    stage = given.get("filter", {}).get("succeededInStage", {}).get("stageName")
    return {
        "pipelineExecutionSummaries": [
            summary(one)
            | {
                "startTime": one.started,
                "lastUpdateTime": max(
                    [one.started, *(end(a) for s in one.stages for a in s.actions)]
                ),
                "sourceRevisions": [{"actionName": "Source", "revisionId": one.commit}],
            }
            for one in reversed(pipeline.executions)
            if not stage or passed(one, stage)
        ]
    }


def execution(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """GetPipelineExecution"""
    one = find(pipeline, given["pipelineExecutionId"])
    revision = {"name": "Source", "revisionId": one.commit}
    told = summary(one) | {"pipelineName": pipeline.name, "artifactRevisions": [revision]}
    return {"pipelineExecution": told}


def end(action: "Action") -> float:
    """When an action last changed."""
    return action.started + action.seconds


def outcome(action: "Action") -> dict[str, Any]:
    """What states tell of an action's execution."""
    told = {"status": action.status, "lastStatusChange": end(action), "summary": action.message}
    told |= {"token": action.token} if action.token else {}
    return told | ({"externalExecutionId": action.build.id} if action.build else {})


def state(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """GetPipelineState: of each stage the execution that entered it last."""

    def latest(name: str) -> tuple["Execution | None", "Stage | None"]:
        for one in reversed(pipeline.executions):
            for stage in one.stages:
                if stage.name == name and stage.status:
                    return one, stage
        return None, None

    states = []
    for declared in pipeline.pipeline["Stages"]:
        one, stage = latest(declared["Name"])
        told: dict[str, Any] = {"stageName": declared["Name"], "actionStates": []}
        for place, action in enumerate(declared["Actions"]):
            told["actionStates"].append({"actionName": action["Name"]})
            if stage and stage.actions[place].status:
                told["actionStates"][-1]["latestExecution"] = outcome(stage.actions[place])
        if one and stage:
            about = {"pipelineExecutionId": one.id, "status": stage.status, "type": type_of(one)}
            told["latestExecution"] = about
        states.append(told)
    return {"pipelineName": pipeline.name, "stageStates": states}


def actions(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """ListActionExecutions, newest first."""
    wanted = given.get("filter", {}).get("pipelineExecutionId")

    def artifacts(of: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
        return [{"name": n, "s3location": {"bucket": b, "key": k}} for n, (b, k) in of.items()]

    details = []
    for one in reversed(pipeline.executions):
        for stage in reversed(one.stages):
            for action in reversed(stage.actions):
                if not action.status or (wanted and one.id != wanted):
                    continue
                category, _, provider = action.kind.partition(" ")
                kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
                result = {"externalExecutionSummary": action.message}
                result |= {"externalExecutionId": action.build.id} if action.build else {}
                details.append(
                    {
                        "pipelineExecutionId": one.id,
                        "stageName": stage.name,
                        "actionName": action.name,
                        "status": action.status,
                        "startTime": action.started,
                        "lastUpdateTime": end(action),
                        "input": {
                            "actionTypeId": kind,
                            "configuration": action.configuration,
                            "resolvedConfiguration": action.configuration,
                            "inputArtifacts": artifacts(action.inputs),
                        },
                        "output": {
                            "outputArtifacts": artifacts(action.outputs),
                            "executionResult": result,
                            "outputVariables": action.build.exported if action.build else {},
                        },
                    }
                )
    return {"actionExecutionDetails": details}


def start(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """StartPipelineExecution: on the branch's head, in the background."""
    return pipeline.behind(
        lambda: pipeline.start(given.get("sourceRevisions", []), pipeline.branch)
    )


def rollback(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """RollbackStage, in the background."""
    target = find(pipeline, given["targetPipelineExecutionId"])
    pipeline.check_rollback(given["stageName"], target)
    return pipeline.behind(lambda: pipeline.rollback(given["stageName"], target))


def approve(pipeline: "CodePipeline", given: dict[str, Any]) -> dict[str, Any]:
    """PutApprovalResult"""
    result = given["result"]
    answer = (result["status"], result["summary"])
    pipeline.put_answer(given["stageName"], given["actionName"], given["token"], answer)
    return {"approvedAt": time.time()}


ANSWERS = {
    "GetPipelineState": state,
    "GetPipelineExecution": execution,
    "ListPipelineExecutions": executions,
    "ListActionExecutions": actions,
    "StartPipelineExecution": start,
    "RollbackStage": rollback,
    "PutApprovalResult": approve,
}
