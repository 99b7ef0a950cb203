"""What reached production before this release, and what has changed since.

Usage: python release.py status|wait|changes PIPELINE

status: how the last deployment ended, `Succeeded` or another word of CodePipeline.
wait: until no deployment is running, because a plan that is made meanwhile would be stale.
changes: which files, and what in the wheel, changed since the last release, as Markdown. Compares
the artifacts of the execution that is in review with those of that release, because a directory has
also what the build made, and may lack what an archive has. The wheel is the one in dist/.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import names
from changes import WHEEL_NAME, Wheel, differences, files_of, wheel_differences
from texts import quoted

SECONDS = 5  # between two requests at the pipeline
LONGEST = 20 * 60  # where only one build may run at a time, the deployment waits for this one
# The newest success of Production's Deploy, a rollback's too: its inputs are what is deployed.
# The drift build in cicd/stack.yml repeats this query: until it knows which release is deployed, it
# has no sources, and so not this file.
DEPLOYED = (
    f"actionExecutionDetails[?stageName=='{names.PRODUCTION}' && actionName=='{names.DEPLOY}'"
    " && status=='Succeeded'] | [0]"
    ".input.inputArtifacts[].[name, s3location.bucket, s3location.key]"
)
# What the approval of that release had handed on to its Deploy.
CONFIGURATION = DEPLOYED.partition(".input.")[0] + (
    ".input.resolvedConfiguration.EnvironmentVariables"
)
# The commit's files that the pipeline has handed to an execution.
REVIEWED = (
    f"actionExecutionDetails[].output.outputArtifacts[] | [?name=='{names.SOURCE}'] | [0]"
    ".s3location.[bucket, key]"
)


class Refused(Exception):
    """The call that AWS refused, and its reason, in one line."""


class Artifact(NamedTuple):
    """Where the pipeline keeps an artifact."""

    bucket: str
    key: str


def aws(*arguments: str) -> str:
    """Returns what the AWS CLI prints. Raises Refused."""
    command = ["aws", *arguments, "--output", "json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise Refused(f"{' '.join(command[:3])}: {' '.join(result.stderr.split())}")
    return result.stdout


# ---- The last deployment -------------------------------------------------------------------------


def latest(pipeline: str, field: str, stage: str = names.PRODUCTION) -> str:
    """Returns a field of the execution that entered a stage last, or ""."""
    query = f"stageStates[?stageName=='{stage}'].latestExecution.{field} | [0]"
    answer = aws("codepipeline", "get-pipeline-state", "--name", pipeline, "--query", query)
    return json.loads(answer) or ""


def deployment_status(pipeline: str) -> str:
    """Returns how the last deployment ended, or that it runs; "" before the first.

    Not the stage's status: after the deployment the stage goes on to run the job.
    """
    query = (
        f"stageStates[?stageName=='{names.PRODUCTION}'].actionStates[]"
        f" | [?actionName=='{names.DEPLOY}'].latestExecution.status | [0]"
    )
    answer = aws("codepipeline", "get-pipeline-state", "--name", pipeline, "--query", query)
    return json.loads(answer) or ""


def print_status(pipeline: str) -> None:
    """Prints how the last deployment ended, or that it runs."""
    print(deployment_status(pipeline))


def wait(pipeline: str) -> None:
    """Returns when no deployment to production is running. Exits after LONGEST seconds."""
    started = time.monotonic()
    while deployment_status(pipeline) in names.RUNNING:
        waited = time.monotonic() - started
        if waited < SECONDS:
            print("A deployment to production is running; the plan waits for its end.", flush=True)
        if waited > LONGEST:
            sys.exit(
                "release.py: the deployment to production is still running; retry this stage when"
                " it has ended"
            )
        time.sleep(SECONDS)


def deployed(pipeline: str) -> dict[str, Artifact]:
    """Returns the artifacts of the release that is deployed, by name; none before the first."""
    call = ("codepipeline", "list-action-executions", "--pipeline-name", pipeline)
    rows = json.loads(aws(*call, "--query", DEPLOYED)) or []
    return {name: Artifact(bucket, key) for name, bucket, key in rows}


def approved_checksum(pipeline: str) -> str:
    """Returns the SHA-256 of the wheel that was approved with that release; "" if it has none."""
    call = ("codepipeline", "list-action-executions", "--pipeline-name", pipeline)
    text = json.loads(aws(*call, "--query", CONFIGURATION))
    variables = {item["name"]: item["value"] for item in json.loads(text or "[]")}
    return str(variables.get("WHEEL_SHA256", ""))


def reviewed(pipeline: str) -> Artifact:
    """Returns the sources of the execution that is in review. Raises Refused."""
    execution = latest(pipeline, "pipelineExecutionId", names.REVIEW)
    call = ("codepipeline", "list-action-executions", "--pipeline-name", pipeline)
    this = ("--filter", f"pipelineExecutionId={execution}", "--query", REVIEWED)
    place = json.loads(aws(*call, *this))
    if not place:
        raise Refused(f"{pipeline} has no artifact {names.SOURCE} of the execution in review")
    return Artifact(*place)


# ---- What changed since --------------------------------------------------------------------------


def fetch(artifact: Artifact, folder: Path) -> zipfile.ZipFile:
    """Downloads and opens an artifact. Raises Refused if it has expired."""
    file = folder / artifact.key.replace("/", "-")
    aws("s3api", "get-object", "--bucket", artifact.bucket, "--key", artifact.key, str(file))
    return zipfile.ZipFile(file)


def the_wheel(paths: list[Path], place: str) -> Path:
    """Returns the only one. Raises Refused if there is none, or several."""
    if len(paths) != 1:
        raise Refused(f"there are {len(paths)} wheels in {place}, not one")
    return paths[0]


def wheel_of(release: Artifact, checksum: str, folder: Path) -> Path:
    """Returns the wheel of an artifact, in a folder. Raises Refused if it is another one.

    QA's build may write to its key at any time. Names no file of the artifact, for the same reason.
    """
    with fetch(release, folder) as archive:
        wheels = [name for name in archive.namelist() if name.endswith(".whl")]
        wheel = the_wheel([Path(archive.extract(name, folder)) for name in wheels], "the artifact")
    approved = hashlib.sha256(wheel.read_bytes()).hexdigest() == checksum
    if not approved or not WHEEL_NAME.fullmatch(wheel.name):
        raise Refused(
            f"the wheel of the last release was replaced in s3://{release.bucket}/{release.key};"
            " nothing is compared. Find out by whom, and restore the object's earlier version"
        )
    return wheel


def inside(release: Artifact, checksum: str, wheel: Path, folder: Path) -> list[str]:
    """Returns what changed in the wheel, as lines of Markdown. Raises Refused."""
    if not checksum:
        why = "nobody can tell which wheel was approved with that release"
        return [f"## In the wheel: {quoted(wheel.name)}", "", f"- not compared: {why}"]
    before = wheel_of(release, checksum, folder)
    title = f"## In the wheel: {quoted(before.name)} -> {quoted(wheel.name)}"
    return [title, "", *wheel_differences(Wheel(before), Wheel(wheel))]


def compare(pipeline: str, release: dict[str, Artifact], wheel: Path) -> list[str]:
    """Returns what changed, as lines of Markdown. Raises Refused if an artifact has expired."""
    checksum = approved_checksum(pipeline)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with fetch(release[names.SOURCE], folder) as old, fetch(reviewed(pipeline), folder) as new:
            files = differences(files_of(old), files_of(new))
        wheels = inside(release[names.WHEEL], checksum, wheel, folder)
    return ["## Files, since the last release", "", *files, "", *wheels]


def print_changes(pipeline: str) -> None:
    """Prints what changed, or why there is nothing to compare with."""
    wheel = the_wheel(sorted(Path("dist").glob("*.whl")), "dist")
    if not WHEEL_NAME.fullmatch(wheel.name):
        raise Refused(f"{quoted(wheel.name)} is no name of a wheel; make build makes one that is")
    release = deployed(pipeline)
    try:
        lines = compare(pipeline, release, wheel) if release else ["This is the first release."]
    except Refused as refused:
        if "NoSuchKey" not in str(refused):
            raise
        lines = ["The last release's files have expired: they are not compared."]
    except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise Refused(f"an archive is damaged ({error}): they are not compared") from None
    print("\n".join(lines))


def main() -> None:
    """Runs the command that the command line names."""
    commands = {"status": print_status, "wait": wait, "changes": print_changes}
    parser = argparse.ArgumentParser(description="Says what reached production before.")
    parser.add_argument("command", choices=commands)
    parser.add_argument("pipeline")
    options = parser.parse_args()
    try:
        commands[options.command](options.pipeline)
    except Refused as refused:
        sys.exit(f"release.py: {refused}")


if __name__ == "__main__":
    main()
