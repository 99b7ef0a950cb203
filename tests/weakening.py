"""Changes to a rendering that weaken it: how a row of tests/weakenings.py is written and made."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT, IAM = "pat-serverless", "aws-iam-serverless"
STACK, BUNDLE, PINS = "cicd/stack.yml", "databricks.yml", "cicd/tools.env"


@dataclass(frozen=True)
class Edit:
    """The first `old` after a text becomes `new`."""

    old: str
    new: str
    after: str = ""
    file: str = STACK

    def apply(self, root: Path) -> None:
        """Edits the file; an edit that changes nothing is a fault of the test."""
        path = root / self.file
        head, mark, tail = cut(path.read_text(encoding="utf-8"), self.after)
        assert self.old in tail, f"{self.file} has no {self.old!r} after {self.after!r}"
        assert self.old != self.new
        path.write_text(head + mark + tail.replace(self.old, self.new, 1), encoding="utf-8")


@dataclass(frozen=True)
class Drop:
    """A line goes, with all that is indented below it."""

    line: str  # what the line holds
    after: str = ""
    file: str = STACK

    def apply(self, root: Path) -> None:
        """Removes the first such line after a text."""
        path = root / self.file
        head, mark, tail = cut(path.read_text(encoding="utf-8"), self.after)
        lines = tail.splitlines(keepends=True)
        first = next(number for number, line in enumerate(lines) if self.line in line)
        last = first + 1
        while last < len(lines) and depth(lines[last]) > depth(lines[first]):
            last += 1
        path.write_text(head + mark + "".join(lines[:first] + lines[last:]), encoding="utf-8")


@dataclass(frozen=True)
class New:
    """A file that is new, or longer at its end."""

    file: str
    text: str

    def apply(self, root: Path) -> None:
        """Appends to the file."""
        path = root / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(self.text)


Change = Edit | Drop | New


@dataclass(frozen=True)
class Weakening:
    """What a change means, the change, and a part of what the check has to say of it."""

    what: str
    changes: tuple[Change, ...]
    says: str
    variant: str = DEFAULT

    def apply(self, root: Path) -> None:
        """Makes the changes."""
        for change in self.changes:
            change.apply(root)


def cut(text: str, after: str) -> tuple[str, str, str]:
    """A text before, at and after the first match of another one."""
    assert after in text, f"nothing reads {after!r}"
    return text.partition(after) if after else ("", "", text)


def depth(line: str) -> float:
    """How far a line is indented; an empty line belongs to what is around it."""
    return len(line) - len(line.lstrip()) if line.strip() else float("inf")


def of(name: str) -> str:
    """Where a resource, a parameter or a target starts."""
    return f"\n  {name}:\n"


def may(role: str, action: str, resource: str = '"*"') -> Edit:
    """One more right of a role."""
    statement = f"              - {{Effect: Allow, Action: {action}, Resource: {resource}}}\n"
    start = '            Version: "2012-10-17"\n            Statement:\n'
    return Edit(start, start + statement, of(role))


def resource(text: str) -> Edit:
    """One more resource of the stack."""
    return Edit("\nOutputs:\n", f"\n{text.strip(chr(10))}\n\nOutputs:\n")
