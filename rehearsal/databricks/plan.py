"""A plan: what a deployment would create, update, recreate or delete; and a target's state."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal.databricks.bundle import VERSION
from rehearsal.databricks.bundle_yaml import REFERENCE, leaves
from rehearsal.databricks.errors import Invalid, NotSupported
from rehearsal.databricks.workspace import Json, Workspace, read_json, write_json


def kind_of(key: str) -> str:
    """`jobs` of `resources.jobs.x`; `jobs.permissions` of `resources.jobs.x.permissions`."""
    parts = key.split(".")
    return ".".join([parts[1], *parts[3:]])


class State:
    """The state of a deployment. Its resources have keys like `resources.jobs.x`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.data: Json = read_json(file, {})
        self.resources: dict[str, Json] = self.data.get("state", {})

    @property
    def version(self) -> Json:
        """Lineage and serial, which tell one state from another; none before the first one."""
        return {name: self.data[name] for name in ("lineage", "serial") if name in self.data}

    def id(self, key: str) -> str:
        """The id of a deployed resource, else ""."""
        return str(self.resources.get(key, {}).get("__id__", ""))

    def check(self, plan: Json) -> None:
        """Raises Invalid for a plan that was made for another state; a first plan has none."""
        lineage, serial = plan.get("lineage", ""), plan.get("serial", 0)
        if not lineage:
            return
        actual = self.data.get("lineage", "")
        if lineage != actual:
            raise Invalid(
                f'plan lineage "{lineage}" does not match state lineage "{actual}";'
                " the state may have been modified by another process"
            )
        if serial != self.data["serial"]:
            raise Invalid(
                f"plan serial {serial} does not match state serial {self.data['serial']}; the state"
                " has been modified since the plan was created. Please run 'bundle plan' again"
            )

    def save(self) -> None:
        """Writes the state with the next serial."""
        version: Json = {"lineage": str(uuid.uuid4()), "serial": 0} | self.version
        self.data = {
            "state_version": 2,
            "cli_version": VERSION,
            "lineage": version["lineage"],
            "serial": version["serial"] + 1,
            "state": self.resources,
        }
        write_json(self.file, self.data)


# The fields that cannot be changed in place.
IMMUTABLE = {
    "pipelines": {"storage"},
    "schemas": {"catalog_name", "name", "storage_root"},
    "volumes": {"catalog_name", "schema_name", "storage_location", "volume_type"},
}
RENAMED = ("volumes", "name")  # a change of this field changes the ID with it
NAMED_IDS = {  # the kinds whose ID is a name, and the fields that it is made of
    "schemas": ("catalog_name", "name"),
    "volumes": ("catalog_name", "schema_name", "name"),
}
REFERENCE_PARTS = 3  # periods in ${resources.<kind>.<key>.<field>}
SERVICE_DEFAULTS = ("ALL_SUCCESS", "WORKSPACE")
# Lists that are compared by a key of their items: the first of these that an item has.
KEYED_LISTS = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "environments": "environment_key",
    "parameters": "name",
    "__embed__": "user_name group_name service_principal_name principal",  # permissions, grants
}
# The keys in these mappings are names that a user chose.
NAMED_KEYS = {"base_parameters", "configuration", "custom_tags", "spark_conf", "tags"}


def compare(kind: str, deployed: Json, desired: Json, remote: Json) -> dict[str, Json]:
    """The changes of a resource by field: old, new and remote value, and the action for it."""
    local = {path: pair for path, *pair in _differences(deployed, desired)}
    drift = {path: pair for path, *pair in _differences(remote, desired)}
    changes = {}
    for path in sorted(local | drift):
        new = (local | drift)[path][1]
        old = local.get(path, [new])[0]
        current = drift.get(path, [new])[0]
        values = {"old": old, "new": new, "remote": current}
        present = {name: value for name, value in values.items() if value is not None}
        changes[path] = _verdict(kind, path, old, new, current) | present
    return changes


def _verdict(kind: str, path: str, old: Any, new: Any, remote: Any) -> Json:
    """The action for a changed field; for "skip" with the reason."""
    if remote == new:
        return {"action": "skip", "reason": "remote_already_set"}
    if not (old or new or remote):
        return {"action": "skip", "reason": "empty"}
    if old is None and new is None and remote in SERVICE_DEFAULTS:
        return {"action": "skip", "reason": "backend_default"}
    if path in NAMED_IDS.get(kind, ()) and old == new:  # the service writes names in its own way
        return {"action": "skip", "reason": "id_field"}
    if (kind, path) == RENAMED:
        return {"action": "update_id"}
    return {"action": "recreate" if path in IMMUTABLE.get(kind, ()) else "update"}


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of what differs; in lists by the key of their items, if they have one.

    The other lists are compared as a whole.
    """
    field = path.rpartition(".")[2]
    if _is_keyed(field, before) and _is_keyed(field, after):
        before, after = _by_key(before, field), _by_key(after, field)
        path, shape = path.removesuffix("__embed__"), "[%s]"
    elif isinstance(before, dict) and isinstance(after, dict):
        shape = "['%s']" if field in NAMED_KEYS else ".%s"
    else:
        if before != after:
            yield path, before, after
        return
    for name in sorted(before | after):
        inside = (path + shape % name).lstrip(".")
        yield from _differences(before.get(name), after.get(name), inside)


def _is_keyed(field: str, value: Any) -> bool:
    """Whether a field's items have a key of their own."""
    is_list = field in KEYED_LISTS and isinstance(value, list)
    return is_list and all(isinstance(item, dict) for item in value)


