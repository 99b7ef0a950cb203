"""Runs one task of a job, in a process of its own that warm.py makes.

The engine's interpreter executes it: it imports the standard library, and what the engine brings.
The argument is a JSON file that spark.py writes; how the task ended goes to the file that it names.
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
from pathlib import Path

HEADER, CELL, MAGIC = "# Databricks notebook source", "# COMMAND ----------", "# MAGIC"


class UnsupportedHere(NotImplementedError, AttributeError):
    """What a workspace can do and this stand-in cannot; hasattr() says no to it."""


class NotebookExit(BaseException):
    """Carries the value of dbutils.notebook.exit past every `except Exception` of a notebook."""


def map_workspace(files: Path) -> None:
    """Make open, os, what builds on them (pathlib, shutil), and import find /Workspace in `files`.

    C libraries, other programs and Spark's server do not: they see the host's paths.
    """

    def real(path):
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else b""
        inside = isinstance(text, str) and re.match(r"/+Workspace(?=/|$)", text)
        return str(files / text.lstrip("/")) if inside else path

    def mapped(function, count=1):
        @functools.wraps(function)
        def call(*arguments, **named):
            for name in named.keys() & {"file", "path", "src", "dst"}:
                named[name] = real(named[name])
            return function(*map(real, arguments[:count]), *arguments[count:], **named)

        return call

    def finder(path):
        if real(path) == path:
            raise ImportError(path)
        loader = (importlib.machinery.SourceFileLoader, [".py"])
        return importlib.machinery.FileFinder(real(path), loader)

    for name, function in list(vars(os).items()):
        signature = getattr(function, "__text_signature__", None) or ""
        count = len(re.findall(r"\b(?:path|src|dst)\b", signature))
        if count and isinstance(function, types.BuiltinFunctionType) and name != "fspath":
            setattr(os, name, mapped(function, count))
    io.open = builtins.open = tokenize._builtin_open = mapped(open)  # the last is traceback's
    sys.path_hooks.insert(0, finder)


def connect_spark(engine: dict):
    """Return a session of the rehearsal's Spark Connect server; user code gets the same one."""
    os.environ["SPARK_REMOTE"] = engine["remote"]
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.readwriter import DataFrameWriter

    def save_as_table(writer, name, format=None, mode=None, partitionBy=None, **options):
        # saveAsTable always sends `USING`, which Spark's JDBC catalog refuses; writeTo does not.
        target = DataFrame(writer._df, writer._spark).writeTo(name)
        mode = (mode or writer._write.mode or "error").lower()
        if mode == "overwrite":
            target.createOrReplace()
        elif mode in ("append", "ignore") and writer._spark.catalog.tableExists(name):
            if mode == "append":
                target.append()
        else:
            target.create()

    DataFrameWriter.saveAsTable = save_as_table
    builder = SparkSession.builder.config("spark.sql.connect.serverStacktrace.enabled", "false")
    return builder.getOrCreate()


def connect_duckdb(engine: dict):
    """Return sqlframe's session on DuckDB, which `pyspark` is from now on.

    Each catalog is a database file, which one task at a time can have: IOException for others.
    """
    import duckdb
    import sqlframe

    connection = duckdb.connect()
    for name, path in engine["catalogs"].items():
        connection.execute(f"attach '{path}' as \"{name}\"")
    sqlframe.activate("duckdb", conn=connection)
    # sqlframe's `pyspark` is a mock that has every name; here, what is missing has to fail.
    pyspark = types.ModuleType("pyspark")
    pyspark.__path__, pyspark.sql, pyspark.pipelines = [], sys.modules["pyspark.sql"], Pipelines()
    sys.modules |= {"pyspark": pyspark, "pyspark.pipelines": pyspark.pipelines}

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.readwriter import DataFrameReader

    def table(reader, name, read=DataFrameReader.table):
        if name in reader.session.temp_views:
            return read(reader, name)
        connection.execute("describe " + name.replace("`", '"'))  # a missing table fails here
        current = connection.execute("select current_database(), current_schema()").fetchone()
        parts = re.findall(r"`[^`]+`|[^`.]+", name)
        # Three parts, always: sqlframe takes no short names beside long ones.
        return read(reader, ".".join([*(f"`{part}`" for part in current), *parts][-3:]))

    def create_temp_view(frame, name):
        frame.session.temp_views[name] = frame.copy()._convert_leaf_to_cte()

    DataFrameReader.table, DataFrame.createOrReplaceTempView = table, create_temp_view
    session, conf = SparkSession.builder.getOrCreate(), {}
    # sqlframe's own knows the time zone only.
    session.conf = types.SimpleNamespace(set=conf.__setitem__, get=conf.__getitem__)
    return session


