"""SQL as text: its statements, and what only Databricks has in them."""

import re
from collections.abc import Callable
from typing import NamedTuple

from rehearsal.databricks.task.errors import UnsupportedHere

TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)"""
    r"""|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|\w+|.""",
    re.DOTALL,
)
VARIABLE = re.compile(r"\$\{([\w.-]+)\}")
# Functions that open-source Spark lacks (docs.databricks.com/sql/language-manual).
ONLY_DATABRICKS = re.compile(
    r"(read_files|read_kafka|read_kinesis|read_pubsub|read_pulsar|read_statestore|cloud_files"
    r"|table_changes|event_log|vector_search|http_request|remote_query|sql_keywords|(try_)?secret"
    r"|list_secrets|ai_\w+|h3_\w+|is_(account_)?group_member|is_member)",
    re.IGNORECASE,
)
STREAMED = {"FROM", "JOIN", ","}  # STREAM after one of these is Databricks' operator


class Statement(NamedTuple):
    """A statement, and the number of the line that it begins on."""

    text: str
    line: int


class Token(NamedTuple):
    """A word, quoted text or sign; `start` and `end` are its place in the text."""

    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The word in capitals."""
        return self.text.upper()


NOTHING = Token("", 0, 0)


def tokens(text: str) -> list[Token]:
    """What a text consists of, without spaces and comments."""
    found = TOKEN.finditer(text)
    return [Token(match[0], *match.span()) for match in found if not match["space"]]


def statements(text: str) -> list[Statement]:
    """The statements of a text, which semicolons separate."""
    result, start = [], 0
    every = tokens(text)
    ends = [token.start for token in every if token.text == ";"]
    for end in [*ends, len(text)]:
        first = next((one for one in every if start <= one.start < end), None)
        if first:
            line = text.count("\n", 0, first.start) + 1
            result.append(Statement(text[first.start : end].rstrip(), line))
        start = end + 1
    return result


def filled(text: str, value: Callable[[str], str | None]) -> str:
    """A text with `${name}` replaced where there is a value."""
    return VARIABLE.sub(lambda match: value(match[1]) or match[0], text)


def without_streams(text: str) -> str:
    """A query with each STREAM(x), STREAM x and LIVE.x as x.

    Raises UnsupportedHere for what only Databricks can do in a query.
    """
    every, left_out = tokens(text), list[Token]()
    for number, token in enumerate(every):
        before = every[number - 1].word if number else ""
        after = every[number + 1] if number + 1 < len(every) else NOTHING
        refuse(token, before, after)
        if token.word == "LIVE" and after.text == "." and before != ".":
            left_out += [token, after]
        elif token.word == "STREAM" and before in STREAMED and starts_a_table(after):
            left_out.append(token)
            if after.text == "(":
                left_out += [after, closing(every[number + 1 :])]
    result, place = "", 0
    for token in sorted(left_out, key=lambda token: token.start):
        result, place = result + text[place : token.start], token.end
    return result + text[place:]


def closing(every: list[Token]) -> Token:
    """The bracket that closes the first one; an empty token if there is none."""
    depth = 0
    for token in every:
        depth += (token.text == "(") - (token.text == ")")
        if not depth:
            return token
    return NOTHING


def starts_a_table(token: Token) -> bool:
    """Whether a token begins the name of a table, or a table in brackets."""
    return bool(re.match(r"[\w`(]", token.text)) and token.word not in ("AS", "WHERE", "JOIN", "ON")


def refuse(token: Token, before: str, after: Token) -> None:
    """Raises UnsupportedHere for what only Databricks can do in a query."""
    if after.text == "(" and before != "." and ONLY_DATABRICKS.fullmatch(token.text):
        raise UnsupportedHere(f"{token.text.lower()}() of Databricks SQL")
    if token.word == "WATERMARK" and after.text and before not in (".", ",", "SELECT"):
        raise UnsupportedHere("WATERMARK of Databricks SQL")
