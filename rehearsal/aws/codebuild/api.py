"""CodeBuild's API as operators ask it, answered from the builds that are played.

https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Operations.html
"""

import functools
import threading
from collections.abc import Mapping

from rehearsal.aws.codebuild.log import stream_of
from rehearsal.aws.codebuild.model import Build, BuildRequest, Location, Phase
from rehearsal.aws.codebuild.service import CodeBuild
from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape


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
        bucket, _, key = parameters["sourceLocationOverride"].partition("/")
        request.inputs["Source"] = Location(bucket, key)
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
