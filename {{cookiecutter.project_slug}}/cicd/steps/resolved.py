"""Refuses what leads out of the repository or of the target's folder once variables have values.

Usage: python resolved.py RESOLVED.JSON, the output of `databricks bundle validate -o json`

bundle.py reads a bundle before the client does, and so before `${var.x}${var.x}/` is `../`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDERS = ("artifact_path", "file_path", "resource_path", "state_path")


def texts(node: Any) -> Iterator[str]:
    """Yields every text at or below a node."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from (key, *texts(value))
    elif isinstance(node, list):
        for item in node:
            yield from texts(item)


def problems(bundle: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with a resolved bundle, and how to fix it."""
    for text in texts(bundle):
        if ".." in text.replace("\\", "/").split("/"):
            yield f"{text!a} leads out of the repository; name a path in it"
    workspace = bundle["workspace"]
    root = f"{workspace['root_path']}/"
    for name in FOLDERS:
        if not workspace.get(name, root).startswith(root):
            yield f"workspace.{name} is {workspace[name]!a}, not below root_path; remove it"


def main() -> None:
    """Checks the file that the command line names; exits with one line if it finds anything."""
    if len(sys.argv) != 2:
        sys.exit("usage: python resolved.py RESOLVED.JSON")
    bundle = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if problem := next(problems(bundle), ""):
        sys.exit(f"resolved.py: databricks.yml: {problem}")


if __name__ == "__main__":
    main()