def _by_key(items: list[Json], field: str) -> dict[str, Json]:
    """The items of a list by the first of the field's keys that they have."""
    names = KEYED_LISTS[field].split()
    keys = [next(name for name in names if name in item) for item in items]
    return {f"{key}='{item[key]}'": item for key, item in zip(keys, items, strict=True)}


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
    changed = actions["update"] + actions["update_id"]
    return Counts(created, changed, deleted, actions["skip"])


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
            for part in settings.keys() & {"grants", "permissions"}:
                entries = [in_order(entry) for entry in settings.pop(part)]
                if entries:
                    owner = f"/{kind}/${{{key}.id}}"
                    desired[f"{key}.{part}"] = {"object_id": owner, "__embed__": entries}
            desired[key] = settings
    return desired


def in_order(entry: Json) -> Json:
    """An entry of permissions or grants, its privileges without doubles and in order."""
    privileges = entry.get("privileges")
    return entry | {"privileges": sorted(set(privileges))} if privileges else entry


class Planner:
    """Compares the resources of a bundle with a deployment's state and with the workspace."""

    def __init__(self, resources: Mapping[str, Any], state: State, workspace: Workspace) -> None:
        self.desired = desired_settings(resources)
        self.state, self.workspace = state, workspace

    def plan(self) -> Json:
        """The plan as `bundle plan -o json` shows it. Raises Invalid and NotSupported."""
        self._check_order()
        entries = self._entries(frozenset())
        recreated = frozenset(
            key for key, entry in entries.items() if entry["action"] == "recreate"
        )
        if recreated:  # what refers to them will get a new id
            entries = self._entries(recreated)
        return {"plan_version": 2, "cli_version": VERSION, **self.state.version, "plan": entries}

    def _check_order(self) -> None:
        """Raises Invalid for resources that refer to each other in a circle."""
        needs = {
            key: set(self._dependencies(settings).values())
            for key, settings in self.desired.items()
        }
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            raise Invalid(f"cycle detected: {' refers to '.join(error.args[1])}") from None

    def _entries(self, recreated: frozenset[str]) -> dict[str, Json]:
        """The entries by key; the ids of recreated resources are not known yet."""
        return {
            key: self._entry(key, recreated) if key in self.desired else self._deletion(key)
            for key in sorted(self.desired | self.state.resources)
        }

    def _deletion(self, key: str) -> Json:
        dependencies, remote = self.state.resources[key].get("depends_on"), self._remote(key)
        remote = remote and remote | self._identity(key)
        entry = {"depends_on": dependencies, "action": "delete", "remote_state": remote}
        return {name: value for name, value in entry.items() if value}

    def _entry(self, key: str, recreated: frozenset[str]) -> Json:
        settings, remote = self.desired[key], self._remote(key)
        dependencies = self._dependencies(settings)
        ids = {
            reference: self._value(reference, node, recreated)
            for reference, node in dependencies.items()
        }
        ids = {reference: value for reference, value in ids.items() if value}
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
            "remote_state": remote and remote | self._identity(key),
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

    def _value(self, reference: str, node: str, recreated: frozenset[str]) -> str:
        """What a reference stands for: an ID, or a name of the bundle; "" if not known yet."""
        field = reference[2:-1].rpartition(".")[2]
        if field != "id":
            value = self.desired[node].get(field)
            if not isinstance(value, str) or REFERENCE.search(value):
                raise NotSupported(f"the reference {reference}")
            return value
        return self.state.id(node) if node not in recreated and self._remote(node) else ""

    def _identity(self, key: str) -> Json:
        """The ID of a job or pipeline, as the workspace shows it beside the settings."""
        field = {"jobs": "job_id", "pipelines": "pipeline_id"}.get(kind_of(key))
        return {field: self.state.id(key)} if field else {}

    def _dependencies(self, settings: Json) -> dict[str, str]:
        """The keys of the resources that settings refer to, by reference. Raises Invalid."""
        references = {r for *_, value in leaves(settings) for r in _references(value)}
        nodes = {reference: reference[2:].rpartition(".")[0] for reference in sorted(references)}
        for reference, node in nodes.items():
            if reference.count(".") != REFERENCE_PARTS or node in self.state.resources.keys() - (
                self.desired.keys()
            ):
                raise NotSupported(f"the reference {reference}")
            if node not in self.desired:
                raise Invalid(f'invalid dependency "{reference}", no such node "{node}"')
        return nodes


def _strongest(actions: set[str]) -> str:
    """The action for a resource with these actions for its fields."""
    order = ("recreate", "update_id", "update")
    return next((action for action in order if action in actions), "skip")


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
