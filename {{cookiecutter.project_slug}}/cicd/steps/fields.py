"""Fields of a resource, by the client's paths: `tasks[task_key='x'].timeout_seconds`."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# An item by its number or by a field of its own; a key in quotes; a key.
PART = re.compile(
    r"\[(?P<number>\d+)\]"
    r"|\[(?P<field>\w+)='(?P<value>(?:[^']|'')*)'\]"
    r"|\['(?P<quoted>(?:[^']|'')*)'\]"
    r"|\.?(?P<key>[^.\[\]]+)"
)
# What names an item of a list: the first of these that it has.
ITEM_NAMES = (
    *("task_key", "job_cluster_key", "environment_key", "name", "key", "label"),
    *("group_name", "user_name", "service_principal_name", "principal"),
)
EMBEDDED = "__embed__"  # the list of a resource that is a list, such as permissions
SHORT = 200  # a list of plain values that fits into this many characters is shown in one piece
MISSING = object()


class Field(NamedTuple):
    """A field that a plan changes: its value in prod now, and after the deployment."""

    path: str
    before: Any
    after: Any


class Pending(str):
    """A reference whose value is known when it is deployed."""


# ---- By path -------------------------------------------------------------------------------------


def step(tree: Any, part: re.Match[str]) -> Any:
    """Returns what a part of a path leads to, or MISSING."""
    if isinstance(tree, dict) and part["field"] is None and part["number"] is None:
        name = part["key"] if part["key"] is not None else part["quoted"].replace("''", "'")
        return tree.get(name, MISSING)
    items = tree.get(EMBEDDED) if isinstance(tree, dict) else tree
    if not isinstance(items, list):
        return MISSING
    if part["number"] is not None:
        return items[int(part["number"])] if int(part["number"]) < len(items) else MISSING
    return item_named(items, part["field"], part["value"])


def item_named(items: list[Any], field: str | None, value: str | None) -> Any:
    """Returns the item of a list whose field has a value, or MISSING."""
    text = (value or "").replace("''", "'")
    named = (item for item in items if isinstance(item, dict) and item.get(field) == text)
    return next(named, MISSING)


def find(tree: Any, path: str) -> Any:
    """Returns the value at a path, or MISSING."""
    for part in PART.finditer(path):
        tree = step(tree, part)
    return tree


def with_references(value: Any, references: Mapping[str, str]) -> Any:
    """Returns a copy of a resource with Pending wherever the client keeps a reference."""
    value = copy.deepcopy(value)
    for path, reference in references.items():
        *way, last = PART.finditer(path)
        holder = find(value, path[: last.start()]) if way else value
        if isinstance(holder, dict) and last["number"] is None:
            holder[last["key"] or last["quoted"]] = Pending(reference)
        elif isinstance(holder, list) and step(holder, last) is not MISSING:
            holder[int(last["number"])] = Pending(reference)
    return value


# ---- Down to what differs ------------------------------------------------------------------------


def differences(field: Field) -> Iterator[Field]:
    """Yields the smallest fields below a field whose values differ."""
    path, before, after = field
    pair = children(before, after)
    if pair is None:
        if type(before) is not type(after) or before != after:  # 1 equals True
            yield field
        return
    for name in {**pair[0], **pair[1]}:
        inside = f"{path}{name}" if path else name.removeprefix(".")
        yield from differences(Field(inside, pair[0].get(name), pair[1].get(name)))


def children(before: Any, after: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns what is in two values by part of the path; None if they are to be shown whole."""
    full = [value for value in (before, after) if value not in (None, {}, [])]
    if full and all(isinstance(value, dict) for value in full):
        return members(before), members(after)
    if full and all(isinstance(value, list) for value in full):
        return None if is_short(full) else items_of(before, after)
    return None


def is_short(lists: list[list[Any]]) -> bool:
    """Whether lists of plain values fit on a line, and differ in more than the value of an item."""
    if len(lists) == 2 and len(lists[0]) == len(lists[1]):
        return False
    plain = not any(isinstance(item, dict | list) for items in lists for item in items)
    return plain and all(len(json.dumps(items, default=str)) <= SHORT for items in lists)


def members(value: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the values of a mapping by part of the path."""
    value = value or {}
    named = {key_part(key): item for key, item in value.items() if key != EMBEDDED}
    return named | items_of(None, value.get(EMBEDDED) or [])[1]


def key_part(key: str) -> str:
    """Returns the part of a path for a key."""
    if re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII):
        return f".{key}"
    quotes_doubled = key.replace("'", "''")
    return f"['{quotes_doubled}']"


def items_of(before: Any, after: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the items of two lists by part of the path: by name if all have one, or by number."""
    lists = [list(value or []) for value in (before, after)]
    old, new = [dict(map(named, items)) for items in lists]
    if "" not in old | new and [len(old), len(new)] == [len(items) for items in lists]:
        return old, new
    old, new = [{f"[{number}]": item for number, item in enumerate(items)} for items in lists]
    return old, new


def named(item: Any) -> tuple[str, Any]:
    """Returns the part of a path for an item that has a name, or ""; and the rest of the item."""
    names = item.keys() & set(ITEM_NAMES) if isinstance(item, dict) else ()
    name = next((name for name in ITEM_NAMES if name in names), None)
    if name is None or not isinstance(item[name], str):
        return "", item
    quotes_doubled = item[name].replace("'", "''")
    rest = {key: value for key, value in item.items() if key != name}
    return f"[{name}='{quotes_doubled}']", rest or item
