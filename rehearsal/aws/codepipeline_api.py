"""CodePipeline's API as builds and operators ask it, answered from the pipeline that is played.

https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_Operations.html
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from rehearsal.aws.build import Location
from rehearsal.aws.codepipeline import CodePipeline
from rehearsal.aws.errors import AwsError
from rehearsal.aws.execution import Action, Answer, Execution, Stage
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.stack import Properties


class PipelineApi:
    """Answers for one pipeline. What an operator starts runs in the background."""

    def __init__(self, pipeline: CodePipeline) -> None:
        self.pipeline = pipeline
        self.threads: list[threading.Thread] = []

    def operations(self) -> Mapping[str, Operation]:
        """What is answered here."""
        return {
            "GetPipelineExecution": self.get_execution,
            "GetPipelineState": self.get_state,
            "ListActionExecutions": self.list_actions,
            "ListPipelineExecutions": self.list_executions,
            "PutApprovalResult": self.put_approval,
            "RollbackStage": self.rollback,
            "StartPipelineExecution": self.start,
        }

    def find(self, identity: str) -> Execution:
        """The execution of an ID. Raises AwsError."""
        for execution in self.pipeline.executions:
            if execution.id == identity:
                return execution
        raise AwsError("PipelineExecutionNotFoundException", identity)

    def get_execution(self, request: Request) -> Shape:
        """GetPipelineExecution"""
        execution = self.find(request.parameters["pipelineExecutionId"])
        revision = {"name": "Source", "revisionId": execution.commit}
        cicd = {"name": "Cicd", "revisionId": "an S3 version"}  # AWS says nothing of the order
        variables = execution.variables.get("variables", {}).items()
        details = {
            "pipelineName": self.pipeline.name,
            "artifactRevisions": [cicd, revision],
            "variables": [{"name": name, "resolvedValue": value} for name, value in variables],
        }
        return {"pipelineExecution": summary(execution) | details}

    def get_state(self, request: Request) -> Shape:
        """GetPipelineState: of each stage the execution that entered it last."""
        states = [
            stage_state(declared, *self.latest(declared["Name"]))
            for declared in self.pipeline.declared
        ]
        return {"pipelineName": self.pipeline.name, "stageStates": states}

    def latest(self, name: str) -> tuple[Execution | None, Stage | None]:
        """The execution that entered a stage last, and that stage of it."""
        for execution in reversed(self.pipeline.executions):
            for stage in execution.stages:
                if stage.name == name and stage.status:
                    return execution, stage
        return None, None

    def list_executions(self, request: Request) -> Shape:
        """ListPipelineExecutions, newest first."""
        criterion = request.parameters.get("filter", {}).get("succeededInStage", {})
        stage = criterion.get("stageName")
        summaries = [
            listed(execution)
            for execution in reversed(self.pipeline.executions)
            if not stage or execution.passed(stage)
        ]
        return {"pipelineExecutionSummaries": summaries}

    def list_actions(self, request: Request) -> Shape:
        """ListActionExecutions, newest first."""
        identity = request.parameters.get("filter", {}).get("pipelineExecutionId")
        details = [
            action_detail(execution, stage, action)
            for execution, stage, action in self.actions()
            if action.status and identity in (None, execution.id)
        ]
        return {"actionExecutionDetails": details}

    def actions(self) -> Iterator[tuple[Execution, Stage, Action]]:
        """Every action of every execution, newest first."""
        for execution in reversed(self.pipeline.executions):
            for stage in reversed(execution.stages):
                for action in reversed(stage.actions):
                    yield execution, stage, action

    def start(self, request: Request) -> Shape:
        """StartPipelineExecution: on the branch's head, unless a commit is named."""
        revisions, variables = map(request.parameters.get, ("sourceRevisions", "variables"))
        return self.run(lambda: self.pipeline.start(revisions, variables))

    def rollback(self, request: Request) -> Shape:
        """RollbackStage"""
        stage = request.parameters["stageName"]
        target = self.find(request.parameters["targetPipelineExecutionId"])
        self.pipeline.check_rollback(stage, target)
        return self.run(lambda: self.pipeline.rollback(stage, target))

    def run(self, work: Callable[[], Execution]) -> Shape:
        """Runs an execution in the background; answers with its ID."""
        executions = self.pipeline.executions
        before = len(executions)
        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()
        # The answer names the execution, which is there as soon as the thread has begun it.
        while len(executions) == before and thread.is_alive():
            time.sleep(0.01)
        return {"pipelineExecutionId": executions[-1].id}

    def put_approval(self, request: Request) -> Shape:
        """PutApprovalResult"""
        parameters, result = request.parameters, request.parameters["result"]
        place = (parameters["stageName"], parameters["actionName"])
        approvals = [
            action for _, stage, action in self.actions() if (stage.name, action.name) == place
        ]
        answer = Answer(result["status"], result["summary"])
        self.pipeline.approvals.put(approvals, parameters["token"], answer)
        return {"approvedAt": time.time()}


