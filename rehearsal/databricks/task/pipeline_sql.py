"""A pipeline's SQL: what its statements declare.

docs.databricks.com/aws/en/ldp/developer/sql-ref
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from rehearsal.databricks.task.errors import UnsupportedHere
from rehearsal.databricks.task.sql import NOTHING, Statement, Token, tokens, without_streams

MODIFIERS = {"OR", "REFRESH", "REPLACE", "PRIVATE", "TEMPORARY", "TEMP", "LIVE"}
MODIFIERS |= {"STREAMING", "INCREMENTAL", "MATERIALIZED"}
# Clauses that leave a table's rows as they are, and how many words follow them.
CLAUSES = {"USING": 1, "COMMENT": 1, "LOCATION": 1, "TBLPROPERTIES": 0, "PARTITIONED": 1}
CLAUSES |= {"CLUSTER": 1, "DEFAULT": 2}
CONSTRAINTS = {"PRIMARY", "FOREIGN", "UNIQUE", "CHECK"}  # the service enforces none of them
ACTIONS = {"DROP": "drop", "FAIL": "fail"}
# What a column may have beside its name and type without changing the table's rows.
CHANGES_ROWS = {"MASK", "GENERATED", "DEFAULT"}


@dataclass
class Declaration:
    """A table, view or flow: `query` is what Spark takes, "" if there is none.

    An expectation is a name, a condition, and what happens to rows that do not meet it.
    """

    kind: str  # "table", "view", "temporary view" or "flow"
    name: str  # of what a flow writes to
    query: str = ""
    expectations: list[tuple[str, str, str]] = field(default_factory=list)


class Reader:
    """Reads a statement token by token. Raises UnsupportedHere where it does not know the next."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.place = text, tokens(text), 0

    @property
    def next(self) -> Token:
        """The next token; an empty one at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else NOTHING

    def take(self) -> Token:
        """Reads a token."""
        token = self.next
        self.place += 1
        return token

    def skip(self, *words: str) -> bool:
        """Reads these words, if they come next."""
        found = [token.word for token in self.tokens[self.place : self.place + len(words)]]
        if found != list(words):
            return False
        self.place += len(words)
        return True

    def name(self) -> str:
        """Reads a name with its parts; `LIVE.` is left out."""
        parts = [self.take().text]
        while self.skip("."):
            parts.append(self.take().text)
        return ".".join(parts[1:] if parts[0].upper() == "LIVE" else parts)

    def brackets(self) -> str:
        """Reads what stands in brackets, if that comes next; returns it without them."""
        if not self.skip("("):
            return ""
        start, depth = self.next.start, 1
        while depth and self.next.text:
            token = self.take()
            depth += (token.text == "(") - (token.text == ")")
        return self.text[start : token.start]

    def rest(self) -> str:
        """The text from here on."""
        return self.text[self.next.start :] if self.next.text else ""

    def unknown(self) -> NoReturn:
        """Raises UnsupportedHere, naming the next words."""
        raise UnsupportedHere(" ".join(token.text for token in self.tokens[self.place :][:4]))


def declaration(statement: Statement) -> Declaration:
    """What a CREATE statement declares. Raises UnsupportedHere for what it does not know.

    It reads `CREATE [OR REFRESH] STREAMING TABLE | MATERIALIZED VIEW`, `CREATE [TEMPORARY] VIEW`,
    `CREATE FLOW ... AS INSERT INTO`, and the same with LIVE, as it was written earlier.
    """
    reader = Reader(statement.text)
    if not reader.skip("CREATE"):
        reader.unknown()
    modifiers = set()
    while reader.next.word in MODIFIERS:
        modifiers.add(reader.take().word)
    kind = reader.next.word
    if kind not in READERS or (kind == "TABLE" and not modifiers & {"STREAMING", "LIVE"}):
        reader.place = 0
        reader.unknown()
    reader.take()
    reader.skip("IF", "NOT", "EXISTS")
    return READERS[kind](reader, modifiers)


def table(reader: Reader, modifiers: set[str]) -> Declaration:
    """Reads a table from its name on."""
    result = Declaration("table", reader.name())
    read_parts(reader, result)
    return result


def view(reader: Reader, modifiers: set[str]) -> Declaration:
    """Reads a view from its name on. The workspace keeps a materialized view as a table."""
    result = table(reader, modifiers)
    if "MATERIALIZED" not in modifiers:
        is_temporary = modifiers & {"TEMPORARY", "TEMP", "LIVE"}
        result.kind = "temporary view" if is_temporary else "view"
    return result


def flow(reader: Reader, modifiers: set[str]) -> Declaration:
    """Reads a flow from its name on."""
    reader.name()
    if reader.skip("COMMENT"):
        reader.take()
    if not reader.skip("AS", "INSERT", "INTO"):
        reader.skip("AS")
        reader.unknown()
    reader.skip("ONCE")
    target = reader.name()
    reader.skip("BY", "NAME")
    return Declaration("flow", target, without_streams(reader.rest()))


READERS: dict[str, Callable[[Reader, set[str]], Declaration]] = {
    "TABLE": table,
    "VIEW": view,
    "FLOW": flow,
}


def read_parts(reader: Reader, result: Declaration) -> None:
    """Reads columns, constraints, clauses and query into a declaration."""
    for part in parts(reader.brackets()):
        read_column(Reader(part), result)
    while reader.next.text:
        if reader.skip("AS"):
            result.query = without_streams(reader.rest())
            return
        if reader.next.word not in CLAUSES:
            reader.unknown()
        for _ in range(1 + CLAUSES[reader.next.word]):
            reader.take()
        reader.brackets()


def read_column(reader: Reader, result: Declaration) -> None:
    """Reads a column or a constraint; an expectation is added to a declaration."""
    if not reader.skip("CONSTRAINT"):
        words = {token.word for token in reader.tokens[1:]}
        if words & CHANGES_ROWS:
            raise UnsupportedHere(f"{reader.text} in the columns of {result.name}")
        return
    name = reader.take().text.strip("`")
    if reader.next.word in CONSTRAINTS:
        return
    if not reader.skip("EXPECT"):
        reader.unknown()
    condition, action = reader.brackets(), "warn"
    if reader.skip("ON", "VIOLATION"):
        if reader.next.word not in ACTIONS:
            reader.unknown()
        action = ACTIONS[reader.take().word]
    result.expectations.append((name, condition, action))


def parts(text: str) -> list[str]:
    """A list in SQL as its parts: its commas outside of brackets separate them."""
    result, start, depth = [], 0, 0
    for token in tokens(text):
        depth += (token.text in "([<") - (token.text in ")]>")
        if token.text == "," and not depth:
            result.append(text[start : token.start])
            start = token.end
    return [part for part in (*result, text[start:]) if part.strip()]
