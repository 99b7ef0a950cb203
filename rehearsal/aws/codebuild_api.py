"""CodeBuild's API as operators ask it, answered from the builds that are played.

https://docs.aws.amazon.com/codebuild/latest/APIReference/API_Operations.html
"""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rehearsal.aws.codebuild import Build, CodeBuild


def describe(codebuild: "CodeBuild", build: "Build") -> dict[str, Any]:
    """A build as the API tells of it."""
    logical = codebuild.aws.logical("CodeBuild::Project", build.project)
    project = codebuild.aws.of_type("CodeBuild::Project")[logical]
    group = project.get("LogsConfig", {}).get("CloudWatchLogs", {}).get("GroupName", "")
    return {
        "id": build.id,
        "projectName": build.project,
        "buildStatus": build.status,
        "startTime": build.started,
        "phases": [
            {
                "phaseType": phase.name,
                "phaseStatus": phase.status,
                "contexts": [{"message": phase.message}] if phase.message else [],
            }
            for phase in build.phases
        ],
        "logs": {"groupName": group, "streamName": build.id.rpartition(":")[2]},
        "exportedEnvironmentVariables": [
            {"name": name, "value": value} for name, value in build.exported.items()
        ],
    }


def get(codebuild: "CodeBuild", given: dict[str, Any]) -> dict[str, Any]:
    """BatchGetBuilds"""
    found = [build for build in codebuild.builds if build.id in given["ids"]]
    return {"builds": [describe(codebuild, build) for build in found]}


def of_project(codebuild: "CodeBuild", given: dict[str, Any]) -> dict[str, Any]:
    """ListBuildsForProject, newest first."""
    name = given["projectName"]
    return {"ids": [build.id for build in reversed(codebuild.builds) if build.project == name]}


def start(codebuild: "CodeBuild", given: dict[str, Any]) -> dict[str, Any]:
    """StartBuild, in the background; also with sources in S3 and another buildspec."""
    logical = codebuild.aws.logical("CodeBuild::Project", given["projectName"])
    begun: list[Build] = []
    there = threading.Event()

    def note(build: "Build") -> None:
        begun.append(build)
        there.set()

    inputs = {}
    if given.get("sourceTypeOverride") == "S3":
        bucket, _, key = given["sourceLocationOverride"].partition("/")
        inputs["Source"] = (bucket, key)
    variables = given.get("environmentVariablesOverride", [])
    how = {"version": given.get("sourceVersion", ""), "spec": given.get("buildspecOverride", "")}

    def run() -> None:
        codebuild.run(logical, variables, inputs, {}, "operator", note, **how)

    threading.Thread(target=run, daemon=True).start()
    there.wait(30)
    return {"build": describe(codebuild, begun[0])}


ANSWERS = {"StartBuild": start, "BatchGetBuilds": get, "ListBuildsForProject": of_project}
