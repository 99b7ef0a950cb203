"""What the pipeline does and has done: its executions and releases, and the way back to one."""

import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cicd.steps.names import PRODUCTION, RUN, RUNNING, SOURCE
from ops import Stop
from ops.aws import Stack, agreed, plain, when

REVERT = "Revert the commit instead, and push that: git revert <commit>, make push"
WIDTHS = {"Execution": 9, "Commit": 8, "Deployed": 12, "By": 15, "": 12}
Summary = dict[str, Any]  # of an execution, as AWS lists them


@dataclass(frozen=True)
class Release:
    """What an execution or a rollback deployed in a stage."""

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


def is_deployment(action: dict[str, Any], stage: str) -> bool:
    """Whether an action's record is of a deployment in a stage that succeeded."""
    succeeded = (action["stageName"], action["status"]) == (stage, "Succeeded")
    return succeeded and action["actionName"] != RUN


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
        """How the last deployment of a stage ended, if not well: then its result is not known."""
        for state in self.stages:
            status = str(state.get("latestExecution", {}).get("status", ""))
            if state["stageName"] == stage and status in ("Failed", "Stopped", "Cancelled"):
                # The first action deploys. If only the job after it failed, the release is there.
                first = state["actionStates"][0].get("latestExecution", {}).get("status")
                return "" if first == "Succeeded" else status
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
        revisions = record.get("artifactRevisions") or []  # the commit's and cicd.zip's
        return dict(next((item for item in revisions if item.get("name") == SOURCE), {}))

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
            if not is_deployment(action, stage) or execution in seen:  # a stage that was retried
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


def show_releases(stack: Stack, count: int) -> None:
    """Prints a line for each of the newest releases."""
    pipeline = Pipeline(stack)
    newest = list(itertools.islice(pipeline.releases(), count + 1))
    if not newest:
        print("Nothing has been deployed to production yet. See: make status")
        return
    table = Table(box=None, pad_edge=False)
    for title, width in WIDTHS.items():
        table.add_column(title, min_width=width, no_wrap=True)
    # After a failed deployment nobody knows what production has.
    note = "last that succeeded" if pipeline.broken(PRODUCTION) else "deployed now"
    for release in newest[:count]:
        notes = [note] if release is newest[0] else []
        if release.rolled_back_to:
            notes.append(f"rollback to {release.rolled_back_to[:8]}")
        row = (
            release.execution[:8],
            release.commit[:8],
            when(release.at),
            release.by or pipeline.approver(release.execution),
            ", ".join(notes) or release.subject,
        )
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if len(newest) > count:
        print(f"Older releases: make releases COUNT={count * 3}")
    if len(newest) > 1:
        print("To go back to one of them: make rollback TO=<execution>")


# ---- Rollback ------------------------------------------------------------------------------------


def is_rollback(summary: Summary) -> bool:
    """Whether an execution brought back an earlier one."""
    return summary.get("executionType") == "ROLLBACK"


