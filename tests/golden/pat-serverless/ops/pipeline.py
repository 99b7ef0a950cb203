"""What the pipeline does and has done: its stages, its executions and their actions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import aws_stack

PRODUCTION, QA = "Production", "QA"  # stages in cicd/stack.yml


@dataclass
class Release:
    """What an execution brought through a stage, or back into it."""

    execution: str
    at: datetime
    commit: str
    subject: str
    rolled_back_to: str  # the execution that a rollback brought back, or nothing
    by: str  # who rolled back, or nothing


def person(arn: str) -> str:
    """The user, or the name of the session, at the end of an ARN."""
    return re.split("[/:]", arn)[-1]


class Pipeline:
    """The pipeline of the stack. Its methods raise what AWS refuses as ClientError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = aws_stack.client("codepipeline")
        self.known: dict[str, dict[str, Any]] = {}

    @cached_property
    def stages(self) -> list[dict[str, Any]]:
        """Every stage, with the execution that entered it last; as it was when first asked for."""
        return self.client.get_pipeline_state(name=self.name)["stageStates"]

    def broken(self, stage: str) -> str:
        """How the last execution in a stage ended, if not well: then nobody knows what is there."""
        for one in self.stages:
            status = one.get("latestExecution", {}).get("status", "")
            if one["stageName"] == stage and status in ("Failed", "Stopped", "Cancelled"):
                return status
        return ""

    def execution(self, execution: str) -> dict[str, Any]:
        """An execution's record, or nothing where AWS has forgotten it, after twelve months."""
        if execution not in self.known:
            try:
                found = self.client.get_pipeline_execution(
                    pipelineName=self.name, pipelineExecutionId=execution
                )["pipelineExecution"]
            except self.client.exceptions.PipelineExecutionNotFoundException:
                found = {}
            self.known[execution] = found
        return self.known[execution]

    def rolled_back_to(self, execution: str) -> str:
        """The execution that a rollback brought back, or nothing where this is no rollback."""
        told = self.execution(execution).get("rollbackMetadata", {})
        return told.get("rollbackTargetPipelineExecutionId", "")

    def revision(self, execution: str) -> dict[str, Any]:
        """The revision that an execution deployed; a rollback's is its target's."""
        found = self.execution(self.rolled_back_to(execution) or execution)
        return (found.get("artifactRevisions") or [{}])[0]

    def commit(self, execution: str) -> str:
        """The commit that an execution deployed, or nothing where AWS does not know it."""
        return self.revision(execution).get("revisionId", "")

    def subject(self, execution: str) -> str:
        """The first line of that commit's message."""
        return self.revision(execution).get("revisionSummary", "").strip().partition("\n")[0]

    def actions(self, execution: str = "") -> Iterator[dict[str, Any]]:
        """What the actions did, newest first: all of them, or those of one execution."""
        wanted = {"filter": {"pipelineExecutionId": execution}} if execution else {}
        paginator = self.client.get_paginator("list_action_executions")
        for page in paginator.paginate(pipelineName=self.name, **wanted):
            yield from page["actionExecutionDetails"]

    def releases(self, stage: str = PRODUCTION) -> Iterator[Release]:
        """What came through a stage, newest first, rollbacks included."""
        seen = set()
        for action in self.actions():
            execution = action["pipelineExecutionId"]
            good = (action["stageName"], action["status"]) == (stage, "Succeeded")
            if not good or execution in seen:
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
        """Who approved an execution, or nothing where nobody did."""
        for action in self.actions(execution):
            kind = action["input"].get("actionTypeId", {}).get("category")
            if (kind, action["status"]) == ("Approval", "Succeeded"):
                result = action.get("output", {}).get("executionResult", {})
                return person(action.get("updatedBy", "")) or result.get(
                    "externalExecutionSummary", ""
                )
        return ""


def deployed() -> Pipeline:
    """The pipeline of the stack. Exits where there is none."""
    return Pipeline(aws_stack.outputs()["PipelineName"])
