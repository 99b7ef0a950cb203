"""Stops unless a commit's cicd/ is the one that an administrator has deployed.

Usage: python same_cicd.py COMMIT_FOLDER

The builds that hold production's credential run the administrator's cicd/, to which this file
belongs. If the commit has another one, QA has tested with other tools than production would use.
"""

import hashlib
import os
import sys
from pathlib import Path

OWN = Path(__file__).resolve().parents[1]
MOST = 3  # files in the message


def content(path: Path) -> str:
    """Returns what tells a file from another one: a link's target, or the file's SHA-256."""
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> dict[str, str]:
    """Returns every file below a folder, links included, by its path there."""
    if folder.is_symlink():
        return {".": content(folder)}
    places = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    # os.walk lists a link to a folder as a folder, and does not follow it.
    places += [
        Path(parent, name)
        for parent, folders, _ in os.walk(folder)
        for name in folders
        if Path(parent, name).is_symlink()
    ]
    return {path.relative_to(folder).as_posix(): content(path) for path in places}


def difference(name: str, deployed: dict[str, str], committed: dict[str, str]) -> str:
    """Returns what the commit has done to a file."""
    if name not in committed:
        word = "removed"
    elif name in deployed:
        word = "changed"
    else:
        word = "added"
    return f"{word} {'cicd/' + name!a}"


def differences(commit: Path) -> list[str]:
    """Returns what the commit has added, changed or removed in cicd/."""
    deployed, committed = files(OWN), files(commit / "cicd")
    names = sorted(deployed | committed)
    return [
        difference(name, deployed, committed)
        for name in names
        if deployed.get(name) != committed.get(name)
    ]


def main() -> int:
    """Compares; returns the exit code."""
    if len(sys.argv) != 2:
        print("usage: python same_cicd.py COMMIT_FOLDER", file=sys.stderr)
        return 2
    found = differences(Path(sys.argv[1]))
    if not found:
        return 0
    rest = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    author = os.environ.get("COMMIT_AUTHOR", "unknown")  # quoted by author.py
    print(
        f"same_cicd.py: the commit (author: {author}) has {', '.join(found[:MOST])}{rest}, but"
        " cicd/ decides about production: someone who may change the stack has to review that,"
        " ops/ and the Makefile, and run make stack on this commit. Then: make start",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
