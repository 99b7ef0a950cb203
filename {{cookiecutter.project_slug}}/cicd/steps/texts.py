"""Names that others chose, written so that they cannot look like anything else on the page."""

import json
import re

PLAIN = re.compile(r"[A-Za-z0-9._/+=@,~-]+")
UNUSUAL_IN_KEY = re.compile(r"[^A-Za-z0-9_.-]")


def quoted(name: str) -> str:
    """Returns a name as it is if it is plain, else in quotes and with escapes, in ASCII."""
    if PLAIN.fullmatch(name):
        return name
    return json.dumps(name).replace("`", r"\u0060")


def escape(character: str) -> str:
    """Returns a character as JSON escapes it."""
    return json.dumps(character)[1:-1] if not character.isascii() else f"\\u{ord(character):04x}"


def key_text(key: str) -> str:
    """Returns the key of a resource, with an escape for all that a key usually does not have."""
    return UNUSUAL_IN_KEY.sub(lambda match: escape(match[0]), key)


def printable(text: str) -> str:
    """Returns a text on one line: no control characters, none that turn the direction around."""
    return "".join(char if char.isprintable() else escape(char) for char in text)


def cut(lines: list[str], most: int, noun: str = "") -> list[str]:
    """Returns the lines, or the first of them and how many more there are."""
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"- ... and {len(lines) - most} more {noun}".rstrip()]
