"""What a check is, and what it yields."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


class Finding(NamedTuple):
    """What is wrong at a place, and how to fix it."""

    place: Place
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether the check passes in spite of it."""
        return self.message.startswith("warning: ")


class NotCheckedError(Exception):
    """What a check could not prove, and why."""


Findings = Iterator[tuple[Place, str]]
Check = Callable[..., Findings]
CHECKS: list[Check] = []
FIRST: dict[Check, Check] = {}


def check(function: Check) -> Check:
    """Registers a check. It gets what its parameters name: files, bundle, stack or lint."""
    CHECKS.append(function)
    return function


def check_after(first: Check) -> Callable[[Check], Check]:
    """Registers a check whose findings would mislead while `first` has some."""

    def register(function: Check) -> Check:
        FIRST[function] = first
        return check(function)

    return register


def suggest(word: str, known: Iterable[str]) -> str:
    """What may have been meant."""
    names = list(known)
    similar = difflib.get_close_matches(word, names, 1)
    if similar:
        return f"did you mean {similar[0]}?"
    return f"there are: {', '.join(names) or 'none'}"
