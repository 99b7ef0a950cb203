"""Runs the rendered operator's commands, in this process, on an AWS that is made up here.

What a command asks and what it is answered both go through botocore's models of the services, so
neither can have a field that AWS does not have. An operation that nobody answers here is moto's,
where a test wants that: moto has no executions and runs no builds.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
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
from moto import mock_aws

SLUG = "my-data-project"
ACCOUNT = "123456789012"
PIPELINE = "pipeline-1"
BUCKET = "artifacts-1"
NOW = datetime(datetime.now(UTC).year, 11, 24, 14, 0, tzinfo=UTC)
ADA = f"arn:aws:sts::{ACCOUNT}:assumed-role/Reviewer/ada@example.com"
GRACE = f"arn:aws:iam::{ACCOUNT}:user/grace"
PROJECTS = {f"{name}Build": f"{SLUG}-{name.lower()}" for name in ("Qa", "Plan", "Prod", "Drift")}
PROJECTS["PullRequestBuild"] = f"{SLUG}-pull-request"
SERVICES = """
    cloudformation codebuild codecommit codepipeline events iam logs s3 secretsmanager sts
""".split()
# Refusals that are in no service's model.
COMMON = """
    403 404 AccessDenied AccessDeniedException ExpiredToken FeatureDisabled ValidationError
""".split()

Shape = dict[str, Any]


def zipped(files: dict[str, str]) -> bytes:
    """An artifact with these files."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return body.getvalue()


def machine_plan(loses_data: bool = False) -> str:
    """A plan as the Databricks CLI writes it, that updates a job or deletes a schema."""
    action, resource = ("delete", "schemas.raw") if loses_data else ("update", "jobs.daily")
    return json.dumps({"plan_version": 2, "plan": {f"resources.{resource}": {"action": action}}})


class Refusal(NamedTuple):
    """What AWS says instead of an answer."""

    code: str
    message: str = "no"


