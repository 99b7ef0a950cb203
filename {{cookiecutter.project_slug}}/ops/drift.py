"""Compares production with what was deployed.

Exits with 0 for no drift, 1 for drift, 2 where it could not look. (make itself says 2 for both.)
"""

import sys

import aws_stack
import logs
from screen import plain, when

CLEAN = ("none", "no deployment on record")
UNKNOWN = "not known"  # as cicd/steps/drift.sh begins, where the last deployment did not succeed


def result(build: logs.Build) -> str:
    """What a build found, or nothing where it could not look."""
    exported = {one["name"]: one["value"] for one in build.get("exportedEnvironmentVariables", [])}
    return plain(exported.get("DRIFT", "")) if build["buildStatus"] == "SUCCEEDED" else ""


def last_look(project: str) -> str:
    """What the last build that could look found, and when; and what has come of looking since."""
    builds = logs.newest([project], count=20)
    if not builds:
        return "nobody has looked yet: make drift"
    looked = next((build for build in builds if result(build)), None)
    text = f"{result(looked)} ({when(looked['startTime'])})" if looked else "unknown"
    if builds[0]["buildStatus"] == "IN_PROGRESS":
        return f"{text}; a build is looking now"
    if builds[0] is not looked:
        return f"{text}; the last build could not look ({when(builds[0]['startTime'])})"
    return text


def main() -> None:
    """Starts the build, follows it and says what it found."""
    project = logs.project("drift")
    build = aws_stack.client("codebuild").start_build(projectName=project)["build"]
    build = logs.follow(build)
    found = result(build)
    if not found:
        for why in logs.failures(build):
            print(why)
        sys.exit(f"drift.py: the build could not look: {build['buildStatus']}")
    print(f"Drift: {found}")
    if found.startswith(UNKNOWN):
        sys.exit("drift.py: it can look again when a deployment has succeeded; see: make status")
    sys.exit(0 if found in CLEAN else 1)


if __name__ == "__main__":
    aws_stack.run(main, failure=2)
