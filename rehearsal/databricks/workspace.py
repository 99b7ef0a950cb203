"""A workspace: its files, its resources, and the folders that keep them.

home/workspaces.json         who may sign in where; of a secret only the SHA-256
home/faults.json             the failures that a test asks for (see `Storage.fault`)
home/calls.jsonl             every sign-in, plan and change (see calls.py)
home/<host>/issued.json      the access tokens that were issued; only their SHA-256
home/<host>/files/           "/" of the workspace's file system
home/<host>/resources/<kind>/<id>.json   what the workspace has, and who made it
"""

import copy
import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from rehearsal.databricks import calls
from rehearsal.databricks.errors import ClientError

Json = dict[str, Any]


def host_name(host: str) -> str:
    """`a.example` of `https://a.example/`."""
    return urlsplit("//" + host.rpartition("//")[2]).netloc.lower()


def stable_id(name: str) -> str:
    """A number for a name, always the same."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:10], 16))


def new_job_id() -> str:
    """A number as jobs and runs have."""
    return str(random.randrange(10**14, 10**15))


def read_json(file: Path, default: Any) -> Any:
    """The content of a file, or the default if there is no file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def write_json(file: Path, value: Any) -> None:
    """Replaces the content of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.replace(file)  # a build that is killed leaves the old or the new content, not half of it


@dataclass(frozen=True)
class Storage:
    """Where the workspace of one host is kept, below the home of all workspaces.

    `build` is the build that calls.
    """

    home: Path
    host: str
    build: str = field(default_factory=lambda: os.environ.get("CODEBUILD_BUILD_ID", ""))

    @property
    def folder(self) -> Path:
        """The workspace's own folder."""
        return self.home / host_name(self.host)

    def record(self, user: str, command: str, what: str) -> None:
        """Records a call."""
        call = calls.Call(host_name(self.host), user, command, what, self.build)
        calls.append(self.home, call)

    def fault(self, event: str) -> Json:
        """The fault that faults.json sets for this host and an event, or an empty one.

        The file is a list of {"host", "on": "sign-in" | "deploy" | "run", "message"}. With "after",
        a deployment first applies so many resources; with "killed" it then ends at once. A sign-in
        is refused with "status"; without it there is no network.
        """
        for fault in read_json(self.home / "faults.json", []):
            if host_name(fault["host"]) == host_name(self.host) and fault["on"] == event:
                return dict(fault)
        return {}


NOTEBOOKS = {  # the suffixes of notebooks in source format, their languages, and their first lines
    ".py": ("PYTHON", b"# Databricks notebook source"),
    ".sql": ("SQL", b"-- Databricks notebook source"),
    ".scala": ("SCALA", b"// Databricks notebook source"),
    ".r": ("R", b"# Databricks notebook source"),
}
JUPYTER = ".ipynb"
SHORT_ROOTS = ("Users", "Shared", "Repos")  # /Users is /Workspace/Users


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook: in Databricks' source format, or in Jupyter's."""
    if not file.is_file():
        return False
    if file.suffix == JUPYTER:
        return _is_jupyter(file)
    if file.suffix not in NOTEBOOKS:
        return False
    with file.open("rb") as content:
        return content.readline().rstrip(b"\r\n") == NOTEBOOKS[file.suffix][1]


def _is_jupyter(file: Path) -> bool:
    try:
        notebook = json.loads(file.read_bytes())
        has_parts = "cells" in notebook and "metadata" in notebook
        return bool(has_parts and notebook["nbformat"] >= 4)
    except (KeyError, TypeError, ValueError):
        return False


def without_suffix(name: str) -> str:
    """The name that a workspace gives to a notebook."""
    return name.rpartition(".")[0]


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
        if file.exists():
            return file
        sources = [file.parent / f"{file.name}{suffix}" for suffix in (*NOTEBOOKS, JUPYTER)]
        return next(filter(is_notebook, sources), file)

    def existing(self, path: str) -> Path:
        """Where an existing path is kept. Raises ClientError if there is none."""
        file = self.locate(path)
        # A workspace knows the notebook `sample.py` as `sample` only.
        if not file.exists() or (is_notebook(file) and path.endswith(file.suffix)):
            raise ClientError(f"Path ({path}) doesn't exist.")
        return file

    def status(self, file: Path) -> Json:
        """What the workspace's API answers about a file, a notebook or a folder."""
        path = f"/{file.relative_to(self.root)}"
        if is_notebook(file):
            path = without_suffix(path)
            entry = {"object_id": int(stable_id(path)), "object_type": "NOTEBOOK", "path": path}
            return {"language": NOTEBOOKS.get(file.suffix, ("PYTHON",))[0]} | entry
        object_type = "DIRECTORY" if file.is_dir() else "FILE"
        return {"object_id": int(stable_id(path)), "object_type": object_type, "path": path}