class Aws:
    """Answers by operation, and the calls that were made."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Shape], Shape | Refusal]] = {}
        self.calls: list[tuple[str, Shape]] = []
        self.has_moto = False  # which answers all other operations

    def called(self, operation: str) -> list[Shape]:
        """What an operation was called with, each time."""
        return [request for name, request in self.calls if name == operation]

    def answer(self, model: Any, context: Shape, **_: Any) -> tuple[AWSResponse, Shape] | None:
        """Takes the place of the network, or leaves that to moto."""
        self.calls.append((model.name, context["request"]))
        if self.has_moto and model.name not in self.answers:
            return None
        answer = self.answers[model.name](context["request"])
        status = 400 if isinstance(answer, Refusal) else 200
        response = AWSResponse("https://aws.example", status, {}, None)
        metadata = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
        if isinstance(answer, Refusal):
            assert answer.code in (*COMMON, *model.service_model.shape_names)
            return response, metadata | {"Error": {"Code": answer.code, "Message": answer.message}}
        if model.output_shape:
            validate_parameters(answer, model.output_shape)
        return response, answer | metadata


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
        """A stage, with the execution that entered it last; `first`: how its first action ended."""
        changed = {"status": more.pop("first", status), "lastStatusChange": NOW}
        latest = {"status": status, "pipelineExecutionId": execution, **more}
        action = {"actionName": "Do", "latestExecution": changed}
        self.stages.append({"stageName": name, "actionStates": [action], "latestExecution": latest})

    def started(self, execution: str, commit: str, back_to: str = "") -> datetime:
        """An execution that is newer than all before it, and has passed QA; or a rollback."""
        at = NOW + timedelta(hours=len(self.executions))
        summary_of = f"Change {commit[:4]}\n\nBecause."
        revision = {"revisionId": commit, "revisionSummary": summary_of}
        summary = {
            "pipelineExecutionId": execution,
            "status": "Succeeded",
            "startTime": at,
            "lastUpdateTime": at,
            "executionType": "STANDARD",
            "sourceRevisions": [{"actionName": "Source", **revision}],
            "trigger": {"triggerType": "CloudWatchEvent", "triggerDetail": "rule/push"},
        }
        if back_to:  # nothing documents what AWS says of its revisions
            summary |= {
                "executionType": "ROLLBACK",
                "sourceRevisions": [],
                "rollbackMetadata": {"rollbackTargetPipelineExecutionId": back_to},
                "trigger": {"triggerType": "ManualRollback", "triggerDetail": GRACE},
            }
        self.executions.insert(0, summary)
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
        later = at + timedelta(minutes=20)
        self.action(execution, "Production", "Run", at=later, inputs=names[:2])

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

    def approval(self, plan: str, loses_data: bool = False) -> None:
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
        effect = {True: "DATA WOULD BE LOST: it deletes 1.", False: "It deletes no data."}
        resolved = {
            "CustomData": f"Ada[bot] asks [/to] deploy commit 0123abcd. {effect[loses_data]}",
            "ExternalEntityLink": "https://link.example/build",
        }
        machine = machine_plan(loses_data)
        variables = {
            "LOSES_DATA": str(loses_data).lower(),
            "PLAN_SHA256": hashlib.sha256(machine.encode()).hexdigest(),
        }
        self.action(execution, "Review", "Plan", outputs=("Plan",), variables=variables)
        self.action(execution, "Review", "Approve", status="InProgress", resolved=resolved)
        self.objects[f"{execution}/Plan"] = zipped({"plan.json": machine, "plan.md": plan})

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

    def looked(self, status: str, sentence: str, **more: Any) -> Shape:
        """A build that has compared production with its release."""
        values = {"DRIFT_STATUS": status, "DRIFT": sentence}
        exported = [{"name": name, "value": value} for name, value in values.items()]
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

    def DescribeStacks(self, request: Shape) -> Shape:
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()]
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()]
        stack = {"StackName": SLUG, "StackStatus": "CREATE_COMPLETE", "CreationTime": NOW}
        return {"Stacks": [stack | {"Outputs": outputs, "Parameters": parameters}]}

    def ListStackResources(self, request: Shape) -> Shape:
        about = {"ResourceStatus": "CREATE_COMPLETE", "LastUpdatedTimestamp": NOW}
        return {
            "StackResourceSummaries": [
                {"LogicalResourceId": k, "PhysicalResourceId": v, "ResourceType": "x", **about}
                for k, v in self.resources.items()
            ]
        }

    def GetPipelineState(self, request: Shape) -> Shape:
        return {"pipelineName": PIPELINE, "stageStates": self.stages}

    def ListPipelineExecutions(self, request: Shape) -> Shape:
        assert request["filter"] == {"succeededInStage": {"stageName": "Production"}}
        deployed = {
            action["pipelineExecutionId"]
            for action in self.actions
            if (action["stageName"], action["status"]) == ("Production", "Succeeded")
        }
        summaries = [item for item in self.executions if item["pipelineExecutionId"] in deployed]
        return {"pipelineExecutionSummaries": summaries}

    def GetPipelineExecution(self, request: Shape) -> Shape | Refusal:
        for summary in self.executions:
            if summary["pipelineExecutionId"] == request["pipelineExecutionId"]:
                own = ("startTime", "lastUpdateTime", "sourceRevisions")
                record = {key: value for key, value in summary.items() if key not in own}
                revisions = [
                    {
                        "name": source["actionName"],
                        "revisionId": source["revisionId"],
                        "revisionSummary": source["revisionSummary"],
                    }
                    for source in summary["sourceRevisions"]
                ]
                return {"pipelineExecution": record | {"artifactRevisions": revisions}}
        return Refusal("PipelineExecutionNotFoundException")

    def ListActionExecutions(self, request: Shape) -> Shape:
        execution = request.get("filter", {}).get("pipelineExecutionId")
        records = [
            item for item in self.actions if execution in (None, item["pipelineExecutionId"])
        ]
        return {"actionExecutionDetails": records}

    def PutApprovalResult(self, request: Shape) -> Shape:
        return {"approvedAt": NOW}

    def StartPipelineExecution(self, request: Shape) -> Shape:
        return {"pipelineExecutionId": "55555555-1"}

    def RollbackStage(self, request: Shape) -> Shape:
        return {"pipelineExecutionId": "66666666-1"}

    def HeadObject(self, request: Shape) -> Shape | Refusal:
        return {} if request["Key"] in self.objects else Refusal("404", "Not Found")

    def GetObject(self, request: Shape) -> Shape | Refusal:
        if request["Key"] not in self.objects:
            return Refusal("NoSuchKey", "The specified key does not exist.")
        return {"Body": io.BytesIO(self.objects[request["Key"]])}

    def ListBuildsForProject(self, request: Shape) -> Shape:
        assert request["sortOrder"] == "DESCENDING"
        name = request["projectName"]
        ids = [build["id"] for build in self.builds if build["projectName"] == name]
        return {"ids": ids} if ids else {}  # the model has no list of nothing

    def BatchGetBuilds(self, request: Shape) -> Shape:
        # Copies, as they are now.
        return {"builds": [dict(build) for build in self.builds if build["id"] in request["ids"]]}

    def StartBuild(self, request: Shape) -> Shape:
        (name,) = (key for key, value in PROJECTS.items() if value == request["projectName"])
        return {"build": dict(self.build(name, "IN_PROGRESS"))}

    def GetLogEvents(self, request: Shape) -> Shape | Refusal:
        if not self.log:
            return Refusal("ResourceNotFoundException")
        start = int(request.get("nextToken", "f/0")[2:])
        events = [{"message": f"{line}\n"} for line in self.log[start : start + 2]]
        return {"events": events, "nextForwardToken": f"f/{start + len(events)}"}

    def ListSecretVersionIds(self, request: Shape) -> Shape | Refusal:
        return self.versions.get(request["SecretId"], Refusal("ResourceNotFoundException"))


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
        self, root: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        self.root, self.cloud, self.patch, self.capsys = root, cloud, monkeypatch, capsys
        self.terminal, self.region = True, "us-east-1"
        self.waiting: Iterator[Callable[[], None]] = iter(())
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.setattr(time, "sleep", lambda _: next(self.waiting)())
        monkeypatch.syspath_prepend(root)
        monkeypatch.setattr(boto3, "client", lambda service, **_: client(service))
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()

    def run(self, command: str, *arguments: str, typed: str | None = None) -> Screen:
        """Runs `python -m ops`, where nobody is at the keyboard if nothing is `typed`."""
        stack = ["--stack", SLUG, "--region", self.region]
        self.patch.setattr(sys, "argv", ["ops", *stack, command, *arguments])
        self.patch.setattr(sys, "stdin", Keyboard(typed or "", self.terminal and typed is not None))
        with pytest.raises(SystemExit) as stop:
            runpy.run_module("ops", run_name="__main__")
        out, err = self.capsys.readouterr()
        return Screen(stop.value.code, out, err)


@contextlib.contextmanager
def answering(cloud: Aws) -> Iterator[None]:
    """Has the account answer every client here."""

    def keep(params: Shape, context: Shape, **_: Any) -> None:
        context["request"] = params

    handlers = {"before-parameter-build": keep, "before-call": cloud.answer}
    registrations = list(itertools.product(map(client, SERVICES), handlers.items()))
    for service, (event, handler) in registrations:
        service.meta.events.register_first(event, handler, unique_id=f"cloud-{event}")
    try:
        yield
    finally:
        for service, (event, _) in registrations:
            service.meta.events.unregister(event, unique_id=f"cloud-{event}")


def forget_modules() -> None:
    """Has the next repository's commands imported anew."""
    for module in [name for name in sys.modules if name.split(".")[0] in ("ops", "cicd")]:
        del sys.modules[module]


@contextlib.contextmanager
def at_work(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    cloud: Cloud | None = None,
    moto: bool = False,
) -> Iterator[Operator]:
    """An operator, and no trace of the commands' modules afterwards."""
    cloud = cloud or Cloud()
    cloud.has_moto = moto
    forget_modules()
    mock = mock_aws(config={"core": {"mock_credentials": False}})
    with mock if moto else contextlib.nullcontext(), answering(cloud):
        yield Operator(root, cloud, monkeypatch, capsys)
    monkeypatch.delenv("TZ")
    time.tzset()
    forget_modules()
