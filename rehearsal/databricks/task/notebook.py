"""Notebooks, and what the runtime gives them: spark, dbutils, display."""

import linecache
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rehearsal.databricks.task import errors, sql
from rehearsal.databricks.task.cells import Cell, cells
from rehearsal.databricks.task.errors import UnsupportedHere

RunSql = Callable[[str, int], None]  # a text, and how many lines come before it
SUFFIXES = ("", ".py", ".ipynb", ".sql", ".scala", ".r")
PARAMETER = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")


class NotebookExit(BaseException):
    """Carries the value of dbutils.notebook.exit past every `except Exception` of a notebook."""


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
            getArgument=lambda name, default="": self.values.get(name, default),
            getAll=self.values.copy,
            remove=self.values.pop,
            removeAll=self.values.clear,
            **declared,
        )


class TaskValues:
    """The functions of dbutils.jobs.taskValues (docs.databricks.com/jobs/task-values).

    `earlier` are other tasks' values by task and key, `own` what this task sets.
    """

    def __init__(self, earlier: dict[str, dict[str, Any]]) -> None:
        self.earlier, self.own = earlier, dict[str, Any]()

    def set(self, key: str, value: Any) -> None:
        self.own[key] = value

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:
        values = self.earlier.get(taskKey, {})
        if key not in values and default is None:
            raise ValueError(f"the task {taskKey} has set no value {key}, and there is no default")
        return values.get(key, default)


task_values = TaskValues({})  # of the task that this process runs


def dbutils(notebook: Path, parameters: dict[str, str], spark: Any) -> Part:
    """Return a notebook's dbutils (docs.databricks.com/dev-tools/databricks-utils)."""

    def run(
        path: str, timeout_seconds: int = 0, arguments: dict[str, object] | None = None
    ) -> str | None:
        texts = {name: str(value) for name, value in (arguments or {}).items()}
        return run_notebook(find(path, notebook.parent), texts, spark)

    def leave(value: object = "") -> None:
        raise NotebookExit(str(value))

    values = Part(part="dbutils.jobs.taskValues", get=task_values.get, set=task_values.set)
    return Part(
        part="dbutils",
        widgets=Widgets(parameters).part(),
        notebook=Part(part="dbutils.notebook", run=run, exit=leave),
        library=Part(part="dbutils.library", restartPython=lambda: None),
        jobs=Part(part="dbutils.jobs", taskValues=values),
        fs=Part(part="dbutils.fs"),
        secrets=Part(part="dbutils.secrets"),
    )


def display(value: Any, *_: object, **__: object) -> None:
    """Print a data frame as a table, anything else as Python shows it."""
    if hasattr(value, "show"):
        value.show(truncate=False)
    else:
        print(repr(value))


def find(path: str, folder: Path) -> Path:
    """Return a notebook's file: `path` is absolute or relative to `folder`, its suffix optional."""
    target = os.path.realpath(folder / path)
    for suffix in SUFFIXES:
        candidate = Path(target + suffix)
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no notebook {path}")


def notebook_names(notebook: Path, parameters: dict[str, str], spark: Any) -> dict[str, Any]:
    """Return the names that the runtime gives a notebook."""
    tools = dbutils(notebook, parameters, spark)
    names = {"spark": spark, "dbutils": tools, "display": display}
    return names | {"getArgument": tools.widgets.getArgument, "displayHTML": display}


def run_notebook(notebook: Path, parameters: dict[str, str], spark: Any) -> str | None:
    """Run a notebook with names of its own, as a job or dbutils.notebook.run does.

    Its folder comes first on Python's path and is the working directory. Returns its exit value.
    """
    module = types.ModuleType("__main__")
    vars(module).update(notebook_names(notebook, parameters, spark))
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


def run_cells(notebook: Path, names: dict[str, Any], run_sql: RunSql | None = None) -> None:
    """Run a notebook's cells; `run_sql` runs those in SQL, which are shown if it is not given.

    Raises UnsupportedHere for magics that are not played, ValueError for what is no notebook.
    """

    def show(text: str, before: int) -> None:
        show_sql(names, text)

    for cell in cells(notebook):
        if cell.language == "python":
            run_python(cell, names)
        elif cell.language == "sql":
            (run_sql or show)(cell.text, cell.before)
        elif cell.language == "run":
            run_cells(find(cell.text.strip(" '\""), notebook.parent), names, run_sql)
        elif not cell.language.startswith("md"):
            note(cell)


def run_python(cell: Cell, names: dict[str, Any]) -> None:
    """Run a cell in Python. As many empty lines come before it as in its file, for tracebacks."""
    text = "\n" * cell.before + cell.text
    if " (code cell " in cell.place:  # there is no such file to show a line of
        linecache.cache[cell.place] = (len(text), None, text.splitlines(True), cell.place)
    exec(compile(text, cell.place, "exec"), names)


def note(cell: Cell) -> None:
    """Print a magic that changes nothing here. Raises UnsupportedHere for others."""
    argument = cell.text.partition("\n")[0]
    text = f"%{cell.language} {argument}".strip()
    if cell.language in ("pip", "restart_python", "load_ext", "autoreload", "matplotlib", "config"):
        print(f"noted, not run: {text}")
        if cell.language == "pip":
            errors.noted.append(text)
    else:
        raise UnsupportedHere(f"{cell.place}:{cell.before + 1}: {text}")


def show_sql(names: dict[str, Any], text: str) -> None:
    """Run statements of SQL and show the last one's rows, which `_sqldf` has afterwards.

    `:name` and `${name}` are the notebook's widgets.
    """
    spark, widgets = names["spark"], names["dbutils"].widgets.getAll()
    frame = None
    for statement in sql.statements(sql.filled(text, widgets.get)):
        named = widgets.keys() & set(PARAMETER.findall(statement.text))
        used = {name: widgets[name] for name in named}
        frame = spark.sql(statement.text, args=used) if used else spark.sql(statement.text)
    if frame is not None:
        names["_sqldf"] = frame
        if getattr(frame, "columns", None):
            display(frame)