# What the service adds to the settings of a job and of its tasks.
JOB_DEFAULTS: Json = {"email_notifications": {}, "timeout_seconds": 0, "webhook_notifications": {}}
TASK_DEFAULTS: Json = {"email_notifications": {}, "timeout_seconds": 0, "run_if": "ALL_SUCCESS"}


class Resources:
    """The jobs, pipelines and so on of a workspace: a file for each, so that many stay fast."""

    def __init__(self, folder: Path, user: str = "") -> None:
        self._folder, self._user = folder, user

    def _file(self, kind: str, id_: str) -> Path:
        return self._folder / kind / f"{quote(id_, safe='')}.json"

    def _read(self, kind: str, id_: str) -> Json:
        """Settings and creator of a resource; nothing if there is no such resource."""
        return dict(read_json(self._file(kind, id_), {}))

    def list(self, kind: str) -> Iterator[tuple[str, Json, str]]:
        """ID, settings and creator of each resource of a kind."""
        for file in sorted((self._folder / kind).glob("*.json")):
            kept = read_json(file, {})
            yield unquote(file.stem), kept["settings"], kept["creator"]

    def creator(self, kind: str, id_: str) -> str:
        """Who made a resource; "" if there is no such resource."""
        return str(self._read(kind, id_).get("creator", ""))

    def get(self, kind: str, id_: str) -> Json | None:
        """The settings of a resource as they were set; None if there is no such resource."""
        return self._read(kind, id_).get("settings")

    def describe(self, kind: str, id_: str) -> Json | None:
        """The settings of a resource as the service shows them, with its defaults."""
        settings = self.get(kind, id_)
        if settings and kind == "jobs":
            settings = copy.deepcopy(JOB_DEFAULTS) | settings
            for task in settings.get("tasks", []):
                task |= copy.deepcopy(TASK_DEFAULTS) | task
                if "notebook_task" in task:
                    task["notebook_task"].setdefault("source", "WORKSPACE")
        return settings

    def put(self, kind: str, id_: str, settings: Json) -> None:
        """Creates or replaces a resource."""
        creator = self.creator(kind, id_) or self._user
        write_json(self._file(kind, id_), {"creator": creator, "settings": settings})

    def delete(self, kind: str, id_: str) -> None:
        """Deletes a resource if it exists."""
        self._file(kind, id_).unlink(missing_ok=True)


class Workspace:
    """The workspace of one host, for one user."""

    def __init__(self, storage: Storage, user: str) -> None:
        self.storage, self.user = storage, user
        self.files = Files(storage.folder / "files")
        self.resources = Resources(storage.folder / "resources", user)

    def record(self, command: str, what: str) -> None:
        """Notes a call for the rehearsal's summary."""
        self.storage.record(self.user, command, what)

    def keep(self, action: str, kind: str, id_: str, settings: Json) -> None:
        """Creates or updates a resource, and notes that."""
        self.resources.put(kind, id_, settings)
        self.changed(action, kind, id_)

    def delete(self, kind: str, id_: str) -> None:
        """Deletes a resource, and notes that."""
        self.changed("delete", kind, id_)
        self.resources.delete(kind, id_)

    def changed(self, action: str, kind: str, id_: str) -> None:
        """Notes that a resource was created, updated or deleted, by its name."""
        name = (self.resources.get(kind, id_) or {}).get("name", id_)
        self.record(calls.RESOURCE, f"{action} {kind} {name}")