class Rollback:
    """Production as it is, and the executions that AWS can go back to, newest first.

    AWS leaves out what ran before the pipeline itself was changed.
    """

    def __init__(self, stack: Stack) -> None:
        self.pipeline = Pipeline(stack)
        stages = {stage["stageName"]: stage for stage in self.pipeline.stages}
        self.latest = stages[PRODUCTION].get("latestExecution", {"status": "none"})
        if self.latest["status"] in RUNNING:
            raise Stop(
                f"a deployment to {PRODUCTION} is running; wait for it: make logs BUILD=prod"
            )
        self.broken = bool(self.pipeline.broken(PRODUCTION))
        pages = self.pipeline.client.get_paginator("list_pipeline_executions").paginate(
            pipelineName=self.pipeline.name, filter={"succeededInStage": {"stageName": PRODUCTION}}
        )
        self.summaries: list[Summary] = [
            item for page in pages for item in page["pipelineExecutionSummaries"]
        ]
        self.release = next(self.pipeline.releases(), None)

    @property
    def current(self) -> str:
        """The execution that first deployed what production has, or ""."""
        return self.release.origin if self.release else ""

    @property
    def position(self) -> int:
        """Where the releases begin that are older than what production has.

        After a deployment that failed, its last release is one of them.
        """
        identities = [item["pipelineExecutionId"] for item in self.summaries]
        if self.current not in identities:  # deployed, but its job failed: AWS does not list it
            return 0
        return identities.index(self.current) + (0 if self.broken else 1)

    def named(self, prefix: str) -> Summary:
        """The execution that begins so. Raises Stop unless there is exactly one."""
        matches = [
            item for item in self.summaries if item["pipelineExecutionId"].startswith(prefix)
        ]
        if not matches:
            what = f"no release that AWS can go back to begins with {prefix}"
            raise Stop(f"{what}; see: make releases")
        if len(matches) > 1:
            raise Stop(
                f"{len(matches)} executions begin with {prefix}; give TO more of its characters"
            )
        if is_rollback(matches[0]):
            target = matches[0]["rollbackMetadata"]["rollbackTargetPipelineExecutionId"]
            raise Stop(f"{prefix} is itself a rollback, which AWS does not go back to: TO={target}")
        return matches[0]

    def choose(self, prefix: str) -> Summary:
        """The execution to go back to: the named one, or else the release before."""
        if not self.summaries:
            raise Stop(
                "there is nothing to go back to: since the pipeline was created, or changed by"
                f" make stack, no release has succeeded in {PRODUCTION}. {REVERT}"
            )
        if prefix:
            target = self.named(prefix)
            if target["pipelineExecutionId"] == self.current and not self.broken:
                raise Stop(f"{self.current} is what production has; nothing is changed")
            return target
        candidates = [item for item in self.summaries[self.position :] if not is_rollback(item)]
        if not candidates:
            raise Stop(f"there is no release before {self.current} to go back to. {REVERT}")
        return candidates[0]

    def check_artifacts(self, target: str) -> None:
        """Raises Stop if a file that the release was deployed from is gone."""
        s3 = self.pipeline.stack.client("s3")
        artifacts: list[Any] = next(
            (
                action["input"].get("inputArtifacts", [])
                for action in self.pipeline.actions(target)
                if is_deployment(action, PRODUCTION)
            ),
            [],
        )
        for artifact in artifacts:
            place = artifact["s3location"]
            try:
                s3.head_object(Bucket=place["bucket"], Key=place["key"])
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                    raise
                raise Stop(
                    f"the artifact {artifact['name']} of {target} is gone: artifacts are kept for"
                    f" 180 days (docs/operations.md). {REVERT}"
                ) from None

    def line(self, execution: str, state: str) -> str:
        """An execution's release in a line."""
        commit = self.pipeline.commit(execution)[:8] or "unknown"
        subject = self.pipeline.subject(execution)
        return plain(f"commit {commit}, execution {execution[:8]}, {state}  {subject}").strip()

    def origin_line(self) -> str:
        """What production has now, in a line; after a failure, what failed."""
        if self.broken or not self.release:
            return self.line(self.latest["pipelineExecutionId"], self.latest["status"])
        return self.line(self.current, when(self.release.at))

    def start(self, target: str) -> str:
        """Starts the rollback, and returns its execution."""
        client = self.pipeline.client
        try:
            execution = client.rollback_stage(
                pipelineName=self.pipeline.name,
                stageName=PRODUCTION,
                targetPipelineExecutionId=target,
            )
        except client.exceptions.UnableToRollbackStageException as error:
            message = error.response["Error"]["Message"]
            raise Stop(f"AWS cannot roll back: {message} {REVERT}") from None
        return str(execution["pipelineExecutionId"])


def roll_back(stack: Stack, prefix: str, yes: str) -> None:
    """Chooses, shows, asks and rolls back."""
    rollback = Rollback(stack)
    target = rollback.choose(prefix)
    execution = target["pipelineExecutionId"]
    rollback.check_artifacts(execution)
    print(f"From: {rollback.origin_line()}")
    print(f"To:   {rollback.line(execution, when(target['lastUpdateTime']))}")
    print("The build plans it anew, and stops where data would be lost. What jobs wrote stays.")
    agreed("Roll production back?", yes, "nothing is changed")
    print(f"Started execution {rollback.start(execution)}.")
    print("Follow it: make logs BUILD=prod, make status")
    print("The branch is not changed. Revert there too, or the next push deploys it again.")
