"""A plan: what a deployment would create, update, recreate or delete."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from rehearsal.databricks.bundle import VERSION
from rehearsal.databricks.bundle.references import REFERENCE
from rehearsal.databricks.bundle.source import leaves
from rehearsal.databricks.deployment.changes import compare
from rehearsal.databricks.deployment.state import State, kind_of
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace.model import Workspace
from rehearsal.databricks.workspace.storage import Json


class Counts(NamedTuple):
    """How many resources a plan creates, changes, deletes and leaves."""

    created: int
    changed: int
    deleted: int
    unchanged: int


def count(plan: Json) -> Counts:
    """Counts the actions of a plan; a recreated resource is deleted and created."""
    actions = Counter(entry["action"] for entry in plan["plan"].values())
    recreated = actions["recreate"]
    created, deleted = actions["create"] + recreated, actions["delete"] + recreated
    return Counts(created, actions["update"], deleted, actions["skip"])


def replace_references(settings: Json, ids: Mapping[str, str]) -> Json:
    """A copy of settings with ids for references; a reference without an id stays."""
    text = json.dumps(settings)  # references stand inside of longer texts, too
    for reference, id_ in ids.items():
        text = text.replace(reference, id_ or reference)
    replaced: Json = json.loads(text)
    return replaced


def desired_settings(resources: Mapping[str, Any]) -> dict[str, Json]:
    """Settings by key; permissions and grants are resources of their own, as in the client."""
    desired = {}
    for kind, named in resources.items():
        for name, resource in named.items():
            key = f"resources.{kind}.{name}"
            settings = {k: v for k, v in sorted(resource.items()) if v not in (None, {})}
            settings.pop("lifecycle", None)
            for part in settings.keys() & {"grants", "permissions"}:
                owner = f"/{kind}/${{{key}.id}}"
                desired[f"{key}.{part}"] = {"object_id": owner, "__embed__": settings.pop(part)}
            desired[key] = settings
    return desired


class Planner:
    """Compares the resources of a bundle with a deployment's state and with the workspace."""

    def __init__(self, resources: Mapping[str, Any], state: State, workspace: Workspace) -> None:
        self.desired = desired_settings(resources)
        self.state, self.workspace = state, workspace

    def plan(self) -> Json:
        """The plan as `bundle plan -o json` shows it. Raises Invalid and NotSupported."""
        entries = self._entries(frozenset())
        recreated = frozenset(
            key for key, entry in entries.items() if entry["action"] == "recreate"
        )
        if recreated:  # what refers to them will get a new id
            entries = self._entries(recreated)
        return {"plan_version": 2, "cli_version": VERSION, **self.state.version, "plan": entries}

    def _entries(self, recreated: frozenset[str]) -> dict[str, Json]:
        """The entries by key; the ids of recreated resources are not known yet."""
        return {
            key: self._entry(key, recreated) if key in self.desired else self._deletion(key)
            for key in sorted(self.desired | self.state.resources)
        }

    def _deletion(self, key: str) -> Json:
        dependencies, remote = self.state.resources[key].get("depends_on"), self._remote(key)
        entry = {"depends_on": dependencies, "action": "delete", "remote_state": remote}
        return {name: value for name, value in entry.items() if value}

    def _entry(self, key: str, recreated: frozenset[str]) -> Json:
        settings, remote = self.desired[key], self._remote(key)
        dependencies = self._dependencies(settings)
        ids = {
            reference: self.state.id(node)
            for reference, node in dependencies.items()
            if node not in recreated and self._remote(node)
        }
        new_state: Json = {"value": replace_references(settings, ids)}
        if unknown := _with_references(settings, dependencies.keys() - ids.keys()):
            new_state["vars"] = unknown
        changes: dict[str, Json] = {}
        action = "create"
        if remote:  # otherwise it has never been there, or somebody has deleted it
            deployed = self.state.resources[key]["state"]
            changes = compare(kind_of(key), deployed, new_state["value"], remote)
            action = _strongest({change["action"] for change in changes.values()})
        entry = {
            "depends_on": [{"node": n, "label": label} for label, n in dependencies.items()],
            "action": action,
            "new_state": new_state if action != "skip" else None,
            "remote_state": remote,
            "changes": changes,
        }
        return {name: value for name, value in entry.items() if value}

    def _remote(self, key: str) -> Json | None:
        """What the workspace has of a deployed resource; None if nothing."""
        id_ = self.state.id(key)
        settings = self.workspace.resources.describe(kind_of(key), id_)
        if settings and "object_id" in settings:
            settings["object_id"] = id_  # the client asks the object that it knows
        return settings

    def _dependencies(self, settings: Json) -> dict[str, str]:
        """The keys of the resources that settings refer to, by reference. Raises Invalid."""
        references = {r for *_, value in leaves(settings) for r in _references(value)}
        nodes = {reference: reference[2:].rpartition(".")[0] for reference in sorted(references)}
        for reference, node in nodes.items():
            if not reference.endswith(".id}"):
                raise NotSupported(f"the reference {reference}")
            if node not in self.desired:
                raise Invalid(f'invalid dependency "{reference}", no such node "{node}"')
        return nodes


def _strongest(actions: set[str]) -> str:
    """The action for a resource with these actions for its fields."""
    return next((action for action in ("recreate", "update") if action in actions), "skip")


def _references(text: Any) -> list[str]:
    """The references, `${resources.<kind>.<key>.id}`, in a text."""
    return [match[0] for match in REFERENCE.finditer(str(text))]


def _with_references(settings: Json, references: set[str]) -> dict[str, str]:
    """The texts that hold any of these references, by their paths."""
    return {
        path: value
        for path, *_, value in leaves(settings)
        if references.intersection(_references(value))
    }
