"""What reached production before this release, and what has changed since.

Usage: python cicd/steps/release.py status|wait|changes PIPELINE

status: how the last deployment ended, `Succeeded` or another word of CodePipeline.
wait: until no deployment is running, because a plan that is made meanwhile would be stale.
changes: which files, and what in the wheel, changed since the last release, as Markdown. Compares
this directory and dist/*.whl with the artifacts of that release.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import names
from plan import cut

MADE_HERE = {".databricks", "__pycache__", "changed.md", "dist", "plan.json"}
MOST_LINES = 100
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


def latest(pipeline: str, field: str) -> str:
    """Returns a field of the execution that entered the stage Production last, or ""."""
    query = f"stageStates[?stageName=='{names.PRODUCTION}'].latestExecution.{field} | [0]"
    answer = aws("codepipeline", "get-pipeline-state", "--name", pipeline, "--query", query)
    return json.loads(answer or "null") or ""


def deployment_status(pipeline: str) -> str:
    """Returns how the last deployment ended, or that it runs; "" before the first.

    Not the stage's status: after the deployment the stage goes on to run the job.
    """
    query = (
        f"stageStates[?stageName=='{names.PRODUCTION}'].actionStates[]"
        f" | [?actionName=='{names.DEPLOY}'].latestExecution.status | [0]"
    )
    answer = aws("codepipeline", "get-pipeline-state", "--name", pipeline, "--query", query)
    return json.loads(answer or "null") or ""


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
    rows = json.loads(aws(*call, "--query", DEPLOYED) or "null") or []
    return {name: Artifact(bucket, key) for name, bucket, key in rows}


# ---- What changed since --------------------------------------------------------------------------


def fetch(artifact: Artifact, folder: Path) -> zipfile.ZipFile:
    """Downloads and opens an artifact. Raises Refused if it has expired."""
    file = folder / artifact.key.replace("/", "-")
    aws("s3api", "get-object", "--bucket", artifact.bucket, "--key", artifact.key, str(file))
    return zipfile.ZipFile(file)


def checksums(archive: zipfile.ZipFile) -> dict[str, int]:
    """Returns the CRC-32 of each file in an archive; of a wheel, without what has its version."""
    folder = re.compile(r"[^/]+\.dist-info/")  # it carries the version in its name
    of_version = (".dist-info/METADATA", ".dist-info/RECORD")
    files = {folder.sub(".dist-info/", item.filename): item for item in archive.infolist()}
    return {
        name: item.CRC
        for name, item in files.items()
        if not item.is_dir() and name not in of_version
    }


def here() -> dict[str, int]:
    """Returns the CRC-32 of each file in this directory that the build did not make."""
    return {
        path.as_posix(): zlib.crc32(path.read_bytes())
        for path in Path().rglob("*")
        if path.is_file() and not MADE_HERE & {path.parts[0], path.parent.name}
    }


def difference(name: str, old: dict[str, int], new: dict[str, int]) -> str:
    """Returns the word for what happened to a file."""
    if name not in old:
        return "added"
    return "changed" if name in new else "removed"


def differences(old: dict[str, int], new: dict[str, int]) -> list[str]:
    """Returns a line for each file that was added, changed or removed; cut with a count."""
    lines = [
        f"- {difference(name, old, new)} {name}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    return cut(lines, MOST_LINES) or ["- nothing"]


def compare(release: dict[str, Artifact], wheel: Path) -> list[str]:
    """Returns what changed, as lines of Markdown. Raises Refused if an artifact has expired."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with fetch(release[names.SOURCE], folder) as source:
            files = differences(checksums(source), here())
        with fetch(release[names.WHEEL], folder) as artifact:
            (name,) = (name for name in artifact.namelist() if name.endswith(".whl"))
            before = Path(artifact.extract(name, folder))
        with zipfile.ZipFile(before) as old, zipfile.ZipFile(wheel) as new:
            inside = differences(checksums(old), checksums(new))
    wheels = f"## In the wheel: {before.name} -> {wheel.name}"
    return ["## Files, since the last release", "", *files, "", wheels, "", *inside]


def print_changes(pipeline: str) -> None:
    """Prints what changed, or why there is nothing to compare with."""
    (wheel,) = Path("dist").glob("*.whl")
    release = deployed(pipeline)
    try:
        lines = compare(release, wheel) if release else ["This is the first release."]
    except Refused as refused:
        if "NoSuchKey" not in str(refused):
            raise
        lines = ["The last release's files have expired: they are not compared."]
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