def summary(execution: Execution) -> Shape:
    """What lists and details show of an execution alike."""
    shown: Shape = {
        "pipelineExecutionId": execution.id,
        "status": execution.status,
        "executionMode": "SUPERSEDED",
        "executionType": execution.type,
        "trigger": {"triggerType": execution.trigger.kind, "triggerDetail": execution.trigger.by},
    }
    if target := execution.rolls_back_to:
        shown["rollbackMetadata"] = {"rollbackTargetPipelineExecutionId": target.id}
    return shown


def listed(execution: Execution) -> Shape:
    """What a list shows of an execution."""
    return summary(execution) | {
        "startTime": execution.started,
        "lastUpdateTime": execution.changed,
        "sourceRevisions": [{"actionName": "Source", "revisionId": execution.commit}],
    }


def stage_state(declared: Properties, execution: Execution | None, stage: Stage | None) -> Shape:
    """The state of a stage, with the execution that entered it last."""
    state: Shape = {
        "stageName": declared["Name"],
        "actionStates": [{"actionName": action["Name"]} for action in declared["Actions"]],
    }
    if execution and stage:
        state["actionStates"] = [action_state(action) for action in stage.actions]
        state["latestExecution"] = {
            "pipelineExecutionId": execution.id,
            "status": stage.status,
            "type": execution.type,
        }
    return state


def action_state(action: Action) -> Shape:
    """The state of an action."""
    state: Shape = {"actionName": action.name}
    if action.status:
        latest = {
            "status": action.status,
            "lastStatusChange": action.ended,
            "summary": action.message,
            "token": action.token,
        }
        state["latestExecution"] = without_empty(latest, "token") | external_id(action)
    return state


def action_detail(execution: Execution, stage: Stage, action: Action) -> Shape:
    """What a list shows of an action."""
    category, _, provider = action.kind.partition(" ")
    kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {
        "pipelineExecutionId": execution.id,
        "stageName": stage.name,
        "actionName": action.name,
        "status": action.status,
        "startTime": action.started,
        "lastUpdateTime": action.ended,
        "updatedBy": action.answer.by if action.answer else "",
        "input": {
            "actionTypeId": kind,
            "configuration": action.configuration,
            "resolvedConfiguration": action.configuration,
            "inputArtifacts": artifacts(action.inputs),
        },
        "output": {
            "outputArtifacts": artifacts(action.outputs),
            "executionResult": {"externalExecutionSummary": action.message, **external_id(action)},
            "outputVariables": action.build.exported if action.build else {},
        },
    }


def external_id(action: Action) -> Shape:
    """The build of an action that has one."""
    return {"externalExecutionId": action.build.id} if action.build else {}


def without_empty(shape: Shape, name: str) -> Shape:
    """A shape without a field that is empty."""
    return {key: value for key, value in shape.items() if key != name or value}


def artifacts(locations: dict[str, Location]) -> list[Shape]:
    """Artifacts as the API shows them."""
    return [
        {"name": name, "s3location": {"bucket": location.bucket, "key": location.key}}
        for name, location in locations.items()
    ]
