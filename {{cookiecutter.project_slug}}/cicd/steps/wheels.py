"""The one wheel of a release.

Usage: python cicd/steps/wheels.py, after the wheel was built; fails unless dist/ has exactly one
that holds something.
"""

import sys
import zipfile
from pathlib import Path


class Unusable(Exception):
    """Why there is no wheel to deploy, and what to do."""


def only(folder: str) -> Path:
    """Returns the one wheel in a folder. Raises Unusable if it is not the only one, or empty."""
    files = sorted(Path(folder).glob("*.whl"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise Unusable(
            f"a release has one wheel, {folder}/ has {len(files)} ({names});"
            " make build makes exactly one"
        )
    try:
        with zipfile.ZipFile(files[0]) as archive:
            content = [name for name in archive.namelist() if ".dist-info/" not in name]
    except (OSError, zipfile.BadZipFile) as error:
        raise Unusable(f"{files[0].name} cannot be read: {error}") from None
    if not content:
        raise Unusable(
            f"{files[0].name} holds no code; in pyproject.toml, tool.hatch.build.targets.wheel must"
            " name a package that exists"
        )
    return files[0]


def main() -> None:
    """Prints the wheel's name; exits with one line if there is none to deploy."""
    try:
        print(f"The release's wheel: {only('dist')}")
    except Unusable as unusable:
        sys.exit(f"wheels.py: {unusable}")


if __name__ == "__main__":
    main()
