"""CodeBuild: starts builds of the stack's projects, for an action, a rule or an operator.

https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Operations.html
"""

import functools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from rehearsal.aws.account import Account
from rehearsal.aws.build import (
    Build,
    BuildRequest,
    Context,
    Folder,
    Location,
    Log,
    Phase,
    stream_of,
)
from rehearsal.aws.build_run import Run, Settings
from rehearsal.aws.errors import AwsError, Unsupported
from rehearsal.aws.events import Message
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape

EVENT_INPUT = {"environmentVariablesOverride", "sourceVersion"}  # what a rule may say here


class CodeBuild:
    """Runs builds below `home`. `builds` has all of them in order.

    `watch(build)` is called whenever a build has changed, `tell(build, line)` for each line of log.
    """

    def __init__(self, account: Account, home: Path, settings: Settings) -> None:
        self.account, self.home, self.settings = account, home, settings
        self.watch: Callable[[Build], None] = lambda build: None
        self.tell: Callable[[Build, str], None] = lambda build, line: None
        self.builds: list[Build] = []
        account.bus.connect("codebuild", self.receive, "codebuild:StartBuild")

    def run(
        self, logical: str, request: BuildRequest, begun: Callable[[Build], None] | None = None
    ) -> Build:
        """Runs a project's build to its end and returns it, failed or not.

        `begun` is called with the build before it runs. The event of its end goes on the bus.
        """
        context = self.prepare(logical, request)
        build = context.build
        self.builds.append(build)
        if begun:
            begun(build)
        log = Log(context, lambda line: self.tell(build, line))
        Run(context, self.settings, log, lambda: self.watch(build)).run()
        self.announce_end(context)
        return build

    def prepare(self, logical: str, request: BuildRequest) -> Context:
        """A new build of a project, with its folder."""
        stack = self.account.stack
        role = stack.logical("IAM::Role", stack.properties(logical)["ServiceRole"])
        name = stack.arn_name(logical)
        number = 1 + sum(build.project == name for build in self.builds)
        folder = Folder(self.home / f"{name}-{number}")
        folder.make()
        build = Build(f"{name}:{number:08d}", name, role, folder.root / "build.log")
        return Context(self.account, logical, request, build, folder)

    def receive(self, message: Message) -> Build:
        """Runs the build that a rule's target names.

        https://docs.aws.amazon.com/codebuild/latest/APIReference/API_StartBuild.html
        """
        logical = self.project(message.target)
        overrides = start_input(message)
        return self.run(
            logical,
            BuildRequest(
                initiator=f"rule/{message.rule_arn.rpartition('/')[2]}",
                variables=overrides.get("environmentVariablesOverride", []),
                version=overrides.get("sourceVersion", ""),
            ),
        )

    def project(self, name: str) -> str:
        """A project's logical ID by its name or ARN. Raises AwsError."""
        return self.account.stack.logical("CodeBuild::Project", name)

    def announce_end(self, context: Context) -> None:
        """Puts the event of a build's end on the bus.

        https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html
        """
        build, arn = context.build, context.build_arn
        link = f"https://console.aws.amazon.com/cloudwatch/home#logEvent:{build.id}"
        detail = {
            "build-status": build.status,
            "project-name": build.project,
            "build-id": arn,
            "additional-information": {"logs": {"deep-link": link}},
        }
        self.account.bus.put("aws.codebuild", "CodeBuild Build State Change", detail, arn)


def start_input(message: Message) -> dict[str, Any]:
    """What a rule's input says to StartBuild, as AWS's own model validates it.

    Raises AwsError for what StartBuild would refuse, Unsupported for what is not played here.
    """
    overrides: dict[str, Any] = message.input
    if "detail-type" in overrides:
        return {}  # an event itself says nothing to StartBuild
    model = botocore.session.get_session().get_service_model("codebuild")
    shape = model.operation_model("StartBuild").input_shape
    report = ParamValidator().validate({"projectName": message.target, **overrides}, shape)
    if report.has_errors() or set(overrides) - set(shape.members):
        why = f"{message.rule}: StartBuild: {report.generate_report()} {overrides}"
        raise AwsError("InvalidInputException", why)
    if unknown := set(overrides) - EVENT_INPUT:
        raise Unsupported(f"{message.rule}: no {sorted(unknown)} in a rehearsal")
    return overrides


def batch_get_builds(codebuild: CodeBuild, request: Request) -> Shape:
    """BatchGetBuilds"""
    ids = request.parameters["ids"]
    return {"builds": [describe(codebuild, build) for build in codebuild.builds if build.id in ids]}


def list_builds(codebuild: CodeBuild, request: Request) -> Shape:
    """ListBuildsForProject, newest first."""
    name = request.parameters["projectName"]
    return {"ids": [build.id for build in reversed(codebuild.builds) if build.project == name]}


def start_build(codebuild: CodeBuild, request: Request) -> Shape:
    """StartBuild, in the background; also with sources in S3 and another buildspec."""
    parameters = request.parameters
    logical = codebuild.project(parameters["projectName"])
    started: list[Build] = []
    begun = threading.Event()

    def note(build: Build) -> None:
        started.append(build)
        begun.set()

    build_request = read_start(parameters)
    work = functools.partial(codebuild.run, logical, build_request, note)
    threading.Thread(target=work, daemon=True).start()
    begun.wait(30)
    return {"build": describe(codebuild, started[0])}


def read_start(parameters: Shape) -> BuildRequest:
    """What StartBuild is asked for."""
    request = BuildRequest(
        initiator="operator",
        variables=parameters.get("environmentVariablesOverride", []),
        version=parameters.get("sourceVersion", ""),
        buildspec=parameters.get("buildspecOverride", ""),
    )
    if parameters.get("sourceTypeOverride") == "S3":
        request.inputs[""] = Location.of_source(parameters["sourceLocationOverride"])
    for source in parameters.get("secondarySourcesOverride", []):
        request.inputs[source["sourceIdentifier"]] = Location.of_source(source["location"])
    return request


def describe(codebuild: CodeBuild, build: Build) -> Shape:
    """A build as the API shows it."""
    project = codebuild.account.stack.properties(codebuild.project(build.project))
    stream = stream_of(project, build)
    return {
        "id": build.id,
        "projectName": build.project,
        "buildStatus": build.status,
        "startTime": build.started,
        "phases": [describe_phase(phase) for phase in build.phases],
        "logs": {"groupName": stream.group, "streamName": stream.name},
        "exportedEnvironmentVariables": [
            {"name": name, "value": value} for name, value in build.exported.items()
        ],
    }


def describe_phase(phase: Phase) -> Shape:
    """A phase as the API shows it."""
    messages = filter(None, [phase.message])
    return {
        "phaseType": phase.name,
        "phaseStatus": phase.status,
        "contexts": [{"message": message} for message in messages],
    }


def operations(codebuild: CodeBuild) -> Mapping[str, Operation]:
    """What is answered here."""
    return {
        "BatchGetBuilds": functools.partial(batch_get_builds, codebuild),
        "ListBuildsForProject": functools.partial(list_builds, codebuild),
        "StartBuild": functools.partial(start_build, codebuild),
    }
