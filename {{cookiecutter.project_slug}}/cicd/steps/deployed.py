"""Fetches the release that production has: its commit's files, and the wheel that was approved.

Usage: python deployed.py PIPELINE FOLDER

Exits with 3 if nothing was ever deployed. Takes only the wheel from QA's artifact: whatever else is
in there, nobody has approved it.
"""

import argparse
import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

import names
from release import Artifact, Refused, approved_checksum, deployed, fetch

NOTHING = 3  # exit code


def take_wheel(artifact: zipfile.ZipFile, checksum: str, dist: Path) -> None:
    """Puts the one wheel of QA's artifact into a folder. Raises Refused if it is another one."""
    wheels = [name for name in artifact.namelist() if name.endswith(".whl")]
    if len(wheels) != 1:
        raise Refused(f"the deployed release has {len(wheels)} wheels, not one")
    content = artifact.read(wheels[0])
    if hashlib.sha256(content).hexdigest() != checksum:
        raise Refused(f"{Path(wheels[0]).name} is not the wheel that was approved; it was replaced")
    dist.mkdir()
    (dist / Path(wheels[0]).name).write_bytes(content)


def fetch_release(pipeline: str, release: dict[str, Artifact], folder: Path) -> None:
    """Fills a folder with a release. Raises Refused."""
    checksum = approved_checksum(pipeline)
    if not checksum:
        raise Refused("the deployed release has no WHEEL_SHA256; deploy once more: make start")
    with tempfile.TemporaryDirectory() as scratch:
        with fetch(release[names.SOURCE], Path(scratch)) as source:
            # A commit may have its own dist/, but production got what QA had tested.
            source.extractall(
                folder,
                [name for name in source.namelist() if Path(name).parts[:1] != ("dist",)],
            )
        with fetch(release[names.WHEEL], Path(scratch)) as artifact:
            take_wheel(artifact, checksum, folder / "dist")


def main() -> None:
    """Fetches what the command line names."""
    parser = argparse.ArgumentParser(description="Fetches the release that production has.")
    parser.add_argument("pipeline")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        release = deployed(options.pipeline)
        if not release:
            sys.exit(NOTHING)
        fetch_release(options.pipeline, release, options.folder)
    except Refused as refused:
        sys.exit(f"deployed.py: {refused}")


if __name__ == "__main__":
    main()
