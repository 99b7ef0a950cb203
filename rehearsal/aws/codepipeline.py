"""CodePipeline: walks executions through the stack's pipeline, stage by stage.

https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.aws.account import Account
from rehearsal.aws.actions import RUNNERS, Pipeline, fill_in
from rehearsal.aws.codebuild import CodeBuild
from rehearsal.aws.errors import AwsError, Unsupported
from rehearsal.aws.events import Message
from rehearsal.aws.execution import (
    BY_HAND,
    Action,
    ActionFailed,
    Approvals,
    Execution,
    Gate,
    Stage,
    Trigger,
    kind,
    new_stage,
)
from rehearsal.aws.stack import Properties


class CodePipeline:
    """The stack's one pipeline. `executions` has all of them in order.

    `watch()` is called at each change. `approvals.decide` answers the approvals.
    """

    def __init__(self, account: Account, codebuild: CodeBuild) -> None:
        self.account, self.approvals = account, Approvals()
        ((logical, properties),) = account.stack.of_type("CodePipeline::Pipeline").items()
        self.name = account.stack.ref(logical)
        self.properties = properties
        self.declared: list[Properties] = properties["Stages"]
        self.arn = f"{account.stack.arn_prefix('codepipeline')}{self.name}"
        role = account.stack.logical("IAM::Role", properties["RoleArn"])
        self.pipeline = Pipeline(
            account, codebuild, self.approvals, properties, self.name, self.arn, role
        )
        self.gates = {stage["Name"]: Gate() for stage in self.declared}
        self.executions: list[Execution] = []
        self.watch: Callable[[], None] = lambda: None
        account.bus.connect("codepipeline", self.receive, "codepipeline:StartPipelineExecution")

    @property
    def branch(self) -> str:
        """The branch that the pipeline's source action names."""
        actions = [action for stage in self.declared for action in stage["Actions"]]
        (source,) = (action for action in actions if kind(action) == "Source CodeCommit")
        return str(source["Configuration"]["BranchName"])

    def receive(self, message: Message) -> Execution:
        """Runs the execution that a rule's target starts."""
        if message.target != self.arn:
            raise Unsupported(f"{message.rule}: the stack has no pipeline {message.target}")
        revisions, variables = map(message.input.get, ("sourceRevisions", "variables"))
        return self.start(revisions, variables, Trigger("CloudWatchEvent", message.rule_arn))

    def start(
        self,
        revisions: list[dict[str, str]] | None = None,
        variables: list[dict[str, str]] | None = None,
        trigger: Trigger = BY_HAND,
    ) -> Execution:
        """Runs an execution to its end: of a commit that is named, else of the branch's head."""
        commits = [
            revision["revisionValue"]
            for revision in revisions or []
            if revision["revisionType"] == "COMMIT_ID"
        ]
        commit = commits[0] if commits else self.account.codecommit.head(self.branch)
        stages = list(map(new_stage, self.declared))
        execution = Execution(str(uuid.uuid4()), commit, stages, trigger=trigger)
        execution.variables["codepipeline"] = {"PipelineExecutionId": execution.id}
        execution.variables["variables"] = {
            variable["Name"]: variable.get("DefaultValue", "")
            for variable in self.properties.get("Variables", [])
        } | {variable["name"]: variable["value"] for variable in variables or []}
        return self.walk(execution)

    def rollback(self, stage: str, target: Execution) -> Execution:
        """Runs one stage again with the artifacts and variables of an execution that passed it.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-rollback.html
        Raises AwsError where AWS would refuse.
        """
        self.check_rollback(stage, target)
        stages = [new_stage(declared) for declared in self.declared if declared["Name"] == stage]
        execution = Execution(
            str(uuid.uuid4()),
            target.commit,
            stages,
            trigger=Trigger("ManualRollback"),
            rolls_back_to=target,
        )
        execution.artifacts |= target.artifacts
        execution.variables |= target.variables
        return self.walk(execution)

    def check_rollback(self, stage: str, target: Execution) -> None:
        """Raises AwsError for an execution that was a rollback or did not pass the stage."""
        if target.rolls_back_to or not target.passed(stage):
            why = f"{stage} cannot be rolled back to {target.id}"
            raise AwsError("UnableToRollbackStageException", why)

    def walk(self, execution: Execution) -> Execution:
        """Runs the stages of an execution, each when it is free."""
        self.executions.append(execution)
        execution.status = self.walk_stages(execution)
        self.watch()
        return execution

    def walk_stages(self, execution: Execution) -> str:
        """Runs the stages of an execution; returns how that ended."""
        for stage in execution.stages:
            # One execution per stage at a time; a newer one overtakes those that wait.
            gate = self.gates[stage.name]
            if not gate.enter(execution):
                return "Superseded"
            try:
                self.run_stage(execution, stage)
            finally:
                gate.leave()
            if stage.status != "Succeeded":
                return "Failed"
        return "Succeeded"

    def run_stage(self, execution: Execution, stage: Stage) -> None:
        """Runs a stage's actions by their order; those after a failure do not run."""
        stage.status = "InProgress"
        for order in sorted({action.order for action in stage.actions}):
            actions = [action for action in stage.actions if action.order == order]
            for action in actions:
                self.run_action(execution, stage, action)
            if any(action.status == "Failed" for action in actions):
                stage.status = "Failed"
                detail = self.detail(execution, stage) | {"state": "FAILED"}
                self.event("CodePipeline Stage Execution State Change", detail)
                return
        stage.status = "Succeeded"

    def run_action(self, execution: Execution, stage: Stage, action: Action) -> None:
        """Runs one action by its kind. Raises Unsupported for one that is not known."""
        if action.kind not in RUNNERS:
            raise Unsupported(f"{stage.name}/{action.name}: no {action.kind} in a rehearsal")
        action.status, action.started, began = "InProgress", time.time(), time.monotonic()
        try:
            declared = action.declared.get("Configuration", {})
            action.configuration = fill_in(execution, declared)
            self.announce_start(execution, stage, action)
            self.watch()
            RUNNERS[action.kind](self.pipeline, execution, action)
            action.status = "Succeeded"
        except (ActionFailed, AwsError, ClientError) as failed:
            action.status, action.message = "Failed", str(failed)
        action.seconds = time.monotonic() - began
        self.watch()

    # ---- Events: https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html

    def announce_start(self, execution: Execution, stage: Stage, action: Action) -> None:
        """Puts the event of an action's start on the bus."""
        category, _, provider = action.kind.partition(" ")
        detail = self.detail(execution, stage) | {
            "action": action.name,
            "state": "STARTED",
            "type": {"owner": "AWS", "category": category, "provider": provider},
        }
        self.event("CodePipeline Action Execution State Change", detail)

    def detail(self, execution: Execution, stage: Stage) -> dict[str, Any]:
        """What the events of stages and actions have alike."""
        return {"pipeline": self.name, "execution-id": execution.id, "stage": stage.name}

    def event(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Puts an event of the pipeline on the bus."""
        self.account.bus.put("aws.codepipeline", detail_type, detail, self.arn)
