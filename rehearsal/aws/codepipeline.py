"""Walks a pipeline's executions as CodePipeline does: stages, actions, artifacts, variables.

https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html
"""

import json
import re
import secrets
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.aws.account import Aws, Denied
from rehearsal.aws.codebuild import Build, CodeBuild
from rehearsal.aws.codepipeline_api import ANSWERS

SOURCE_RIGHTS = ("GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus")


class ActionFailed(Exception):
    """Why an action failed, in words for the operator."""


@dataclass
class Action:
    """An action of an execution; `text` and `link` are what a reviewer is shown.

    `inputs` and `outputs` are bucket and key by artifact; `started` is a time in seconds.
    """

    name: str
    kind: str
    status: str = ""
    message: str = ""
    started: float = 0.0
    seconds: float = 0.0
    build: Build | None = None
    text: str = ""
    link: str = ""
    token: str = ""
    answer: "Answer | None" = None
    configuration: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Stage:
    """A stage of an execution."""

    name: str
    actions: list[Action]
    status: str = ""


@dataclass
class Execution:
    """One run of the pipeline: its commit, stages, and the artifacts and variables so far.

    `rolls_back_to` is the execution whose artifacts and variables a rollback replays.
    """

    id: str
    commit: str
    stages: list[Stage]
    status: str = "InProgress"
    started: float = field(default_factory=time.time)
    rolls_back_to: "Execution | None" = None
    artifacts: dict[str, tuple[str, str]] = field(default_factory=dict)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def stopped_in(self) -> Stage | None:
        """The stage that failed."""
        return next((stage for stage in self.stages if stage.status == "Failed"), None)


Answer = tuple[str, str]  # Approved, Rejected or Expired, and the reason


class Gate:
    """A stage's door: one execution inside, one that waits; a newer one takes the place of that.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html#how-it-works-stages
    """

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.inside: Execution | None = None
        self.waiting: Execution | None = None

    def enter(self, execution: Execution) -> bool:
        """Waits to enter; returns False where a newer execution came instead."""
        with self.condition:
            if self.inside is not None:
                self.waiting = execution
                self.condition.notify_all()
                self.condition.wait_for(
                    lambda: self.inside is None or self.waiting is not execution
                )
                if self.waiting is not execution:
                    return False
                self.waiting = None
            self.inside = execution
            return True

    def leave(self) -> None:
        """Lets the waiting execution in."""
        with self.condition:
            self.inside = None
            self.condition.notify_all()