def unquoted(catalog: str) -> str:
    """Return the catalog's name where no quotes are possible."""
    return catalog if re.fullmatch(r"\w+", catalog) else re.sub(r"\W", "_", catalog) + "_unquoted"


def create_schema(spark, catalog: str, schema: str) -> None:
    """Create a schema unless it is there, and make it the session's current one."""
    if hasattr(spark, "_conn"):  # sqlframe does not pass such statements on
        spark._conn.execute(f'create schema if not exists "{catalog}"."{schema}"')
        spark._conn.execute(f'use "{catalog}"."{schema}"')
    else:
        spark.sql(f"create schema if not exists `{catalog}`.`{schema}`")
        spark.catalog.setCurrentCatalog(catalog)
        spark.catalog.setCurrentDatabase(schema)


class Part(types.SimpleNamespace):
    """A part of dbutils; what it has not been given fails when it is used."""

    def __getattr__(self, name: str):
        raise UnsupportedHere(f"{self.part}.{name}")


def dbutils(notebook: Path, parameters: dict[str, str], spark) -> Part:
    """Return a notebook's dbutils (docs.databricks.com/dev-tools/databricks-utils)."""
    values = dict(parameters)

    def declare(name, defaultValue, *_, **__):
        values.setdefault(name, defaultValue)

    def get(name):
        if name not in values:
            raise KeyError(f"{name}: neither a widget nor a parameter")
        return values[name]

    def run(path, timeout_seconds=0, arguments=None):
        texts = {name: str(value) for name, value in (arguments or {}).items()}
        return run_notebook(find(path, notebook.parent), texts, spark)

    def leave(value=""):
        raise NotebookExit(str(value))

    widgets = dict.fromkeys(("text", "dropdown", "combobox", "multiselect"), declare)
    widgets |= {"get": get, "getAll": values.copy, "remove": values.pop, "removeAll": values.clear}
    return Part(
        part="dbutils",
        widgets=Part(part="dbutils.widgets", **widgets),
        notebook=Part(part="dbutils.notebook", run=run, exit=leave),
        library=Part(part="dbutils.library", restartPython=lambda: None),
        fs=Part(part="dbutils.fs"),
        secrets=Part(part="dbutils.secrets"),
    )


def display(value) -> None:
    """Print a data frame as a table, anything else as Python shows it."""
    value.show(truncate=False) if hasattr(value, "show") else print(repr(value))


