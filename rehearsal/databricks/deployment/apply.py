"""Doing what a plan says."""

import random
import uuid
from graphlib import TopologicalSorter

from rehearsal.databricks.deployment.plan import replace_references
from rehearsal.databricks.deployment.state import State, kind_of
from rehearsal.databricks.workspace.model import Workspace
from rehearsal.databricks.workspace.storage import Json


class Deployer:
    """Changes the resources of a workspace, and a deployment's state with them."""

    def __init__(self, state: State, workspace: Workspace) -> None:
        self.state, self.workspace = state, workspace

    def apply(self, plan: Json) -> list[str]:
        """Does what a plan says, as far as possible, and saves the state; returns the errors."""
        entries = {key: e for key, e in plan["plan"].items() if e["action"] != "skip"}
        needs = {
            key: {dependency["node"] for dependency in entry.get("depends_on", [])} & entries.keys()
            for key, entry in sorted(entries.items())
        }
        order = list(TopologicalSorter(needs).static_order())
        order.sort(key=lambda key: entries[key]["action"] == "delete")  # deletions come last
        fault = self.workspace.storage.fault("deploy")
        errors: dict[str, str] = {}
        for number, key in enumerate(order):
            if failed := needs[key] & errors.keys():
                errors[key] = f"dependency failed: {min(failed)}"
            elif fault and number >= fault.get("after", 0):
                errors[key] = fault["message"]
            else:
                self._apply(key, entries[key])
        if len(errors) < len(order):  # a deployment without a change leaves the serial
            self.state.save()
        return [f"cannot {entries[key]['action']} {key}: {why}" for key, why in errors.items()]

    def _apply(self, key: str, entry: Json) -> None:
        if entry["action"] in ("delete", "recreate"):
            self.delete(key)
        if entry["action"] != "delete":
            self._put(key, entry)
        self.workspace.record(
            "bundle deploy", f"{entry['action']} {key.removeprefix('resources.')}"
        )

    def _put(self, key: str, entry: Json) -> None:
        """Creates or updates one resource."""
        dependencies = entry.get("depends_on", [])
        ids = {item["label"]: self.state.id(item["node"]) for item in dependencies}
        settings = replace_references(entry["new_state"]["value"], ids)
        # The state may hold an id for a "create" too: of a resource that somebody has deleted.
        id_ = self.state.id(key) if entry["action"] == "update" else _new_id(key, settings)
        self.state.resources[key] = {"__id__": id_, "state": settings}
        if dependencies:
            self.state.resources[key]["depends_on"] = dependencies
        self.workspace.resources.put(kind_of(key), id_, settings)

    def delete(self, key: str) -> None:
        """Deletes one resource from the workspace and from the state in memory."""
        deployed = self.state.resources.pop(key)
        self.workspace.resources.delete(kind_of(key), deployed["__id__"])


def _new_id(key: str, settings: Json) -> str:
    """The id of a new resource; permissions have the path of their object."""
    if "object_id" in settings:
        return str(settings["object_id"])
    if kind_of(key) == "jobs":
        return str(random.randrange(10**14, 10**15))
    return str(uuid.uuid4())
