"""Paths of a bundle: made the workspace's, and the files that a deployment uploads."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rehearsal.databricks.bundle.source import Map, leaves
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace.files import is_notebook

# The fields of resources that name files or folders of the bundle.
REMOTE = re.compile(
    r"jobs\.[^.]+\.tasks\[\d+\]\.(for_each_task\.task\.)?(notebook_task\.notebook_path"
    r"|spark_python_task\.python_file|sql_task\.file\.path|dbt_task\.project_directory)"
    r"|pipelines\.[^.]+\.(root_path|libraries\[\d+\]\.((notebook|file)\.path|glob\.include))"
)
# The fields that name wheels or packages.
LIBRARY = re.compile(r"(jobs|pipelines)\..+\.(libraries\[\d+\]\.(whl|jar)|dependencies\[\d+\])")
ABSOLUTE = re.compile(r"/|\w+:|\$\{")


def translate(root: Path, config: Map) -> None:
    """Makes paths, which are relative to the file that has them, the workspace's.

    Paths of wheels become relative to the bundle's root. Raises Invalid for a missing file.
    """
    for path, container, key, value in leaves(config.section("resources")):
        if not isinstance(value, str) or ABSOLUTE.match(value):
            continue
        if not REMOTE.fullmatch(path) and not _is_local_library(path, value):
            continue
        source = container.places[key][1].partition(":")[0]
        local = os.path.normpath(Path(source).parent / value)
        if REMOTE.fullmatch(path):
            container[key] = f"{config['workspace']['file_path']}/{_checked(root, path, local)}"
        else:
            container[key] = f"./{local}"


def _is_local_library(path: str, value: str) -> bool:
    return bool(LIBRARY.fullmatch(path)) and (value.startswith(".") or ".whl" in value)


def _checked(root: Path, path: str, local: str) -> str:
    """The path of a file as the workspace has it, without a notebook's suffix."""
    if path.endswith("root_path") or not path.endswith(("path", "file")):
        return local  # a folder or a pattern
    field = path.split(".", 2)[2]
    kind = "notebook" if "notebook" in field else "file"
    if not (root / local).is_file():
        raise Invalid(f"{kind} {local} not found")
    if kind == "file":
        return local
    if not is_notebook(root / local):
        raise Invalid(f"expected a notebook for {path}: {local} is not one")
    return local.removesuffix(".py")


def _local_libraries(root: Path, config: Map) -> Iterator[tuple[Any, Any, list[Path]]]:
    """Container, key and files of each path to local wheels. Raises Invalid if there is no file."""
    for path, container, key, value in leaves(config.section("resources")):
        if not (LIBRARY.fullmatch(path) and str(value).startswith("./")):
            continue
        files = sorted(root.glob(value[2:]))
        if not files:
            is_pattern = any(sign in value for sign in "*?[")
            problem = "no files match pattern:" if is_pattern else "file doesn't exist"
            place = container.places[key][1]
            raise Invalid(f"{problem} {value}\n  at resources.{path}\n  in {place}")
        yield container, key, files


def place_libraries(root: Path, config: Map) -> list[Path]:
    """Puts the uploaded wheels' paths into the resources; returns the local files."""
    if config.get("artifacts"):
        raise NotSupported("building artifacts")
    folder = f"{config['workspace']['artifact_path']}/.internal"
    uploads: list[Path] = []
    for container, key, files in list(_local_libraries(root, config)):
        paths = [f"{folder}/{file.name}" for file in files]
        if isinstance(container, list):  # a pattern stands for all files that match
            container[key : key + 1] = paths
        else:
            container[key] = paths[0]
        uploads += files
    return list(dict.fromkeys(uploads))


def synced_files(root: Path, sync: Map) -> list[str]:
    """The files to upload, relative to root: those of sync's paths that git does not ignore."""
    paths = [os.path.normpath(path) for path in sync["paths"]]
    patterns = [".databricks", *(sync.get("exclude") or ())]
    exclude = [f"--exclude={pattern}" for pattern in patterns]
    include = [f":(glob){pattern}" for pattern in sync.get("include") or ()]
    # Git knows how to read .gitignore files, but the bundle need not be a repository: an empty one
    # elsewhere, with the bundle as its work tree, has only files that are not tracked.
    with tempfile.TemporaryDirectory() as scratch:
        git = ["git", f"--git-dir={scratch}/git", "--work-tree=."]
        _run(root, *git, "init", "--quiet")
        list_files = [*git, "ls-files", "--others", "-z"]
        files = _run(
            root, *list_files, "--exclude-per-directory=.gitignore", *exclude, "--", *paths
        )
        if include:
            files += _run(root, *list_files, "--", *include)
        return sorted(set(files))


def _run(root: Path, *command: str) -> list[str]:
    """The names that a git command prints. The caller's own repository has no part in it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, check=True)
    return [name for name in result.stdout.decode().split("\0") if name]