def find(path: str, folder: Path) -> Path:
    """Return a notebook's file: `path` is absolute or relative to `folder`, with .py or without."""
    target = Path(os.path.realpath(folder / path))
    for candidate in (target, Path(f"{target}.py"), Path(f"{target}.ipynb")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no notebook {path}")


def run_notebook(notebook: Path, parameters: dict[str, str], spark) -> str | None:
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
        return run_cells(notebook, vars(module))
    except NotebookExit as stop:
        return stop.args[0]
    finally:
        sys.modules["__main__"], sys.path[:] = before[:2]
        os.chdir(before[2])


def run_cells(notebook: Path, names: dict) -> None:
    """Run a notebook in source format (docs.databricks.com/notebooks/notebook-format).

    Raises UnsupportedHere for another format, and for magics other than %md, %run and %pip.
    """
    lines = notebook.read_text(encoding="utf-8").splitlines()
    if lines[:1] != [HEADER]:
        raise UnsupportedHere(f"{notebook}:1: not a notebook in source format: no {HEADER!r}")
    starts = [0, *(number for number, line in enumerate(lines) if line.startswith(CELL))]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        cell = lines[start:end]
        for number, line in enumerate(cell, start + 1):
            magic, _, argument = line.removeprefix(MAGIC).strip().partition(" ")
            if not line.startswith(MAGIC) or not magic:
                continue
            if magic.startswith("%md"):
                break  # the rest of the cell is text
            if magic == "%run":
                run_cells(find(argument.strip(" '\""), notebook.parent), names)
            elif magic in ("%pip", "%restart_python"):
                print(f"noted, not run: {magic} {argument}")
            else:
                raise UnsupportedHere(f"{notebook}:{number}: {magic} {argument}")
        # As many empty lines as come before the cell: tracebacks name the right one.
        exec(compile("\n" * start + "\n".join(cell), str(notebook), "exec"), names)


class Pipelines(types.ModuleType):
    """`pyspark.pipelines` on DuckDB: collects a pipeline's functions, then runs them."""

    def __init__(self):
        super().__init__("pyspark.pipelines")
        self.datasets = {}
        self.materialized_view = self.table = functools.partial(self.collect, True)
        self.temporary_view = self.view = functools.partial(self.collect, False)

    def __getattr__(self, name: str):
        raise UnsupportedHere(f"pyspark.pipelines.{name}")

    def collect(self, stored: bool, function=None, *, name: str | None = None, **_: object):
        """Decorate the function of a dataset, with arguments or without."""
        if function is None:
            return functools.partial(self.collect, stored, name=name)
        self.datasets[name or function.__name__] = (function, stored)
        return function

    def run(self, spark) -> None:
        """Make each dataset once those that it reads are there; raise when none can be made."""
        for name, (_, stored) in self.datasets.items():
            if stored:  # or else who reads it might find the last update's
                spark._conn.execute(f'drop table if exists "{name}"')
        waiting = self.datasets
        while waiting:
            failed = {}
            for name, (function, stored) in waiting.items():
                try:
                    frame = function()
                    frame.write.saveAsTable(name) if stored else frame.createOrReplaceTempView(name)
                    print(f"{name} is COMPLETED.")
                except Exception as error:
                    failed[name] = error
            if len(failed) == len(waiting):
                print(*(f"{name} FAILED: {error}" for name, error in failed.items()), sep="\n")
                raise next(iter(failed.values()))
            waiting = {name: waiting[name] for name in failed}


def duckdb_pipeline(spark, sources: list[Path], request: dict) -> None:
    """Run a pipeline's Python sources on DuckDB; UnsupportedHere for others."""
    for source in sources:
        if source.suffix != ".py":
            raise UnsupportedHere(f"{source} in a pipeline")
        runpy.run_path(str(source), {"spark": spark}, source.stem)
    sys.modules["pyspark.pipelines"].run(spark)


def spark_pipeline(spark, sources: list[Path], request: dict) -> None:
    """Run a pipeline as `spark-pipelines run` does, in this process instead of a JVM's child."""
    from pyspark.pipelines import cli

    spec, files, tables = request["spec"], request["files"], []
    registry, start = cli.SparkConnectGraphElementRegistry, cli.start_run

    def note_output(self, output, register=registry.register_output):
        if type(output).__name__ in ("MaterializedView", "StreamingTable"):
            tables.append(output.name)
        register(self, output)

    def note_sql(self, text, path, register=registry.register_sql):
        made = r"(?i)\bcreate\s+(?:materialized\s+view|streaming\s+table)\s+([\w.`]+)"
        tables.extend(re.findall(made, text))
        register(self, text, path)

    def start_run(*arguments, **named):
        for table in tables:  # an update empties its tables, which Spark's JDBC catalog cannot
            spark.sql(f"drop table if exists {table}")
        return start(*arguments, **named)

    registry.register_output, registry.register_sql = note_output, note_sql
    cli.start_run = start_run
    # Globs are relative to the folder of the spec, which handed over like this needs no file there.
    cli.load_pipeline_spec = lambda path: cli.unpack_pipeline_spec(
        {
            "name": spec.get("name", "pipeline"),
            "storage": Path(request["scratch"], "storage").as_uri(),
            "catalog": unquoted(spec["catalog"]),
            "database": spec["schema"],
            "configuration": spec.get("configuration", {}),
            "libraries": [{"glob": {"include": str(s.relative_to(files))}} for s in sources],
        }
    )
    cli.run(Path(files, "spark-pipeline.yml"), [], False, [], dry=False)


def pipeline_task(request: dict, spark) -> None:
    """Update a pipeline's datasets; root_path is on Python's path, the schema is made if need be.

    Raises FileNotFoundError without any source, UnsupportedHere for a library of another kind.
    """
    spec, files, sources = request["spec"], Path(request["files"]), []
    for library in spec["libraries"]:
        match library:
            case {"glob": {"include": path}} | {"file": {"path": path}}:
                base = files / path.removesuffix("/**").lstrip("/")
                found = base.rglob("*") if path.endswith("/**") else [base]
                sources += (p for p in found if p.is_file() and "__pycache__" not in p.parts)
            case _:
                raise UnsupportedHere(f"library {library} in a pipeline")
    if not sources:
        raise FileNotFoundError(f"no source in {spec['libraries']}")
    if root := spec.get("root_path"):
        sys.path.insert(0, str(files / root.lstrip("/")))
    create_schema(spark, spec["catalog"], spec["schema"])
    for name, value in spec.get("configuration", {}).items():
        spark.conf.set(name, value)
    duckdb = request["engine"]["name"] == "duckdb"
    (duckdb_pipeline if duckdb else spark_pipeline)(spark, sorted(sources), request)


def notebook_task(request: dict, spark) -> None:
    """Run a notebook, and print its exit value."""
    value = run_notebook(find(request["path"], Path("/")), request["parameters"], spark)
    if value is not None:
        print(f"Notebook exited: {value}")


def wheel_task(request: dict, spark) -> None:
    """Call the entry point in the package's metadata, else the package's function of that name.

    (docs.databricks.com/jobs/python-wheel) PackageNotFoundError and AttributeError without either.
    """
    package, name = request["package"], request["entry_point"]
    sys.argv = [package, *request["parameters"]]
    if found := importlib.metadata.distribution(package).entry_points.select(name=name):
        next(iter(found)).load()()
    else:
        getattr(importlib.import_module(package.replace("-", "_")), name)()


def samples_task(request: dict, spark) -> None:
    """Write samples.nyctaxi.trips: 48 made rows, the same each time, some unpaid or unmoved."""
    from pyspark.sql import functions as F

    create_schema(spark, "samples", "nyctaxi")
    rows = []
    for n in range(48):
        hour = f"2016-02-0{1 + n * n % 7} {n % 24:02}"
        times = (f"{hour}:{n % 30:02}:00", f"{hour}:{31 + n % 29}:00")
        numbers = (round(n % 11 * 0.7, 2), n % 13 * 2.5, 10001 + n % 5, 10001 + n % 3)
        rows.append(times + numbers)
    times = ("tpep_pickup_datetime", "tpep_dropoff_datetime")
    numbers = "trip_distance double, fare_amount double, pickup_zip int, dropoff_zip int"
    trips = spark.createDataFrame(rows, f"{times[0]} string, {times[1]} string, {numbers}")
    trips = trips.withColumns({name: F.col(name).cast("timestamp") for name in times})
    trips.write.saveAsTable("samples.nyctaxi.trips")


def warm_up() -> None:
    """Import what every task on DuckDB needs (see warm.py)."""
    with contextlib.suppress(ModuleNotFoundError):  # Spark's environment has pandas only
        for name in ("pandas", "duckdb", "sqlframe.duckdb.functions"):
            importlib.import_module(name)
        list(sys.modules["sqlglot"].Dialect.classes)  # each data frame asks for every SQL dialect


def main(arguments: list[str]) -> int:
    """Run one task; write whether it ended well and, where not, the error as a person reads it."""
    request = json.loads(Path(arguments[0]).read_text())
    error, duckdb = "", request["engine"]["name"] == "duckdb"
    map_workspace(Path(request["files"]))
    sys.path[:0] = request["libraries"]
    # The first task's process compiles the engine for all; no later one leaves files in workspaces.
    sys.dont_write_bytecode = request["task"] != "samples"
    try:
        spark = (connect_duckdb if duckdb else connect_spark)(request["engine"])
        globals()[f"{request['task']}_task"](request, spark)
    except BaseException as raised:
        if not isinstance(raised, SystemExit) or raised.code not in (None, 0):
            frames = raised.__traceback__
            while frames.tb_next and frames.tb_frame.f_code.co_filename == __file__:
                frames = frames.tb_next
            trace = "".join(traceback.format_exception(type(raised), raised, frames))
            error = f"{type(raised).__name__}: {raised}\n{trace}"
    if error and duckdb:
        error += "Because of --quick this ran on DuckDB; the whole rehearsal runs it on Spark.\n"
    Path(request["result"]).write_text(json.dumps({"ok": not error, "error": error}))
    return 0
