"""Notebooks in source format, and what the runtime gives them: spark, dbutils, display."""

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class UnsupportedHere(NotImplementedError, AttributeError):
    """What a workspace can do and this stand-in cannot; hasattr() says no to it."""


# What Databricks' pyspark.pipelines has beyond open-source Spark's, or beyond DuckDB.
ONLY_IN_A_WORKSPACE = {
    *("append_flow", "create_sink", "create_streaming_table", "foreach_batch_sink"),
    *("create_auto_cdc_flow", "create_auto_cdc_from_snapshot_flow", "apply_changes"),
    *("expect", "expect_or_drop", "expect_or_fail"),
    *("expect_all", "expect_all_or_drop", "expect_all_or_fail"),
}


def missing_in_pipelines(name: str) -> Any:
    """Raises UnsupportedHere for what a workspace has, AttributeError for what nobody has."""
    if name in ONLY_IN_A_WORKSPACE:
        raise UnsupportedHere(f"pyspark.pipelines.{name}")
    raise AttributeError(f"module 'pyspark.pipelines' has no attribute {name!r}")


class NotebookExit(BaseException):
    """Carries the value of dbutils.notebook.exit past every `except Exception` of a notebook."""


HEADER, CELL, MAGIC = "# Databricks notebook source", "# COMMAND ----------", "# MAGIC"


class Part(types.SimpleNamespace):
    """A part of dbutils; what it lacks fails when it is used."""

    part: str

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedHere(f"{self.part}.{name}")


class Widgets:
    """The functions of dbutils.widgets: parameters, and the defaults that a notebook declares."""

    def __init__(self, parameters: dict[str, str]) -> None:
        self.values = dict(parameters)

    def declare(self, name: str, defaultValue: str, *_: object, **__: object) -> None:
        self.values.setdefault(name, defaultValue)

    def get(self, name: str) -> str:
        if name not in self.values:
            raise KeyError(f"{name}: neither a widget nor a parameter")
        return self.values[name]

    def part(self) -> Part:
        declared = dict.fromkeys(("text", "dropdown", "combobox", "multiselect"), self.declare)
        return Part(
            part="dbutils.widgets",
            get=self.get,
            getAll=self.values.copy,
            remove=self.values.pop,
            removeAll=self.values.clear,
            **declared,
        )


def dbutils(notebook: Path, parameters: dict[str, str], spark: Any) -> Part:
    """Return a notebook's dbutils (docs.databricks.com/dev-tools/databricks-utils)."""

    def run(
        path: str, timeout_seconds: int = 0, arguments: dict[str, object] | None = None
    ) -> str | None:
        texts = {name: str(value) for name, value in (arguments or {}).items()}
        return run_notebook(find(path, notebook.parent), texts, spark)

    def leave(value: object = "") -> None:
        raise NotebookExit(str(value))

    return Part(
        part="dbutils",
        widgets=Widgets(parameters).part(),
        notebook=Part(part="dbutils.notebook", run=run, exit=leave),
        library=Part(part="dbutils.library", restartPython=lambda: None),
        fs=Part(part="dbutils.fs"),
        secrets=Part(part="dbutils.secrets"),
    )


def display(value: Any) -> None:
    """Print a data frame as a table, anything else as Python shows it."""
    if hasattr(value, "show"):
        value.show(truncate=False)
    else:
        print(repr(value))


def find(path: str, folder: Path) -> Path:
    """Return a notebook's file: `path` is absolute or relative to `folder`, with .py or without."""
    target = Path(os.path.realpath(folder / path))
    for candidate in (target, Path(f"{target}.py"), Path(f"{target}.ipynb")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no notebook {path}")


def run_notebook(notebook: Path, parameters: dict[str, str], spark: Any) -> str | None:
    """Run a notebook with names of its own, as a job or dbutils.notebook.run does.

    Its folder comes first on Python's path and is the working directory. Returns its exit value.
    """
    module = types.ModuleType("__main__")
    vars(module).update(spark=spark, dbutils=dbutils(notebook, parameters, spark), display=display)
    before = sys.modules["__main__"], sys.path[:], os.getcwd()
    sys.modules["__main__"] = module
    sys.path.insert(0, str(notebook.parent))
    os.chdir(notebook.parent)
    try:
        run_cells(notebook, vars(module))
    except NotebookExit as stop:
        return str(stop)
    finally:
        sys.modules["__main__"], sys.path[:] = before[:2]
        os.chdir(before[2])
    return None


def run_cells(notebook: Path, names: dict[str, Any]) -> None:
    """Run a notebook in source format (docs.databricks.com/notebooks/notebook-format).

    Raises UnsupportedHere for another format, and for magics other than %md, %run and %pip.
    """
    lines = notebook.read_text(encoding="utf-8").splitlines()
    if lines[:1] != [HEADER]:
        raise UnsupportedHere(f"{notebook}:1: not a notebook in source format: no {HEADER!r}")
    starts = [0, *(number for number, line in enumerate(lines) if line.startswith(CELL))]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        cell = lines[start:end]
        for number, magic, argument in _magics(cell):
            _run_magic(notebook, start + number, magic, argument, names)
        # As many empty lines as come before the cell: tracebacks name the right one.
        exec(compile("\n" * start + "\n".join(cell), str(notebook), "exec"), names)


def _magics(cell: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, name and argument of a cell's magics."""
    for number, line in enumerate(cell, 1):
        magic, _, argument = line.removeprefix(MAGIC).strip().partition(" ")
        if magic.startswith("%md") and line.startswith(MAGIC):
            return  # the rest of the cell is text
        if magic and line.startswith(MAGIC):
            yield number, magic, argument


def _run_magic(
    notebook: Path, number: int, magic: str, argument: str, names: dict[str, Any]
) -> None:
    if magic == "%run":
        run_cells(find(argument.strip(" '\""), notebook.parent), names)
    elif magic in ("%pip", "%restart_python"):
        print(f"noted, not run: {magic} {argument}")
    else:
        raise UnsupportedHere(f"{notebook}:{number}: {magic} {argument}")
