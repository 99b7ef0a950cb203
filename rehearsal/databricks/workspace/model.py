"""A workspace as one user sees it: files, and the resources that somebody has created."""

import copy
from pathlib import Path

from rehearsal.databricks.workspace.files import Files
from rehearsal.databricks.workspace.storage import Json, Storage, read_json, write_json

# What the service adds to the settings of a job and of its tasks.
JOB_DEFAULTS: Json = {"email_notifications": {}, "timeout_seconds": 0, "webhook_notifications": {}}
TASK_DEFAULTS: Json = {"email_notifications": {}, "timeout_seconds": 0, "run_if": "ALL_SUCCESS"}


class Resources:
    """The jobs, pipelines and so on of a workspace: settings by kind and id."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._settings: dict[str, dict[str, Json]] = read_json(file, {})

    def get(self, kind: str, id_: str) -> Json | None:
        """The settings of a resource as they were set; None if there is no such resource."""
        return copy.deepcopy(self._settings.get(kind, {}).get(id_))

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
        self._settings.setdefault(kind, {})[id_] = settings
        write_json(self._file, self._settings)

    def delete(self, kind: str, id_: str) -> None:
        """Deletes a resource if it exists."""
        self._settings.setdefault(kind, {}).pop(id_, None)
        write_json(self._file, self._settings)


class Workspace:
    """The workspace of one host, for one user."""

    def __init__(self, storage: Storage, user: str) -> None:
        self.storage, self.user = storage, user
        self.files = Files(storage.folder / "files")
        self.resources = Resources(storage.folder / "resources.json")

    def record(self, command: str, what: str) -> None:
        """Notes a change for the rehearsal's summary."""
        self.storage.record(self.user, command, what)
