"""What reached production before this release, and what has changed since.

Usage: python cicd/steps/release.py status|wait|changes PIPELINE

status: what came of the last deployment, `Succeeded` or another word of CodePipeline's.
wait: until no deployment is at work, for a plan that is made meanwhile would be stale.
changes: which files, and what in the wheel, changed since the last release, as Markdown. Compares
this directory and dist/*.whl with what that release's artifacts hold.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

from plan import cut

MADE_HERE = {".databricks", "__pycache__", "changed.md", "dist", "plan.json"}
LINES = 100
SECONDS = 5  # between two looks at the pipeline
LONGEST = 20 * 60  # where only one build may run at a time, the deployment waits for this one
# The newest success of the stage Production, a rollback's too: its inputs are what is deployed.
DEPLOYED = (
    "actionExecutionDetails[?stageName=='Production' && status=='Succeeded'] | [0]"
    ".input.inputArtifacts[].[name, s3location.bucket, s3location.key]"
)


def aws(*arguments: str) -> str:
    """What the AWS client prints. Raises CalledProcessError, with what it said in `stderr`."""
    command = ["aws", *arguments, "--output", "json"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def latest(pipeline: str, what: str) -> str:
    """Of the execution that entered the stage Production last: its status, or its type."""
    query = f"stageStates[?stageName=='Production'].latestExecution.{what} | [0]"
    asked = ("codepipeline", "get-pipeline-state", "--name", pipeline, "--query", query)
    return json.loads(aws(*asked) or "null") or ""


def wait(pipeline: str) -> None:
    """Returns when no deployment to production is at work. Exits after LONGEST seconds."""
    started = time.monotonic()
    while latest(pipeline, "status") in ("InProgress", "Stopping"):
        waited = time.monotonic() - started
        if waited < SECONDS:
            print("Production is at work; the plan is made when it is done.", flush=True)
        if waited > LONGEST:
            sys.exit("release.py: Production is still at work; when it is done, retry this stage")
        time.sleep(SECONDS)


def deployed(pipeline: str) -> dict[str, tuple[str, str]]:
    """Bucket and key by artifact name of the release that is deployed; empty before the first."""
    about = ("codepipeline", "list-action-executions", "--pipeline-name", pipeline)
    found = json.loads(aws(*about, "--query", DEPLOYED) or "null")
    return {name: (bucket, key) for name, bucket, key in found or []}


def fetch(bucket: str, key: str, folder: Path) -> zipfile.ZipFile:
    """An artifact of the pipeline, opened. Raises CalledProcessError where it is gone."""
    file = folder / key.replace("/", "-")
    aws("s3api", "get-object", "--bucket", bucket, "--key", key, str(file))
    return zipfile.ZipFile(file)


def checksums(archive: zipfile.ZipFile) -> dict[str, int]:
    """CRC-32 by name of the files in an archive; of a wheel without its version and its record."""
    own = re.compile(r"[^/]+\.dist-info/")
    found = {own.sub(".dist-info/", one.filename): one for one in archive.infolist()}
    skip = (".dist-info/METADATA", ".dist-info/RECORD")
    return {name: one.CRC for name, one in found.items() if not one.is_dir() and name not in skip}


def here() -> dict[str, int]:
    """CRC-32 by name of the files in this directory."""
    return {
        path.as_posix(): zlib.crc32(path.read_bytes())
        for path in Path().rglob("*")
        if path.is_file() and not MADE_HERE & {path.parts[0], path.parent.name}
    }


def differences(old: dict[str, int], new: dict[str, int]) -> list[str]:
    """A line for each file that was added, changed or removed; cut with a count."""
    lines = [
        f"- {'added' if name not in old else 'removed' if name not in new else 'changed'} {name}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    return cut(lines, LINES) or ["- nothing"]


def compare(release: dict[str, tuple[str, str]], wheel: Path) -> list[str]:
    """What changed, as lines of Markdown. Raises CalledProcessError where an artifact is gone."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with fetch(*release["Source"], folder) as source:
            files = differences(checksums(source), here())
        with fetch(*release["Wheel"], folder) as artifact:
            (name,) = (name for name in artifact.namelist() if name.endswith(".whl"))
            before = Path(artifact.extract(name, folder))
        with zipfile.ZipFile(before) as old, zipfile.ZipFile(wheel) as new:
            inside = differences(checksums(old), checksums(new))
    wheels = f"## In the wheel: {before.name} -> {wheel.name}"
    return ["## Files, since the last release", "", *files, "", wheels, "", *inside]


def changes(pipeline: str) -> None:
    """Prints what changed, or why there is nothing to compare with."""
    (wheel,) = Path("dist").glob("*.whl")
    release = deployed(pipeline)
    try:
        lines = compare(release, wheel) if release else ["This is the first release."]
    except subprocess.CalledProcessError as error:
        if "NoSuchKey" not in error.stderr:
            raise
        lines = ["The last release's files have expired: they are not compared."]
    print("\n".join(lines))


if __name__ == "__main__":
    how = {"status": lambda name: print(latest(name, "status")), "wait": wait, "changes": changes}
    if len(sys.argv) != 3 or sys.argv[1] not in how:
        sys.exit(__doc__)
    try:
        how[sys.argv[1]](sys.argv[2])
    except subprocess.CalledProcessError as refused:
        sys.exit(f"release.py: {' '.join(refused.cmd[:3])}: {refused.stderr.strip()}")
