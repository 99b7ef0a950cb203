"""Sessions and pipelines on the rehearsal's Spark Connect server."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rehearsal.databricks.task.notebook import UnsupportedHere, missing_in_pipelines

SQL_TABLE = re.compile(
    r"\bcreate\s+(?:materialized\s+view|streaming\s+table)\s+([\w.`]+)", re.IGNORECASE
)

# Databricks' own forms, which open-source Spark takes for errors.
DATABRICKS_SQL = re.compile(
    r"\bcreate\s+or\s+(refresh|replace)\s+(private\s+)?(materialized|streaming|live|table)"
    r"|\blive\.\w|\bstream\s*\(|\bexpect\s*\(|\bread_files\s*\(",
    re.IGNORECASE,
)


def connect(engine: dict[str, Any]) -> Any:
    """Return a session of the rehearsal's Spark Connect server; user code gets the same one."""
    os.environ["SPARK_REMOTE"] = engine["remote"]
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.readwriter import DataFrameWriter

    DataFrameWriter.saveAsTable = save_as_table
    builder = SparkSession.builder.config("spark.sql.connect.serverStacktrace.enabled", "false")
    return builder.getOrCreate()


def save_as_table(
    writer: Any,
    name: str,
    format: str | None = None,
    mode: str | None = None,
    partitionBy: object = None,
    **options: object,
) -> None:
    """Write a data frame as `DataFrameWriter.saveAsTable` does.

    That always sends `USING`, which Spark's JDBC catalog refuses; writeTo does not.
    """
    from pyspark.sql.connect.dataframe import DataFrame

    target = DataFrame(writer._df, writer._spark).writeTo(name)
    mode = (mode or writer._write.mode or "error").lower()
    if mode == "overwrite":
        target.createOrReplace()
    elif mode not in ("append", "ignore") or not writer._spark.catalog.tableExists(name):
        target.create()
    elif mode == "append":
        target.append()


def run_pipeline(spark: Any, sources: list[Path], request: dict[str, Any]) -> None:
    """Run a pipeline as `spark-pipelines run` does, in this process instead of a JVM's child."""
    from pyspark import pipelines
    from pyspark.pipelines import cli

    vars(pipelines)["__getattr__"] = missing_in_pipelines
    for source in sources:
        if source.suffix == ".sql" and DATABRICKS_SQL.search(source.read_text(encoding="utf-8")):
            raise UnsupportedHere(f"{source}: this SQL is Databricks' own")
    registry, tables = cli.SparkConnectGraphElementRegistry, list[str]()
    registry.register_output = _noting_outputs(registry.register_output, tables)
    registry.register_sql = _noting_sql(registry.register_sql, tables)
    start_run = cli.start_run

    def start_without_tables(*arguments: Any, **named: Any) -> Any:
        for table in tables:  # an update empties its tables, which Spark's JDBC catalog cannot
            spark.sql(f"drop table if exists {table}")
        return start_run(*arguments, **named)

    cli.start_run = start_without_tables
    # Globs are relative to the folder of the spec, which handed over like this needs no file there.
    cli.load_pipeline_spec = lambda path: cli.unpack_pipeline_spec(_spec(sources, request))
    cli.run(Path(request["files"], "spark-pipeline.yml"), [], False, [], dry=False)


def _noting_outputs(register: Callable[..., None], tables: list[str]) -> Callable[..., None]:
    """Return `register`, adding the tables that it registers to a list."""

    def register_output(registry: Any, output: Any) -> None:
        if type(output).__name__ in ("MaterializedView", "StreamingTable"):
            tables.append(output.name)
        register(registry, output)

    return register_output


def _noting_sql(register: Callable[..., None], tables: list[str]) -> Callable[..., None]:
    """Return `register`, adding the tables that its SQL creates to a list."""

    def register_sql(registry: Any, text: str, path: Any) -> None:
        tables.extend(SQL_TABLE.findall(text))
        register(registry, text, path)

    return register_sql


def _spec(sources: list[Path], request: dict[str, Any]) -> dict[str, Any]:
    """Return what spark-pipeline.yml would say of a pipeline."""
    spec, files = request["spec"], request["files"]
    return {
        "name": spec.get("name", "pipeline"),
        "storage": Path(request["scratch"], "storage").as_uri(),
        "catalog": unquoted(spec["catalog"]),
        "database": spec["schema"],
        "configuration": spec.get("configuration", {}),
        "libraries": [{"glob": {"include": str(source.relative_to(files))}} for source in sources],
    }


def unquoted(catalog: str) -> str:
    """Return the catalog's name for where no quotes are possible."""
    return catalog if re.fullmatch(r"\w+", catalog) else re.sub(r"\W", "_", catalog) + "_unquoted"