class CodePipeline:
    """A stack's pipeline.

    `watch()` is called at each change; `decide(execution, action)` answers an approval, and leaves
    it to the API's PutApprovalResult where it returns None.

    `mails` are the messages that went to the topic's subscribers.
    """

    def __init__(self, aws: Aws, codebuild: CodeBuild) -> None:
        self.aws, self.codebuild = aws, codebuild
        ((self.logical, self.pipeline),) = aws.of_type("CodePipeline::Pipeline").items()
        self.name = aws.arn(self.logical).rpartition(":")[2]
        self.role = aws.logical("IAM::Role", self.pipeline["RoleArn"])
        self.executions: list[Execution] = []
        self.mails = aws.mails  # in the order in which they came, whoever sent them
        self.decide: Callable[[Execution, Action], Answer | None] = lambda *_: (
            "Expired",
            "nobody answered",
        )
        self.watch: Callable[[], None] = lambda: None
        self.answered = threading.Condition()
        self.threads: list[threading.Thread] = []  # executions that an operator's call has started
        aws.let_answer("codepipeline", self, ANSWERS)
        self.gates = {stage["Name"]: Gate() for stage in self.pipeline["Stages"]}

    @property
    def branch(self) -> str:
        """The branch that the pipeline's source action names."""
        actions = [action for stage in self.pipeline["Stages"] for action in stage["Actions"]]
        (source,) = (a["Configuration"] for a in actions if kind(a) == "Source CodeCommit")
        return source["BranchName"]

    def push(self, branch: str, commit: str, old: str = "") -> Execution | None:
        """Plays the event of a push; runs what the rules start, and returns the execution.

        https://docs.aws.amazon.com/codecommit/latest/userguide/monitoring-events.html
        """
        (repository,) = self.aws.of_type("CodeCommit::Repository")
        detail = {
            "event": "referenceUpdated" if old else "referenceCreated",
            "repositoryName": self.aws.arn(repository).rpartition(":")[2],
            "repositoryId": str(uuid.uuid4()),
            "referenceType": "branch",
            "referenceName": branch,
            "referenceFullName": f"refs/heads/{branch}",
            "commitId": commit,
            **({"oldCommitId": old} if old else {}),
        }
        kind = "CodeCommit Repository State Change"
        for target in self.aws.emit("aws.codecommit", kind, detail, self.aws.arn(repository)):
            if target["Arn"].endswith(f":{self.name}"):
                role = self.aws.logical("IAM::Role", target["RoleArn"])
                self.aws.require(role, "codepipeline:StartPipelineExecution", target["Arn"])
                return self.start(target["Input"].get("sourceRevisions", []), branch)
            self.deliver(target)
        return None

    def start(self, revisions: list[dict[str, str]], branch: str) -> Execution:
        """Runs an execution to its end, through the doors of its stages."""
        commits = [one["revisionValue"] for one in revisions if one["revisionType"] == "COMMIT_ID"]
        commit = commits[0] if commits else self.git("rev-parse", branch).strip()
        execution = Execution(str(uuid.uuid4()), commit, [])
        execution.variables["codepipeline"] = {"PipelineExecutionId": execution.id}
        execution.variables["variables"] = {
            one["Name"]: one.get("DefaultValue", "") for one in self.pipeline.get("Variables", [])
        }
        return self.walk(execution, self.pipeline["Stages"])

    def rollback(self, stage: str, target: Execution) -> Execution:
        """Runs one stage again with the artifacts and variables of an execution that passed it.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-rollback.html
        Raises ValueError where AWS would refuse.
        """
        self.check_rollback(stage, target)
        execution = Execution(str(uuid.uuid4()), target.commit, [], rolls_back_to=target)
        execution.artifacts |= target.artifacts
        execution.variables |= target.variables
        told = [one for one in self.pipeline["Stages"] if one["Name"] == stage]
        return self.walk(execution, told)

    def check_rollback(self, stage: str, target: Execution) -> None:
        """Raises ValueError for an execution that was a rollback or did not pass the stage."""
        passed = [one.name for one in target.stages if one.status == "Succeeded"]
        if stage not in passed or target.rolls_back_to:
            raise ValueError(f"{target.id} is no execution that {stage} can be rolled back to")

    def walk(self, execution: Execution, declared: list[dict[str, Any]]) -> Execution:
        """Runs the declared stages, each when its door opens."""
        execution.stages = [
            Stage(told["Name"], [Action(a["Name"], kind(a)) for a in told["Actions"]])
            for told in declared
        ]
        self.executions.append(execution)
        for stage, told in zip(execution.stages, declared, strict=True):
            if not self.gates[stage.name].enter(execution):
                execution.status = "Superseded"
                break
            try:
                self.run_stage(execution, stage, told)
            finally:
                self.gates[stage.name].leave()
            if stage.status != "Succeeded":
                execution.status = "Failed"
                break
        else:
            execution.status = "Succeeded"
        self.watch()
        return execution

    def behind(self, work: Callable[[], Execution]) -> dict[str, str]:
        """Does it in a thread, one of `threads`; answers with the new execution's ID."""
        before = len(self.executions)
        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()
        while len(self.executions) == before and self.threads[-1].is_alive():
            time.sleep(0.01)
        return {"pipelineExecutionId": self.executions[-1].id}

    def run_stage(self, execution: Execution, stage: Stage, told: dict[str, Any]) -> None:
        """Runs a stage's actions by their order; those after a failure do not run."""
        stage.status = "InProgress"
        orders = sorted({action.get("RunOrder", 1) for action in told["Actions"]})
        for order in orders:
            for action, how in zip(stage.actions, told["Actions"], strict=True):
                if how.get("RunOrder", 1) == order:
                    self.run_action(execution, stage, action, how)
            if any(action.status == "Failed" for action in stage.actions):
                stage.status = "Failed"
                detail = {"pipeline": self.name, "execution-id": execution.id}
                detail |= {"stage": stage.name, "state": "FAILED"}
                self.event("CodePipeline Stage Execution State Change", detail)
                return
        stage.status = "Succeeded"

    def run_action(self, execution: Execution, stage: Stage, action: Action, how: dict) -> None:
        """Runs one action by its kind. Raises NotImplementedError for one that is not known."""
        runs = {
            "Source CodeCommit": self.run_source,
            "Build CodeBuild": self.run_build,
            "Test CodeBuild": self.run_build,
            "Approval Manual": self.run_approval,
        }
        if action.kind not in runs:
            raise NotImplementedError(
                f"{stage.name}/{action.name}: no {action.kind} in a rehearsal"
            )
        detail = {"pipeline": self.name, "execution-id": execution.id, "stage": stage.name}
        category, _, provider = action.kind.partition(" ")
        detail |= {"action": action.name, "state": "STARTED"}
        detail["type"] = {"owner": "AWS", "category": category, "provider": provider}
        action.status, action.started, started = "InProgress", time.time(), time.monotonic()
        try:
            configuration = self.substitute(execution, how.get("Configuration", {}))
            action.configuration = configuration
            action.text = str(configuration.get("CustomData", ""))
            action.link = str(configuration.get("ExternalEntityLink", ""))
            self.event("CodePipeline Action Execution State Change", detail)
            self.watch()
            runs[action.kind](execution, stage, action, how, configuration)
            action.status = "Succeeded"
        except (ActionFailed, Denied, ClientError) as failed:
            action.status, action.message = "Failed", str(failed)
        action.seconds = time.monotonic() - started
        self.watch()

    def run_source(self, execution, stage, action, how, configuration) -> None:
        """Packs the commit, as CodeCommit hands it over: no history, no .git."""
        (repository,) = self.aws.of_type("CodeCommit::Repository")
        for right in SOURCE_RIGHTS:
            self.aws.require(self.role, f"codecommit:{right}", self.aws.arn(repository))
        archive = subprocess.run(
            ["git", "--git-dir", self.aws.repository, "archive", "--format=zip", execution.commit],
            capture_output=True,
        )
        if archive.returncode:
            raise ActionFailed(f"no commit {execution.commit}: {archive.stderr.decode().strip()}")
        (output,) = self.place(how, execution).items()
        keys = self.aws.assume(self.role, "codepipeline.amazonaws.com", self.arn)
        name, (bucket, key) = output
        self.aws.client("s3", keys).put_object(Bucket=bucket, Key=key, Body=archive.stdout)
        execution.artifacts[name] = action.outputs[name] = (bucket, key)
        namespace = {
            "CommitId": execution.commit,
            "CommitMessage": self.git("show", "-s", "--format=%B", execution.commit).strip(),
            "BranchName": configuration["BranchName"],
            "RepositoryName": configuration["RepositoryName"],
            "AuthorDate": self.git("show", "-s", "--format=%aI", execution.commit).strip(),
            "CommitterDate": self.git("show", "-s", "--format=%cI", execution.commit).strip(),
        }
        execution.variables[how.get("Namespace", "")] = namespace

    def run_build(self, execution, stage, action, how, configuration) -> None:
        """Starts a build and waits for it."""
        project = self.aws.logical("CodeBuild::Project", configuration["ProjectName"])
        self.aws.require(self.role, "codebuild:StartBuild", self.aws.arn(project))
        self.aws.require(self.role, "codebuild:BatchGetBuilds", self.aws.arn(project))
        variables = json.loads(configuration.get("EnvironmentVariables", "[]"))
        names = [one["Name"] for one in how.get("InputArtifacts", [])]
        if primary := configuration.get("PrimarySource"):
            names.sort(key=lambda name: name != primary)
        inputs = {name: execution.artifacts[name] for name in names}
        outputs = self.place(how, execution)
        action.inputs = inputs
        initiator = f"codepipeline/{self.name}"

        def begun(build: Build) -> None:
            action.build = build

        self.codebuild.run(project, variables, inputs, outputs, initiator, begun)
        if action.build.status != "SUCCEEDED":
            raise ActionFailed(action.build.failure or action.build.status)
        execution.artifacts |= outputs
        action.outputs = outputs
        execution.variables[how.get("Namespace", "")] = action.build.exported

    def run_approval(self, execution, stage, action, how, configuration) -> None:
        """Asks, and fails unless the answer is Approved."""
        for name in ("CustomData", "ExternalEntityLink"):
            if len(str(how.get("Configuration", {}).get(name, ""))) > 1000:
                raise ActionFailed(f"{name} is longer than 1000 characters")
        if topic := configuration.get("NotificationArn"):
            self.aws.require(self.role, "sns:Publish", topic)
            self.mails.append(action.text)
        action.token, action.answer = str(uuid.uuid4()), None
        answer, reason = self.decide(execution, action) or self.wait_for_answer(action)
        action.token, action.message = "", reason
        if answer != "Approved":
            raise ActionFailed(f"{answer}: {reason}")

    def wait_for_answer(self, action: Action) -> Answer:
        """What an operator answers through the API."""
        with self.answered:
            self.answered.wait_for(lambda: action.answer)
            return action.answer

    def put_answer(self, stage: str, name: str, token: str, answer: Answer) -> None:
        """Answers the approval that waits. Raises ValueError where another has, or none waits."""
        with self.answered:
            for execution in self.executions:
                for one in execution.stages:
                    for action in one.actions:
                        if (one.name, action.name, action.token) == (stage, name, token):
                            if action.answer:
                                raise ValueError("ApprovalAlreadyCompletedException")
                            action.answer = answer
                            self.answered.notify_all()
                            return
        raise ValueError("InvalidApprovalTokenException")

    # ---- What the actions share ------------------------------------------------------------------

    @property
    def arn(self) -> str:
        """The pipeline's ARN."""
        return f"arn:aws:codepipeline:{self.aws.region}:123456789012:{self.name}"

    def place(self, how: dict[str, Any], execution: Execution) -> dict[str, tuple[str, str]]:
        """Bucket and key for each output artifact, in CodePipeline's own manner."""
        bucket = self.pipeline["ArtifactStore"]["Location"]
        return {
            one["Name"]: (
                bucket,
                f"{self.name[:20]}/{one['Name'][:10]}/{secrets.token_hex(4)[:7]}",
            )
            for one in how.get("OutputArtifacts", [])
        }

    def substitute(self, execution: Execution, configuration: dict[str, Any]) -> dict[str, Any]:
        """A configuration with each #{Namespace.NAME} filled in. Raises ActionFailed."""

        def value(match: re.Match) -> str:
            known = execution.variables.get(match[1], {})
            if match[2] not in known:
                raise ActionFailed(f"#{{{match[1]}.{match[2]}}}: there is no such variable")
            return known[match[2]]

        fill = re.compile(r"#\{([^.}]+)\.([^}]+)\}")
        return {
            key: fill.sub(value, text) if isinstance(text, str) else text
            for key, text in configuration.items()
        }

    def event(self, kind: str, detail: dict[str, Any]) -> None:
        """Puts an event of the pipeline on the bus and delivers what the rules make of it."""
        for target in self.aws.emit("aws.codepipeline", kind, detail, self.arn):
            self.deliver(target)

    def deliver(self, target: dict[str, Any]) -> None:
        """Hands a rule's message to its target: a topic's message is a mail."""
        if ":sns:" in target["Arn"]:
            self.mails.append(target["Input"])

    def git(self, *arguments: str) -> str:
        """What git says of the pushed repository."""
        command = ["git", "--git-dir", str(self.aws.repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def kind(action: dict[str, Any]) -> str:
    """An action's category and provider."""
    return f"{action['ActionTypeId']['Category']} {action['ActionTypeId']['Provider']}"
