"""Runs the rendered operator's commands, in this process, on an AWS that is made up here.

What a command asks and what it is answered both go through botocore's models of the services, so
neither can have a field that AWS does not have. moto has no executions and runs no builds.
"""

import functools
import io
import itertools
import runpy
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.validate import validate_parameters

SLUG = "my-data-project"
PIPELINE = "pipeline-1"
BUCKET = "artifacts-1"
NOW = datetime(datetime.now(UTC).year, 11, 24, 14, 0, tzinfo=UTC)
ADA = "arn:aws:sts::123456789012:assumed-role/Reviewer/ada@example.com"
GRACE = "arn:aws:iam::123456789012:user/grace"
PROJECTS = {f"{name}Build": f"{SLUG}-{name.lower()}" for name in ("Qa", "Plan", "Prod", "Drift")}
PROJECTS["PullRequestBuild"] = f"{SLUG}-pull-request"
SERVICES = "cloudformation codebuild codepipeline events logs s3 secretsmanager".split()
COMMON = ("403", "404", "AccessDeniedException", "ValidationError")  # of no service's model

Shape = dict[str, Any]


class Refusal(NamedTuple):
    """What AWS says instead of an answer."""

    code: str
    message: str = "no"


class Aws:
    """Answers by operation, and the calls that were made."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Shape], Shape | Refusal]] = {}
        self.calls: list[tuple[str, Shape]] = []

    def called(self, operation: str) -> list[Shape]:
        """What an operation was called with, each time."""
        return [given for name, given in self.calls if name == operation]

    def answer(self, model: Any, context: Shape, **_: Any) -> tuple[AWSResponse, Shape]:
        """Takes the place of the network."""
        self.calls.append((model.name, context["given"]))
        told = self.answers[model.name](context["given"])
        status = 400 if isinstance(told, Refusal) else 200
        response = AWSResponse("https://aws.example", status, {}, None)
        about = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
        if isinstance(told, Refusal):
            assert told.code in (*COMMON, *model.service_model.shape_names)
            return response, about | {"Error": {"Code": told.code, "Message": told.message}}
        if model.output_shape:
            validate_parameters(told, model.output_shape)
        return response, told | about


@functools.cache
def client(service: str) -> Any:
    """A client of a service, made once: that takes longer than a test."""
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "example"}
    return boto3.Session(region_name="us-east-1", **keys).client(service)


class Cloud(Aws):
    """The account with the deployed stack: its pipeline, builds, artifacts, logs and secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = {"PipelineName": PIPELINE, "PipelineUrl": "https://console.example/p"}
        self.outputs |= {f"{name}SecretArn": f"arn:secret:{name}" for name in ("Qa", "Prod")}
        self.parameters = {"BranchName": "main", "DriftSchedule": "cron(0 5 * * ? *)"}
        self.resources = dict(PROJECTS)
        self.stages: list[Shape] = []
        self.executions: list[Shape] = []  # newest first, as are all lists here
        self.actions: list[Shape] = []
        self.objects: dict[str, bytes] = {}
        self.builds: list[Shape] = []
        self.log: list[str] = []
        self.versions: dict[str, Shape] = {}
        names = (name for name in dir(type(self)) if name[0].isupper())
        self.answers |= {name: getattr(self, name) for name in names}

    # ---- What there is

    def stage(self, name: str, status: str, execution: str, **more: Any) -> None:
        """A stage, with the execution that entered it last."""
        latest = {"status": status, "pipelineExecutionId": execution, **more}
        changed = {"status": "Succeeded", "lastStatusChange": NOW}
        action = {"actionName": "Do", "latestExecution": changed}
        self.stages.append({"stageName": name, "actionStates": [action], "latestExecution": latest})

    def started(self, execution: str, commit: str, back_to: str = "") -> datetime:
        """An execution that is newer than all before it, and has passed QA; or a rollback."""
        at = NOW + timedelta(hours=len(self.executions))
        revision = {"revisionId": commit, "revisionSummary": f"Change {commit[:4]}\n\nBecause."}
        told = {
            "pipelineExecutionId": execution,
            "status": "Succeeded",
            "startTime": at,
            "lastUpdateTime": at,
            "executionType": "STANDARD",
            "sourceRevisions": [{"actionName": "Source", **revision}],
            "trigger": {"triggerType": "CloudWatchEvent", "triggerDetail": "rule/push"},
        }
        if back_to:  # what AWS tells of its revisions nothing says
            told |= {
                "executionType": "ROLLBACK",
                "sourceRevisions": [],
                "rollbackMetadata": {"rollbackTargetPipelineExecutionId": back_to},
                "trigger": {"triggerType": "ManualRollback", "triggerDetail": GRACE},
            }
        self.executions.insert(0, told)
        if not back_to:
            self.action(execution, "QA", "DeployAndTest", at=at)
        return at

    def release(self, execution: str, commit: str = "", back_to: str = "") -> None:
        """An execution that is newer than all before it and has succeeded in production."""
        at = self.started(execution, commit, back_to)
        names = ("Source", "Wheel", "Plan")
        self.objects |= {f"{execution}/{name}": b"" for name in names}
        if not back_to:
            self.action(execution, "Review", "Approve", at=at, updatedBy=ADA, category="Approval")
        self.action(execution, "Production", "Deploy", at=at, inputs=names)

    def action(self, execution: str, stage: str, action: str, **more: Any) -> Shape:
        """An action's record, newer than all before it."""

        def artifacts(names: tuple[str, ...]) -> list[Shape]:
            place = {"bucket": BUCKET}
            return [
                {"name": name, "s3location": place | {"key": f"{execution}/{name}"}}
                for name in names
            ]

        kind = {"category": more.pop("category", "Build"), "owner": "AWS", "version": "1"}
        record = {
            "pipelineExecutionId": execution,
            "stageName": stage,
            "actionName": action,
            "status": "Succeeded",
            "lastUpdateTime": more.pop("at", NOW),
            "input": {
                "actionTypeId": kind | {"provider": "x"},
                "inputArtifacts": artifacts(more.pop("inputs", ())),
                "resolvedConfiguration": more.pop("resolved", {}),
            },
            "output": {
                "outputArtifacts": artifacts(more.pop("outputs", ())),
                "outputVariables": more.pop("variables", {}),
            },
            **more,
        }
        self.actions.insert(0, record)
        return record

    def approval(self, plan: str, loses: bool = False) -> None:
        """An execution that waits for its approval, and its plan's artifact."""
        execution = "eeeeeeee-1"
        self.started(execution, "0123abcd99")
        self.stage("Review", "InProgress", execution)
        self.stages[-1]["actionStates"] = [
            {"actionName": "Plan", "latestExecution": {"status": "Succeeded"}},
            {
                "actionName": "Approve",
                "latestExecution": {"status": "InProgress", "token": "t-1"},
            },
        ]
        lost = "DATA WOULD BE LOST: it deletes 1." if loses else "It deletes no data."
        told = {
            "CustomData": f"Ada[bot] asks [/to] deploy commit 0123abcd. {lost}",
            "ExternalEntityLink": "https://link.example/build",
        }
        outputs = {"outputs": ("Plan",), "variables": {"DATA_LOSS": lost}}
        self.action(execution, "Review", "Plan", **outputs)
        self.action(execution, "Review", "Approve", status="InProgress", resolved=told)
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            archive.writestr("plan.md", plan)
        self.objects[f"{execution}/Plan"] = body.getvalue()

    def build(self, project: str, status: str = "SUCCEEDED", hour: int = 0, **more: Any) -> Shape:
        """A build that is newer than all of its project before it, with a log."""
        name = PROJECTS[project]
        place = {"groupName": f"/aws/codebuild/{name}", "streamName": "s"}
        build = {
            "id": f"{name}:{len(self.builds)}",
            "projectName": name,
            "buildStatus": status,
            "startTime": NOW + timedelta(hours=hour),
            "source": {"type": "NO_SOURCE"},
            "logs": place,
            **more,
        }
        self.builds.insert(0, build)
        return build

    def looked(self, drift: str, **more: Any) -> Shape:
        """A build that has looked for drift."""
        exported = [{"name": "DRIFT", "value": drift}]
        return self.build("DriftBuild", exportedEnvironmentVariables=exported, **more)

    def secret(self, name: str, days: int, was_set: bool = True) -> None:
        """A secret whose value is that many days old."""
        at = datetime.now(UTC) - timedelta(days=days, hours=1)
        self.versions[f"arn:secret:{name}"] = {
            "Versions": [
                {"VersionId": "v" * 32, "CreatedDate": at, "VersionStages": ["AWSCURRENT"]},
                {"VersionId": "w" * 32, "CreatedDate": at, "VersionStages": ["AWSPREVIOUS"]},
            ][: 1 + was_set]
        }

    # ---- What AWS answers

    def DescribeStacks(self, given: Shape) -> Shape:
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]
        told = [{"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()]
        stack = {"StackName": SLUG, "StackStatus": "CREATE_COMPLETE", "CreationTime": NOW}
        return {"Stacks": [stack | {"Outputs": outputs, "Parameters": told}]}

    def ListStackResources(self, given: Shape) -> Shape:
        about = {"ResourceStatus": "CREATE_COMPLETE", "LastUpdatedTimestamp": NOW}
        return {
            "StackResourceSummaries": [
                {"LogicalResourceId": k, "PhysicalResourceId": v, "ResourceType": "x", **about}
                for k, v in self.resources.items()
            ]
        }

    def GetPipelineState(self, given: Shape) -> Shape:
        return {"pipelineName": PIPELINE, "stageStates": self.stages}

    def ListPipelineExecutions(self, given: Shape) -> Shape:
        assert given["filter"] == {"succeededInStage": {"stageName": "Production"}}
        done = {
            one["pipelineExecutionId"]
            for one in self.actions
            if (one["stageName"], one["status"]) == ("Production", "Succeeded")
        }
        found = [one for one in self.executions if one["pipelineExecutionId"] in done]
        return {"pipelineExecutionSummaries": found}

    def GetPipelineExecution(self, given: Shape) -> Shape | Refusal:
        wanted = given["pipelineExecutionId"]
        for one in self.executions:
            if one["pipelineExecutionId"] == wanted:
                own = ("startTime", "lastUpdateTime", "sourceRevisions")
                revisions = [
                    {key: value for key, value in revision.items() if key != "actionName"}
                    for revision in one["sourceRevisions"]
                ]
                told = {key: value for key, value in one.items() if key not in own}
                return {"pipelineExecution": told | {"artifactRevisions": revisions}}
        return Refusal("PipelineExecutionNotFoundException")

    def ListActionExecutions(self, given: Shape) -> Shape:
        wanted = given.get("filter", {}).get("pipelineExecutionId")
        found = [one for one in self.actions if wanted in (None, one["pipelineExecutionId"])]
        return {"actionExecutionDetails": found}

    def PutApprovalResult(self, given: Shape) -> Shape:
        return {"approvedAt": NOW}

    def StartPipelineExecution(self, given: Shape) -> Shape:
        return {"pipelineExecutionId": "55555555-1"}

    def RollbackStage(self, given: Shape) -> Shape:
        return {"pipelineExecutionId": "66666666-1"}

    def HeadObject(self, given: Shape) -> Shape | Refusal:
        return {} if given["Key"] in self.objects else Refusal("404", "Not Found")

    def GetObject(self, given: Shape) -> Shape | Refusal:
        if given["Key"] not in self.objects:
            return Refusal("NoSuchKey", "The specified key does not exist.")
        return {"Body": io.BytesIO(self.objects[given["Key"]])}

    def ListBuildsForProject(self, given: Shape) -> Shape:
        assert given["sortOrder"] == "DESCENDING"
        name = given["projectName"]
        ids = [one["id"] for one in self.builds if one["projectName"] == name]
        return {"ids": ids} if ids else {}  # the model has no list of nothing

    def BatchGetBuilds(self, given: Shape) -> Shape:
        found = [one for one in self.builds if one["id"] in given["ids"]]
        return {"builds": [dict(one) for one in found]}  # as they are now

    def StartBuild(self, given: Shape) -> Shape:
        (name,) = (key for key, value in PROJECTS.items() if value == given["projectName"])
        return {"build": dict(self.build(name, "IN_PROGRESS"))}

    def GetLogEvents(self, given: Shape) -> Shape | Refusal:
        if not self.log:
            return Refusal("ResourceNotFoundException")
        start = int(given.get("nextToken", "f/0")[2:])
        events = [{"message": f"{line}\n"} for line in self.log[start : start + 2]]
        return {"events": events, "nextForwardToken": f"f/{start + len(events)}"}

    def ListSecretVersionIds(self, given: Shape) -> Shape | Refusal:
        return self.versions.get(given["SecretId"], Refusal("ResourceNotFoundException"))


class Screen(NamedTuple):
    """What a command has left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of the output, each with single spaces."""
        return [" ".join(line.split()) for line in self.out.splitlines()]


class Keyboard(io.StringIO):
    """What is typed, at a terminal or not."""

    def __init__(self, typed: str, terminal: bool) -> None:
        super().__init__(typed)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


class Operator:
    """A person at a rendered repository, with the account that it is deployed in.

    `waiting` is what happens while a command waits, one after the other; without a `terminal`,
    what is typed comes from a pipe.
    """

    def __init__(
        self, tools: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        self.tools, self.cloud, self.patch, self.capsys = tools, cloud, monkeypatch, capsys
        self.terminal = True
        self.waiting: Iterator[Callable[[], None]] = iter(())
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.setattr(time, "sleep", lambda _: next(self.waiting)())
        monkeypatch.syspath_prepend(tools)
        monkeypatch.setattr(boto3, "client", client)
        for name, value in {"STACK": SLUG, "AWS_REGION": "us-east-1", "TZ": "UTC"}.items():
            monkeypatch.setenv(name, value)
        time.tzset()

    def run(self, command: str, *arguments: str, typed: str | None = None, **env: str) -> Screen:
        """Runs ops/<command>.py, where nobody is at the keyboard if nothing is `typed`."""
        for name in ("TO", "BUILD", "COUNT", "REASON"):
            self.patch.setenv(name, env.get(name, ""))
        self.patch.setattr(sys, "argv", [str(self.tools / f"{command}.py"), *arguments])
        self.patch.setattr(sys, "stdin", Keyboard(typed or "", self.terminal and typed is not None))
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(sys.argv[0], run_name="__main__")
        out, err = self.capsys.readouterr()
        return Screen(stop.value.code, out, err)


def operators(
    rendering: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, cloud: Cloud | None = None
) -> Iterator[Operator]:
    """One operator, and no trace of the commands' modules afterwards."""
    made = Operator(rendering / "ops", cloud or Cloud(), monkeypatch, capsys)
    events = ("before-parameter-build", "before-call")
    used = [client(name) for name in SERVICES]

    def keep(params: Shape, context: Shape, **_: Any) -> None:
        context["given"] = params

    for one, (event, handler) in itertools.product(
        used, zip(events, (keep, made.cloud.answer), strict=True)
    ):
        one.meta.events.register_first(event, handler, unique_id=f"cloud-{event}")
    yield made
    for one, event in itertools.product(used, events):
        one.meta.events.unregister(event, unique_id=f"cloud-{event}")
    monkeypatch.delenv("TZ")
    time.tzset()
    for module in (rendering / "ops").glob("*.py"):
        sys.modules.pop(module.stem, None)
