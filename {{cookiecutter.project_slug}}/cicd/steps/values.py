"""A field's values as short texts, without secrets."""

import json
import re
from itertools import takewhile
from typing import Any, NamedTuple

from fields import Field, Pending, differences, find
from hiding import HIDDEN, Secret, hide, is_option, redacted
from texts import printable

LONGEST = 200  # of a value, in characters
AROUND = 30  # characters that are shown before the first difference
# The name of an item (`tasks[task_key='refresh_token']`) hides nothing below it ...
ITEM = re.compile(r"\[\w+='(?:[^']|'')*'\]")
# ... except where the item is a name with a value.
NAMED_VALUE = re.compile(r"\[(?:name|key)='((?:[^']|'')*)'\]\.(?:default|value)$")
INDEX = re.compile(r"\[(\d+)\]$")


class Line(NamedTuple):
    """A field as its reader sees it."""

    path: str
    before: str
    after: str


# ---- Without secrets -----------------------------------------------------------------------------


def key_of(path: str) -> str:
    """Returns the part of a path that says whether its value is secret."""
    named = NAMED_VALUE.search(path)
    return named[1] if named else ITEM.sub("", path)


def follows_option(tree: Any, path: str) -> bool:
    """Whether a path leads to an item of a list that comes after an option such as --password."""
    index = INDEX.search(path)
    if not index or index[1] == "0":
        return False
    return is_option(find(tree, f"{path[: index.start()]}[{int(index[1]) - 1}]"))


def hidden(field: Field, tree: Any) -> Field:
    """Returns a field without secrets; tree is the resource that it is a part of."""
    key = "password" if follows_option(tree, field.path) else key_of(field.path)
    return Field(field.path, hide(key, field.before), hide(key, field.after))


# ---- Texts ---------------------------------------------------------------------------------------


def revealed(value: Any) -> Any:
    """Returns a value with the texts of its secrets."""
    if isinstance(value, Secret):
        return value.text
    if isinstance(value, dict):
        return {redacted(key): revealed(item) for key, item in value.items()}
    return [revealed(item) for item in value] if isinstance(value, list) else value


def text(value: Any, folder: str) -> str:
    """Returns a value on one line; the deployment's own folder is `...`."""
    if value is None:
        return "(none)"
    if isinstance(value, Pending):
        return f"(known when it is deployed: {printable(value)})"
    if isinstance(value, Secret) and value.text == HIDDEN:
        return value.text
    shown = printable(json.dumps(revealed(value), ensure_ascii=False))
    return shown.replace(f'"{folder}', '".../') if folder else shown


def clipped(line: str, start: int) -> str:
    """Returns a text from some character on, with its length if it is long."""
    if len(line) <= LONGEST:
        return line
    before, after = "..." if start else "", "..." if start + LONGEST < len(line) else ""
    return f"{before}{line[start : start + LONGEST]}{after} ({len(line)} characters)"


def unlike(before: str, after: str, same: int) -> tuple[int, int]:
    """Returns where in two texts, which start with so much the same, the common end begins."""
    pairs = zip(reversed(before[same:]), reversed(after[same:]), strict=False)
    end = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return len(before) - end, len(after) - end


def cut(before: str, after: str) -> tuple[str, str]:
    """Returns two texts; what is long from shortly before the first difference on."""
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    start = max(0, same - AROUND)
    # Where nothing is the same at all, the lengths say enough.
    further = same and max(unlike(before, after, same)) > start + LONGEST
    note = " (differs further on)" if further else ""
    return clipped(before, start), clipped(after, start) + note


def line(field: Field, folder: str) -> Line:
    """Returns a field without secrets as its reader sees it."""
    before, after = cut(text(field.before, folder), text(field.after, folder))
    if before == after and HIDDEN in before:
        after = f"{after} (what is hidden changes)"
    return Line(clipped(printable(redacted(field.path)), 0), before, after)


def lines(field: Field, tree: Any, folder: str) -> list[Line]:
    """Returns what differs in a field of a resource; tree is all of the resource."""
    field = hidden(field, tree)
    return [line(part, folder) for part in list(differences(field)) or [field]]
