"""Follows the log of a build until it ends: the pipeline's current or last one, or BUILD's."""

import os
import sys
import time
from typing import Any

import aws_stack
from screen import plain, when

BUILDS = {  # logical IDs in cicd/stack.yml
    "qa": "QaBuild",
    "plan": "PlanBuild",
    "prod": "ProdBuild",
    "drift": "DriftBuild",
    "pull-request": "PullRequestBuild",
}
OF_PIPELINE = ("qa", "plan", "prod")
SECONDS = 3.0  # between two looks

Build = dict[str, Any]


def project(build: str) -> str:
    """The name of a build's project. Exits where the stack has none."""
    found = aws_stack.resources()
    if BUILDS[build] not in found:
        sys.exit(f"the stack has no {BUILDS[build]}; bring it up: make stack")
    return found[BUILDS[build]]


def newest(projects: list[str], count: int = 1) -> list[Build]:
    """The newest builds of each project, newest first."""
    codebuild = aws_stack.client("codebuild")
    ids = []
    for name in projects:
        found = codebuild.list_builds_for_project(projectName=name, sortOrder="DESCENDING")
        ids += found.get("ids", [])[:count]
    builds = codebuild.batch_get_builds(ids=ids)["builds"] if ids else []
    return sorted(builds, key=lambda build: build["startTime"], reverse=True)


def show(build: Build, token: str) -> str:
    """Prints what the log has beyond a token, and returns the token of its end."""
    logs, place = aws_stack.client("logs"), build.get("logs", {})
    if not (place.get("groupName") and place.get("streamName")):
        return token  # the build waits for its machine
    stream = {"logGroupName": place["groupName"], "logStreamName": place["streamName"]}
    while True:
        after = {"nextToken": token} if token else {}
        try:
            page = logs.get_log_events(**stream, startFromHead=True, **after)
        except logs.exceptions.ResourceNotFoundException:
            return token
        for event in page["events"]:
            print(plain(event["message"]).rstrip("\n"))
        sys.stdout.flush()
        if page["nextForwardToken"] == token:
            return token
        token = page["nextForwardToken"]


def follow(build: Build) -> Build:
    """Prints a build's log until the build has ended, and returns it as it ended."""
    codebuild = aws_stack.client("codebuild")
    print(f"{build['id']}, started {when(build['startTime'])}", flush=True)
    token = show(build, "")
    while build["buildStatus"] == "IN_PROGRESS":
        time.sleep(SECONDS)
        (build,) = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
        if build["buildStatus"] != "IN_PROGRESS":
            time.sleep(SECONDS)  # its last lines arrive a little later
        token = show(build, token)
    if not token:
        print("It has no log: none was written, or it has expired (docs/operations.md).")
    return build


def failures(build: Build) -> list[str]:
    """Why a build's phases failed, a line each; there may be no log that says so."""
    return [
        plain(f"{phase['phaseType']}: {context['message']}")
        for phase in build.get("phases", [])
        if phase.get("phaseStatus", "SUCCEEDED") != "SUCCEEDED"
        for context in phase.get("contexts", [])
        if context.get("message")
    ]


def main() -> None:
    """Follows it, and says how it ended."""
    wanted = os.environ.get("BUILD", "").strip()
    if wanted and wanted not in BUILDS:
        sys.exit(f"logs.py: no build {wanted}; there are: {', '.join(BUILDS)}")
    found = newest([project(one) for one in ([wanted] if wanted else OF_PIPELINE)])
    if not found:
        sys.exit("logs.py: there was no such build yet; see: make status")
    running = [build for build in found if build["buildStatus"] == "IN_PROGRESS"]
    try:
        build = follow((running or found)[0])
    except KeyboardInterrupt:
        print("\nNo longer followed; the build itself is not stopped.")
        return
    print("\n".join([*failures(build), build["buildStatus"]]))


if __name__ == "__main__":
    aws_stack.run(main)
