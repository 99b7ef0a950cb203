"""Runs one task of a job, in a process of its own that warm.py makes.

The argument is a JSON file that compute.py writes; how the task ended goes to the file that it
names.
"""

import builtins
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import io
import json
import os
import re
import runpy
import sys
import tokenize
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rehearsal.databricks.task import duckdb_engine, notebook, pipelines, spark_engine
from rehearsal.databricks.task.errors import UnsupportedHere
from rehearsal.databricks.task.notebook import find, run_notebook
from rehearsal.machine.guard.sitecustomize import NetworkRefused

WORKSPACE = re.compile(r"/+Workspace(?=/|$)")
PATH_PARAMETER = re.compile(r"\b(?:path|src|dst)\b")
PATH_NAMES = {"file", "path", "src", "dst"}


def map_workspace(files: Path) -> None:
    """Make open, os, what builds on them (pathlib, shutil), and import find /Workspace in `files`.

    C libraries, other programs and Spark's server do not: they see the host's paths.
    """
    mapping = _Mapping(files)
    for name, function in list(vars(os).items()):
        if count := _path_parameters(function):
            setattr(os, name, mapping.mapped(function, count))
    mapped_open: Any = mapping.mapped(open)
    io.open = builtins.open = mapped_open
    vars(tokenize)["_builtin_open"] = mapped_open  # traceback reads the source with it
    sys.path_hooks.insert(0, mapping.finder)


def _path_parameters(function: object) -> int:
    """How many paths a function of os takes, which come first; 0 if it is not to be mapped."""
    if not isinstance(function, types.BuiltinFunctionType) or function.__name__ == "fspath":
        return 0
    return len(PATH_PARAMETER.findall(getattr(function, "__text_signature__", None) or ""))


