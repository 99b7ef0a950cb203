"""The file system of a workspace, kept in a folder of this machine."""

from pathlib import Path, PurePosixPath

from rehearsal.databricks.errors import ClientError
from rehearsal.databricks.workspace.storage import Json, stable_id

NOTEBOOK_HEADER = b"# Databricks notebook source"
SHORT_ROOTS = ("Users", "Shared", "Repos")  # /Users is /Workspace/Users


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook in Databricks' source format."""
    if file.suffix != ".py" or not file.is_file():
        return False
    with file.open("rb") as content:
        return content.readline().rstrip() == NOTEBOOK_HEADER


class Files:
    """The files and folders below "/" of a workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def locate(self, path: str) -> Path:
        """Where a path of the workspace is kept, whether or not it exists.

        A notebook's path has no suffix. Raises ClientError for a path that is not absolute or
        leaves the workspace.
        """
        parts = PurePosixPath(path).parts
        if parts[:1] != ("/",) or ".." in parts:
            raise ClientError(f"Path ({path}) doesn't start with '/'")
        prefix = "Workspace" if parts[1:2] and parts[1] in SHORT_ROOTS else ""
        file = self.root.joinpath(prefix, *parts[1:])
        source = file.parent / f"{file.name}.py"
        return source if is_notebook(source) and not file.exists() else file

    def existing(self, path: str) -> Path:
        """Where an existing path is kept. Raises ClientError if there is none."""
        file = self.locate(path)
        # A workspace knows the notebook `sample.py` as `sample` only.
        if not file.exists() or (is_notebook(file) and path.endswith(".py")):
            raise ClientError(f"Path ({path}) doesn't exist.")
        return file

    def status(self, file: Path) -> Json:
        """What the workspace's API answers about a file, a notebook or a folder."""
        path = f"/{file.relative_to(self.root)}"
        if is_notebook(file):
            path = path.removesuffix(".py")
            entry = {"object_id": int(stable_id(path)), "object_type": "NOTEBOOK", "path": path}
            return {"language": "PYTHON"} | entry
        object_type = "DIRECTORY" if file.is_dir() else "FILE"
        return {"object_id": int(stable_id(path)), "object_type": object_type, "path": path}
