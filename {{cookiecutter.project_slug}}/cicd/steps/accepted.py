"""Differences between prod and the release that the team has accepted, each with its reason.

A workspace does not keep every field as it was deployed; the client then plans that field again and
again. accepted_differences.yml is a list of {resource, field, reason}, with names as plans have
them. The proof of a deployment and the search for drift leave these fields out.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from model import SKIP, Plan

FILE = "accepted_differences.yml"


class Unreadable(Exception):
    """What is wrong with the list."""


class Accepted(NamedTuple):
    """A field of a resource that may differ, and why."""

    resource: str
    field: str
    reason: str


def entry(number: int, item: Any) -> Accepted:
    """Returns an item of the list. Raises Unreadable unless it has just the three texts."""
    fields = item if isinstance(item, dict) else {}
    texts = [value for value in fields.values() if isinstance(value, str) and value.strip()]
    if fields.keys() != set(Accepted._fields) or len(texts) != len(fields):
        raise Unreadable(
            f"{FILE}: entry {number} must have {', '.join(Accepted._fields)}, each with a text,"
            " and nothing else"
        )
    return Accepted(**fields)


def read() -> list[Accepted]:
    """Returns the list in this directory; empty if there is none. Raises Unreadable."""
    file = Path(FILE)
    if not file.exists():
        return []
    import yaml  # here, because few repositories have the file

    try:
        items = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unreadable(f"{FILE} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(items, list):
        raise Unreadable(f"{FILE} must be a list; remove the file if nothing is accepted")
    return [entry(number, item) for number, item in enumerate(items, 1)]


def leave_out(plan: Plan) -> None:
    """Takes what is accepted out of a plan; says on stderr which entries matched nothing.

    Only what the plan would update in place: nobody accepts that a resource is missing, or made
    anew by every deployment.
    """
    for item in read():
        changes = plan.entries.get(item.resource, {}).get("changes") or {}
        differs = changes.get(item.field, {}).get("action", SKIP) != SKIP
        if plan.actions.get(item.resource) != "update" or not differs:
            unused = f"{item.resource} does not differ in {item.field}; remove the entry"
            print(f"{FILE}: {unused}", file=sys.stderr)
            continue
        del changes[item.field]
        if all(change.get("action") == SKIP for change in changes.values()):
            del plan.actions[item.resource]
