"""What the pipeline does and has done: its stages, its executions and their actions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from cicd.steps.names import PRODUCTION
from ops.aws import Stack


@dataclass(frozen=True)
class Release:
    """What an execution brought through a stage, or back into it."""

    execution: str
    at: datetime
    commit: str
    subject: str
    rolled_back_to: str  # the execution that a rollback brought back, or ""
    by: str  # who rolled back, or ""

    @property
    def origin(self) -> str:
        """The execution that first deployed this release."""
        return self.rolled_back_to or self.execution


def person(arn: str) -> str:
    """The user, or the name of the session, at the end of an ARN."""
    return re.split("[/:]", arn)[-1]


class Pipeline:
    """The stack's pipeline. Raises Stop where the stack has none."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.name = stack.output("PipelineName")
        self.client = stack.client("codepipeline")
        self.known: dict[str, dict[str, Any]] = {}

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """Every stage, with the execution that entered it last; asked for only once."""
        return list(self.client.get_pipeline_state(name=self.name)["stageStates"])

    def broken(self, stage: str) -> str:
        """How the last execution in a stage ended, if not well: then its result is not known."""
        for state in self.stages:
            status = str(state.get("latestExecution", {}).get("status", ""))
            if state["stageName"] == stage and status in ("Failed", "Stopped", "Cancelled"):
                return status
        return ""

    def execution(self, execution: str) -> dict[str, Any]:
        """An execution's record; empty once AWS has forgotten it, after twelve months."""
        if execution not in self.known:
            try:
                record = self.client.get_pipeline_execution(
                    pipelineName=self.name, pipelineExecutionId=execution
                )["pipelineExecution"]
            except self.client.exceptions.PipelineExecutionNotFoundException:
                record = {}
            self.known[execution] = record
        return self.known[execution]

    def rolled_back_to(self, execution: str) -> str:
        """The execution that a rollback brought back, or "" if this is no rollback."""
        metadata = self.execution(execution).get("rollbackMetadata", {})
        return str(metadata.get("rollbackTargetPipelineExecutionId", ""))

    def revision(self, execution: str) -> dict[str, Any]:
        """The revision that an execution deployed; a rollback's is its target's."""
        record = self.execution(self.rolled_back_to(execution) or execution)
        return dict((record.get("artifactRevisions") or [{}])[0])

    def commit(self, execution: str) -> str:
        """The commit that an execution deployed, or "" if AWS does not know it."""
        return str(self.revision(execution).get("revisionId", ""))

    def subject(self, execution: str) -> str:
        """The first line of that commit's message."""
        return str(self.revision(execution).get("revisionSummary", "")).strip().partition("\n")[0]

    def actions(self, execution: str = "") -> Iterator[dict[str, Any]]:
        """What the actions did, newest first: all of them, or those of one execution."""
        chosen = {"filter": {"pipelineExecutionId": execution}} if execution else {}
        paginator = self.client.get_paginator("list_action_executions")
        for page in paginator.paginate(pipelineName=self.name, **chosen):
            yield from page["actionExecutionDetails"]

    def releases(self, stage: str = PRODUCTION) -> Iterator[Release]:
        """What came through a stage, newest first, rollbacks included."""
        seen = set()
        for action in self.actions():
            execution = action["pipelineExecutionId"]
            succeeded = (action["stageName"], action["status"]) == (stage, "Succeeded")
            if not succeeded or execution in seen:  # a stage that was retried
                continue
            seen.add(execution)
            target = self.rolled_back_to(execution)
            starter = self.execution(execution).get("trigger", {}).get("triggerDetail", "")
            yield Release(
                execution,
                action["lastUpdateTime"],
                self.commit(execution),
                self.subject(execution),
                target,
                person(starter) if target else "",
            )

    def approver(self, execution: str) -> str:
        """Who approved an execution, or "" if nobody did."""
        for action in self.actions(execution):
            category = action["input"].get("actionTypeId", {}).get("category")
            if (category, action["status"]) == ("Approval", "Succeeded"):
                result = action.get("output", {}).get("executionResult", {})
                summary = str(result.get("externalExecutionSummary", ""))
                return person(action.get("updatedBy", "")) or summary
        return ""


def start(stack: Stack) -> None:
    """Starts the pipeline on the head of its branch, as a push does, and says how to follow it."""
    pipeline = Pipeline(stack)
    execution = pipeline.client.start_pipeline_execution(name=pipeline.name)
    branch = stack.parameters.get("BranchName", "its branch")
    print(f"Started execution {execution['pipelineExecutionId']} on the head of {branch}.")
    print("Follow it: make status, make logs")
