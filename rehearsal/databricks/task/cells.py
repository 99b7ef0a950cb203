"""Notebooks as cells: source format in Python and SQL, and Jupyter's.

docs.databricks.com/notebooks/notebook-format, nbformat.readthedocs.io
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal.databricks.task.errors import UnsupportedHere

COMMENTS = {".py": "#", ".sql": "--"}
LANGUAGES = {".py": "python", ".sql": "sql", ".ipynb": "python"}
TITLE = "Databricks notebook source"
OTHERS = {".scala": "Scala", ".r": "R"}
# Magics of a line; each other one takes the rest of its cell.
OF_A_LINE = {"run", "pip", "restart_python", "load_ext", "autoreload", "matplotlib", "config"}


class Cell(NamedTuple):
    """A part of a notebook: "python" or "sql" with its text, or a magic with its argument.

    `before` is how many lines of `place`, a file or a Jupyter cell, come before the text.
    """

    language: str
    text: str
    before: int
    place: str


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook by its name or first line."""
    if file.suffix == ".ipynb":
        return True
    comment = COMMENTS.get(file.suffix, "")
    with file.open(encoding="utf-8", errors="replace") as lines:
        return bool(comment) and lines.readline().strip() == f"{comment} {TITLE}"


def cells(file: Path) -> Iterator[Cell]:
    """The cells of a notebook. Raises UnsupportedHere for R and Scala, ValueError else."""
    if file.suffix.lower() in OTHERS:
        raise UnsupportedHere(f"{file}: a notebook in {OTHERS[file.suffix.lower()]}")
    if not is_notebook(file):
        first = f"{COMMENTS.get(file.suffix, '#')} {TITLE}"
        raise ValueError(f"{file}:1: not a notebook: its first line has to be {first!r}")
    if file.suffix == ".ipynb":
        return jupyter_cells(file)
    return source_cells(file, COMMENTS[file.suffix])


def source_cells(file: Path, comment: str) -> Iterator[Cell]:
    """The cells of a notebook in source format."""
    magic, separator = f"{comment} MAGIC", f"{comment} COMMAND ----------"
    lines = file.read_text(encoding="utf-8").splitlines()
    starts = [0, *(number for number, line in enumerate(lines) if line.startswith(separator))]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        texts = [line if line.startswith(magic) else "" for line in lines[start:end]]
        stripped = [line.removeprefix(magic).removeprefix(" ") for line in texts]
        yield from magic_cells(stripped, start, str(file))
        own = [line if not line.startswith(magic) else "" for line in lines[start:end]]
        yield Cell(LANGUAGES[file.suffix], "\n".join(own), start, str(file))


def magic_cells(lines: list[str], before: int, place: str) -> Iterator[Cell]:
    """The magics of a cell, whose other lines are empty."""
    for number, line in enumerate(lines):
        name, _, argument = line.strip().lstrip("%").partition(" ")
        if name in OF_A_LINE:
            yield Cell(name, argument, before + number, place)
        elif name:
            rest = [argument, *lines[number + 1 :]]
            yield Cell(name, "\n".join(rest), before + number, place)
            return


def jupyter_cells(file: Path) -> Iterator[Cell]:
    """The cells of a Jupyter notebook. Raises ValueError for a file that is none."""
    try:
        notebook: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a notebook: {error!r}") from None
    language = jupyter_language(notebook.get("metadata", {}))
    for number, source in enumerate(sources, 1):
        lines, place = "".join(source).splitlines(), f"{file} (code cell {number})"
        magics = jupyter_magics(lines)
        yield from magic_cells(magics, 0, place)
        own = [line * (not magic) for line, magic in zip(lines, magics, strict=True)]
        yield Cell(language, "\n".join(own), 0, place)


def jupyter_magics(lines: list[str]) -> list[str]:
    """The lines of a Jupyter cell that are magics, the others empty."""
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%") and first.split()[0].lstrip("%") not in OF_A_LINE:
        return lines
    return [line * bool(re.match(r"%\w|!", line)) for line in lines]


def jupyter_language(metadata: dict[str, Any]) -> str:
    """The language of a Jupyter notebook's cells. Raises UnsupportedHere for R and Scala."""
    own = metadata.get("application/vnd.databricks.v1+notebook", {})
    info = metadata.get("language_info", {})
    language = str(own.get("language") or info.get("name") or "python").lower()
    if language not in ("python", "sql"):
        raise UnsupportedHere(f"a notebook in {language}")
    return language
