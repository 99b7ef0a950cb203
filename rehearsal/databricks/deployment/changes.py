"""The differences between a resource's settings: deployed, desired, and in the workspace."""

from collections.abc import Iterator
from typing import Any

from rehearsal.databricks.bundle.source import KEYED_LISTS
from rehearsal.databricks.workspace.storage import Json

# The fields that cannot be changed in place.
IMMUTABLE = {
    "pipelines": {"storage"},
    "schemas": {"catalog_name", "name", "storage_root"},
    "volumes": {"catalog_name", "schema_name", "name", "storage_location", "volume_type"},
}
SERVICE_DEFAULTS = ("ALL_SUCCESS", "WORKSPACE")
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
