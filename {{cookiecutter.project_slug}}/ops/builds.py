"""The stack's builds: follows their logs, and runs the build that looks for drift."""

import sys
import time
from typing import Any, NamedTuple

from cicd.steps import names
from ops import Stop
from ops.aws import Stack, plain, when

# The builds that an operator can name: their logical IDs in cicd/stack.yml.
PROJECTS = {
    "qa": "QaBuild",
    "plan": "PlanBuild",
    "prod": "ProdBuild",
    "drift": "DriftBuild",
    "pull-request": "PullRequestBuild",
}
OF_PIPELINE = ("qa", "plan", "prod")
SECONDS = 3.0  # between two requests

Build = dict[str, Any]


class Builds:
    """The builds of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = stack.client("codebuild")
        self.logs = stack.client("logs")

    def project(self, name: str) -> str:
        """The name of a build's project. Raises Stop if the stack has none."""
        resources = self.stack.resources()
        if PROJECTS[name] not in resources:
            raise Stop(f"the stack has no {PROJECTS[name]}; bring it up: make stack")
        return resources[PROJECTS[name]]

    def newest(self, projects: list[str], count: int = 1) -> list[Build]:
        """The newest builds of each project, newest first."""
        ids: list[str] = []
        for project in projects:
            page = self.client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")
            ids += page.get("ids", [])[:count]
        builds = self.client.batch_get_builds(ids=ids)["builds"] if ids else []
        return sorted(builds, key=lambda build: build["startTime"], reverse=True)

    def refresh(self, build: Build) -> Build:
        """The build as it is now."""
        (build,) = self.client.batch_get_builds(ids=[build["id"]])["builds"]
        return build

    def show(self, build: Build, token: str) -> str:
        """Prints what the log has beyond a token, and returns the token of its end."""
        place = build.get("logs", {})
        if not (place.get("groupName") and place.get("streamName")):
            return token  # the build waits for its machine
        stream = {"logGroupName": place["groupName"], "logStreamName": place["streamName"]}
        while True:
            after = {"nextToken": token} if token else {}
            try:
                page = self.logs.get_log_events(**stream, startFromHead=True, **after)
            except self.logs.exceptions.ResourceNotFoundException:
                return token
            for event in page["events"]:
                print(plain(event["message"]).rstrip("\n"))
            sys.stdout.flush()
            if page["nextForwardToken"] == token:  # this page was the last
                return token
            token = page["nextForwardToken"]

    def follow(self, build: Build) -> Build:
        """Prints a build's log until the build has ended, and returns it as it ended."""
        print(f"{build['id']}, started {when(build['startTime'])}", flush=True)
        token = self.show(build, "")
        while build["buildStatus"] == "IN_PROGRESS":
            time.sleep(SECONDS)
            build = self.refresh(build)
            if build["buildStatus"] != "IN_PROGRESS":
                time.sleep(SECONDS)  # its last lines arrive a little later
            token = self.show(build, token)
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


def follow(stack: Stack, name: str | None) -> None:
    """Follows a build, the pipeline's current or last one by default, and says how it ended."""
    builds = Builds(stack)
    newest = builds.newest([builds.project(key) for key in ([name] if name else OF_PIPELINE)])
    if not newest:
        raise Stop("there was no such build yet; see: make status")
    running = [build for build in newest if build["buildStatus"] == "IN_PROGRESS"]
    try:
        build = builds.follow((running or newest)[0])
    except KeyboardInterrupt:
        print("\nNo longer followed; the build itself is not stopped.")
        return
    print("\n".join([*failures(build), build["buildStatus"]]))


# ---- Drift ---------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """What a drift build says of production: a word of cicd/steps/names.py, and a sentence."""

    build: Build
    status: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.sentence} ({when(self.build['startTime'])})"


def comparison(build: Build) -> Comparison | None:
    """What a drift build says, or None if it could not compare."""
    variables = build.get("exportedEnvironmentVariables", [])
    exported = {variable["name"]: variable["value"] for variable in variables}
    # A build that failed may have exported what it said before.
    if build["buildStatus"] != "SUCCEEDED" or not exported.get(names.DRIFT_STATUS):
        return None
    return Comparison(build, exported[names.DRIFT_STATUS], plain(exported.get(names.DRIFT, "")))


def last_comparison(stack: Stack) -> str:
    """What the last build that could compare said, when, and what has happened since."""
    builds = Builds(stack)
    newest = builds.newest([builds.project("drift")], count=20)
    if not newest:
        return "not compared yet: make drift"
    last = next(filter(None, map(comparison, newest)), None)
    text = str(last or "unknown")
    if newest[0]["buildStatus"] == "IN_PROGRESS":
        return f"{text}; a build is comparing now"
    if last is None or last.build is not newest[0]:
        return f"{text}; the last build could not compare ({when(newest[0]['startTime'])})"
    return text


def compare(stack: Stack) -> int:
    """Starts the drift build, follows it, and returns 0 for no drift, 1 for drift."""
    builds = Builds(stack)
    started = builds.client.start_build(projectName=builds.project("drift"))["build"]
    build = builds.follow(started)
    result = comparison(build)
    if result is None:
        for failure in failures(build):
            print(failure)
        raise Stop(f"the build could not compare: {build['buildStatus']}")
    print(f"Drift: {result.sentence}")
    if result.status == names.UNKNOWN:
        raise Stop("a comparison needs a deployment that succeeded; see: make status")
    return int(result.status == names.DRIFTED)
