"""Sessions and pipelines on DuckDB, through sqlframe: PySpark's API without Java."""

import functools
import re
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rehearsal.databricks.task.notebook import UnsupportedHere, missing_in_pipelines


def connect(engine: dict[str, Any]) -> Any:
    """Return sqlframe's session on DuckDB, which `pyspark` is from now on.

    Each catalog is a database file, which one task at a time can have: IOException for others.
    """
    import duckdb
    import sqlframe

    connection = duckdb.connect()
    for name, path in engine["catalogs"].items():
        connection.execute(f"attach '{path}' as \"{name}\"")
    sqlframe.activate("duckdb", conn=connection)
    _replace_pyspark()
    _complete_tables(connection)

    from pyspark.sql import SparkSession

    session, conf = SparkSession.builder.getOrCreate(), dict[str, str]()
    # sqlframe's own knows the time zone only.
    session.conf = types.SimpleNamespace(set=conf.__setitem__, get=conf.__getitem__)
    return session


def _replace_pyspark() -> None:
    """Replace sqlframe's `pyspark`, a mock that has every name: what is missing has to fail."""
    pyspark: Any = types.ModuleType("pyspark")
    pyspark.__path__, pyspark.sql, pyspark.pipelines = [], sys.modules["pyspark.sql"], Pipelines()
    sys.modules |= {"pyspark": pyspark, "pyspark.pipelines": pyspark.pipelines}


def _complete_tables(connection: Any) -> None:
    """Make sqlframe find tables and views by short names, and miss those that are not there."""
    from pyspark.sql import DataFrame
    from pyspark.sql.readwriter import DataFrameReader

    read = DataFrameReader.table

    def table(reader: Any, name: str) -> Any:
        if name in reader.session.temp_views:
            return read(reader, name)
        connection.execute("describe " + name.replace("`", '"'))  # a missing table fails here
        current = connection.execute("select current_database(), current_schema()").fetchone()
        parts = re.findall(r"`[^`]+`|[^`.]+", name)
        # Three parts, always: sqlframe takes no short names beside long ones.
        return read(reader, ".".join([*(f"`{part}`" for part in current), *parts][-3:]))

    def create_temp_view(frame: Any, name: str) -> None:
        frame.session.temp_views[name] = frame.copy()._convert_leaf_to_cte()

    DataFrameReader.table, DataFrame.createOrReplaceTempView = table, create_temp_view


class Pipelines(types.ModuleType):
    """`pyspark.pipelines` on DuckDB: collects a pipeline's functions, then runs them."""

    def __init__(self) -> None:
        super().__init__("pyspark.pipelines")
        self.datasets: dict[str, tuple[Callable[[], Any], bool]] = {}
        self.materialized_view = self.table = functools.partial(self.collect, True)
        self.temporary_view = self.view = functools.partial(self.collect, False)

    def __getattr__(self, name: str) -> Any:
        return missing_in_pipelines(name)

    def collect(
        self,
        stored: bool,
        function: Callable[[], Any] | None = None,
        *,
        name: str | None = None,
        **_: object,
    ) -> Callable[..., Any]:
        """Decorate the function of a dataset, with arguments or without."""
        if function is None:
            return functools.partial(self.collect, stored, name=name)
        self.datasets[name or function.__name__] = (function, stored)
        return function

    def run(self, spark: Any) -> None:
        """Make each dataset after those that it reads; raise if none can be made."""
        for name, (_, stored) in self.datasets.items():
            if stored:  # otherwise its readers might find the last update's
                spark._conn.execute(f'drop table if exists "{name}"')
        waiting = self.datasets
        while waiting:
            errors = {}
            for name, dataset in waiting.items():
                try:
                    _make(name, *dataset)
                except Exception as error:
                    errors[name] = error
            if len(errors) == len(waiting):
                print(*(f"{name} FAILED: {error}" for name, error in errors.items()), sep="\n")
                raise next(iter(errors.values()))
            waiting = {name: waiting[name] for name in errors}


def _make(name: str, function: Callable[[], Any], stored: bool) -> None:
    """Make a dataset as a table or as a view."""
    frame = function()
    if stored:
        frame.write.saveAsTable(name)
    else:
        frame.createOrReplaceTempView(name)
    print(f"{name} is COMPLETED.")


def run_pipeline(spark: Any, sources: list[Path], request: dict[str, Any]) -> None:
    """Run a pipeline's Python sources; UnsupportedHere for others."""
    for source in sources:
        if source.suffix != ".py":
            raise UnsupportedHere(f"{source} in a pipeline")
        runpy.run_path(str(source), {"spark": spark}, source.stem)
    pipelines: Any = sys.modules["pyspark.pipelines"]
    pipelines.run(spark)