class _Mapping:
    """The workspace's paths, and the files of this machine that stand for them."""

    def __init__(self, files: Path) -> None:
        self.files = files

    def real(self, path: Any) -> Any:
        """This machine's path for one of the workspace's; anything else as it is."""
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
        if isinstance(text, str) and WORKSPACE.match(text):
            return str(self.files / text.lstrip("/"))
        return path

    def mapped(self, function: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
        """A function whose first `count` arguments are paths, for the workspace's paths too."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            for name in named.keys() & PATH_NAMES:
                named[name] = self.real(named[name])
            return function(*map(self.real, arguments[:count]), *arguments[count:], **named)

        return call

    def finder(self, path: str) -> importlib.machinery.FileFinder:
        """Finds modules below /Workspace, for sys.path_hooks."""
        if self.real(path) == path:
            raise ImportError(path)
        loader = (importlib.machinery.SourceFileLoader, [".py"])
        return importlib.machinery.FileFinder(self.real(path), loader)


Request = dict[str, Any]


def notebook_task(request: Request, spark: Any) -> None:
    """Run a notebook, and print its exit value."""
    value = run_notebook(find(request["path"], Path("/")), request["parameters"], spark)
    if value is not None:
        print(f"Notebook exited: {value}")


def wheel_task(request: Request, spark: Any) -> None:
    """Call the entry point in the package's metadata, else the package's function of that name.

    (docs.databricks.com/jobs/python-wheel) PackageNotFoundError and AttributeError without either.
    """
    package, name = request["package"], request["entry_point"]
    sys.argv = [package, *request["parameters"]]
    for entry_point in importlib.metadata.distribution(package).entry_points.select(name=name):
        entry_point.load()()
        return
    getattr(importlib.import_module(package.replace("-", "_")), name)()


def script_task(request: Request, spark: Any) -> None:
    """Run a Python file as a program, with `parameters` in sys.argv."""
    path = str(request["path"])
    place = Path(request["files"], path.lstrip("/"))
    sys.argv = [path, *request["parameters"]]
    sys.path.insert(0, str(place.parent))
    runpy.run_path(str(place), run_name="__main__")


def pipeline_task(request: Request, spark: Any) -> None:
    """Update a pipeline's datasets; root_path is on Python's path, a missing schema is created.

    Raises FileNotFoundError without any source, UnsupportedHere for a library of another kind.
    """
    spec, files = request["spec"], Path(request["files"])
    sources = sorted(
        source for library in spec["libraries"] for source in _library_sources(library, files)
    )
    if not sources:
        raise FileNotFoundError(f"no source in {spec['libraries']}")
    if root := spec.get("root_path"):
        sys.path.insert(0, str(files / root.lstrip("/")))
    engine, pipeline = ENGINES[request["engine"]["name"]], pipelines.Pipelines(spark)
    engine.create_schema(spark, spec["catalog"], spec["schema"])
    for name, value in spec.get("configuration", {}).items():
        spark.conf.set(name, value)
    pipelines.read_streams_whole(spark)
    pipelines.load(pipeline, sources)
    pipelines.update(pipeline, engine)


def _library_sources(library: dict[str, Any], files: Path) -> Iterator[Path]:
    """The source files that a pipeline's library names."""
    match library:
        case {"glob": {"include": str(path)}} | {"file": {"path": str(path)}}:
            base = files / path.removesuffix("/**").lstrip("/")
            candidates = base.rglob("*") if path.endswith("/**") else [base]
            yield from (p for p in candidates if p.is_file() and "__pycache__" not in p.parts)
        case {"notebook": {"path": str(path)}}:
            yield find(path, Path("/"))
        case _:
            raise UnsupportedHere(f"library {library} in a pipeline")


def samples_task(request: Request, spark: Any) -> None:
    """Write samples.nyctaxi.trips: 48 made rows, the same each time, some unpaid or unmoved."""
    from pyspark.sql import functions as F

    ENGINES[request["engine"]["name"]].create_schema(spark, "samples", "nyctaxi")
    rows = []
    for n in range(48):
        hour = f"2016-02-0{1 + n * n % 7} {n % 24:02}"
        times = (f"{hour}:{n % 30:02}:00", f"{hour}:{31 + n % 29}:00")
        numbers = (round(n % 11 * 0.7, 2), n % 13 * 2.5, 10001 + n % 5, 10001 + n % 3)
        rows.append(times + numbers)
    pickup, dropoff = "tpep_pickup_datetime", "tpep_dropoff_datetime"
    columns = "trip_distance double, fare_amount double, pickup_zip int, dropoff_zip int"
    trips = spark.createDataFrame(rows, f"{pickup} string, {dropoff} string, {columns}")
    trips = trips.withColumns({name: F.col(name).cast("timestamp") for name in (pickup, dropoff)})
    trips.write.saveAsTable("samples.nyctaxi.trips")


ENGINES: dict[str, Any] = {"duckdb": duckdb_engine, "spark": spark_engine}
TASKS: dict[str, Callable[[Request, Any], None]] = {
    "notebook": notebook_task,
    "pipeline": pipeline_task,
    "samples": samples_task,
    "script": script_task,
    "wheel": wheel_task,
}


def warm_up() -> None:
    """Import what every task on DuckDB needs (see warm.py)."""
    with contextlib.suppress(ModuleNotFoundError):  # Spark's environment has pandas only
        for name in ("pandas", "duckdb", "sqlframe.duckdb.functions"):
            importlib.import_module(name)
        list(sys.modules["sqlglot"].Dialect.classes)  # each data frame asks for every SQL dialect


def main(arguments: list[str]) -> int:
    """Run one task; write whether it ended well and, if not, the error as a person reads it."""
    request: Request = json.loads(Path(arguments[0]).read_text())
    engine, task, error = request["engine"], request["task"], ""
    map_workspace(Path(request["files"]))
    sys.path[:0] = request["libraries"]
    # The first task's process compiles the engine for all; no later one leaves files in workspaces.
    sys.dont_write_bytecode = task != "samples"
    notebook.task_values.earlier = request.get("values", {})
    try:
        TASKS[task](request, ENGINES[engine["name"]].connect(engine))
    except SystemExit as stop:
        if stop.code not in (None, 0):
            error = _report(stop)
    except BaseException as raised:  # of the user's code: whatever it is, it ends the task
        error = _report(raised, ENGINES[engine["name"]].limit(raised))
    result = {"ok": not error, "error": error, "values": notebook.task_values.own}
    Path(request["result"]).write_text(json.dumps(result, default=str))
    return 0


def _refused(error: BaseException) -> NetworkRefused | None:
    """The refused connection that an error comes from, if it does."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, NetworkRefused):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _report(error: BaseException, limit: str = "") -> str:
    """An error with its trace, from the user's code on; `limit` says what this machine lacks."""
    if refused := _refused(error):
        return f"UnsupportedHere: {refused}\n"
    frames, package = error.__traceback__, str(Path(__file__).parent)
    while frames and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(package):
        frames = frames.tb_next
    is_ours = frames and frames.tb_frame.f_code.co_filename.startswith(package)
    trace = "" if is_ours else "".join(traceback.format_exception(type(error), error, frames))
    first = f"{UnsupportedHere.__name__}: {limit}" if limit else f"{type(error).__name__}: {error}"
    return f"{first}\n{trace}"
