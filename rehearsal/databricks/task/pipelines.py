"""Declarative pipelines: what their sources declare, and an update of it, on either engine.

Open-source Spark has pipelines too, but no expectations, and it cannot stream from the rehearsal's
catalogs. Here each update makes every dataset anew, as a full refresh does: a stream has all the
rows of its source. docs.databricks.com/aws/en/ldp/developer/python-ref
"""

import functools
import re
import runpy
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal.databricks.task import cells, pipeline_sql, sql
from rehearsal.databricks.task.errors import UnsupportedHere
from rehearsal.databricks.task.notebook import notebook_names, run_cells

MODULES = ("pyspark.pipelines", "dlt")  # two names of one thing
Query = Callable[[], Any]

# What the module has in a workspace, and the rehearsal does not play.
ONLY_IN_A_WORKSPACE = {
    *("create_sink", "foreach_batch_sink", "on_event_hook", "create_auto_cdc_flow"),
    *("create_auto_cdc_from_snapshot_flow", "apply_changes", "apply_changes_from_snapshot"),
}
# What a table may be declared with that leaves its rows as they are.
PROPERTIES = {
    *("comment", "spark_conf", "table_properties", "path", "partition_cols", "cluster_by"),
    *("cluster_by_auto", "schema", "private", "temporary", "format"),
}
FLOW_PROPERTIES = {"name", "once", "comment", "spark_conf"}


class ExpectationFailed(Exception):
    """Rows do not meet an expectation that fails the update."""


class Expectation(NamedTuple):
    """A condition for each row; `action` is what happens otherwise: "warn", "drop" or "fail"."""

    name: str
    condition: str
    action: str


@dataclass
class Dataset:
    """A table or view, with the queries that make its rows."""

    name: str
    is_stored: bool
    queries: list[Query] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)


class Pipelines(types.ModuleType):
    """The module `pyspark.pipelines`, also `dlt`: collects what a pipeline's sources declare."""

    def __init__(self, spark: Any) -> None:
        super().__init__(MODULES[0])
        self.spark, self.datasets = spark, dict[str, Dataset]()
        self.flows: list[tuple[str, Query]] = []
        for name in ("table", "materialized_view"):
            setattr(self, name, functools.partial(self.dataset, name, True))
        for name in ("temporary_view", "view"):
            setattr(self, name, functools.partial(self.dataset, name, False))
        for suffix, action in (("", "warn"), ("_or_drop", "drop"), ("_or_fail", "fail")):
            setattr(self, f"expect{suffix}", functools.partial(expect, action))
            setattr(self, f"expect_all{suffix}", functools.partial(expect_all, action))
        self.create_streaming_live_table = self.create_target_table = self.create_streaming_table

    def __getattr__(self, name: str) -> Any:
        if name in ONLY_IN_A_WORKSPACE:
            raise UnsupportedHere(f"pyspark.pipelines.{name}")
        raise AttributeError(f"module 'pyspark.pipelines' has no attribute {name!r}")

    def dataset(
        self,
        decorator: str,
        is_stored: bool,
        function: Query | None = None,
        *,
        name: str | None = None,
        **properties: object,
    ) -> Callable[..., Any]:
        """Decorate the query of a dataset, with arguments or without."""
        check(decorator, properties, PROPERTIES)
        if function is None:
            return functools.partial(self.dataset, decorator, is_stored, name=name)
        # The list is shared: expectations may stand above this decorator and below it.
        self.add(Dataset(name or function.__name__, is_stored, [function], expectations(function)))
        return function

    def add(self, dataset: Dataset) -> None:
        """Add a dataset. Raises ValueError for a second one of its name."""
        key = short(dataset.name)
        if key in self.datasets:
            raise ValueError(f"{dataset.name} is defined twice in this pipeline")
        self.datasets[key] = dataset

    def create_streaming_table(
        self,
        name: str,
        *,
        expect_all: dict[str, str] | None = None,
        expect_all_or_drop: dict[str, str] | None = None,
        expect_all_or_fail: dict[str, str] | None = None,
        **properties: object,
    ) -> None:
        """Add a table that flows write to."""
        check("create_streaming_table", properties, PROPERTIES)
        conditions = {"warn": expect_all, "drop": expect_all_or_drop, "fail": expect_all_or_fail}
        every = [
            Expectation(*pair, action)
            for action, pairs in conditions.items()
            for pair in (pairs or {}).items()
        ]
        self.add(Dataset(name, True, [], every))

    def append_flow(self, *, target: str, **properties: object) -> Callable[[Query], Query]:
        """Decorate a query that writes to a streaming table."""
        check("append_flow", properties, FLOW_PROPERTIES)

        def decorate(function: Query) -> Query:
            self.flows.append((target, function))
            return function

        return decorate

    def read(self, name: str) -> Any:
        """Return a dataset (dlt.read)."""
        return self.spark.read.table(name)

    read_stream = read

    def declare(self, statement: sql.Statement) -> None:
        """Add what a statement of SQL declares."""
        found = pipeline_sql.declaration(statement)
        query = functools.partial(self.spark.sql, found.query)
        if found.kind == "flow":
            self.flows.append((found.name, query))
            return
        every = [Expectation(*expectation) for expectation in found.expectations]
        queries: list[Query] = [query] if found.query else []
        self.add(Dataset(found.name, found.kind != "temporary view", queries, every))

    def complete(self) -> None:
        """Give each flow to its table. Raises ValueError where there is none."""
        for target, query in self.flows:
            if short(target) not in self.datasets:
                raise ValueError(f"a flow writes to {target}, which this pipeline does not define")
            self.datasets[short(target)].queries.append(query)


def check(name: str, properties: dict[str, object], known: set[str]) -> None:
    """Raises TypeError for what a function does not take, UnsupportedHere for row filters."""
    for one in properties.keys() - known:
        if one == "row_filter":
            raise UnsupportedHere("row_filter in a pipeline")
        raise TypeError(f"{name}() got an unexpected keyword argument {one!r}")


def expectations(function: Query) -> list[Expectation]:
    """The expectations of a query, which decorators add to."""
    found: list[Expectation] = vars(function).setdefault("expectations", [])
    return found


def expect(action: str, name: str, condition: str) -> Callable[[Query], Query]:
    """Decorate a query with an expectation."""
    return expect_all(action, {name: condition})


def expect_all(action: str, conditions: dict[str, str]) -> Callable[[Query], Query]:
    """Decorate a query with expectations, by name."""

    def decorate(function: Query) -> Query:
        added = [Expectation(*pair, action) for pair in conditions.items()]
        expectations(function)[:0] = added
        return function

    return decorate


def short(name: str) -> str:
    """A dataset's name without catalog and schema, as names are compared."""
    return name.replace("`", "").rpartition(".")[2].lower()


# ---- Sources -------------------------------------------------------------------------------------


def load(pipeline: Pipelines, sources: list[Path]) -> None:
    """Run a pipeline's sources, which declare its datasets. Raises UnsupportedHere."""
    import pyspark

    vars(pyspark)["pipelines"] = pipeline
    sys.modules |= dict.fromkeys(MODULES, pipeline)
    for source in sources:
        names = {"spark": pipeline.spark}
        if cells.is_notebook(source):
            names = notebook_names(source, {}, pipeline.spark)
            run_cells(source, names, functools.partial(declare_all, pipeline, source))
        elif source.suffix == ".sql":
            declare_all(pipeline, source, source.read_text(encoding="utf-8"), 0)
        elif source.suffix == ".py":
            runpy.run_path(str(source), names, source.stem)
        else:
            raise UnsupportedHere(f"{source} in a pipeline")
    pipeline.complete()


def declare_all(pipeline: Pipelines, source: Path, text: str, line: int) -> None:
    """Add what statements of SQL declare; `line` is how many lines come before them."""
    conf = pipeline.spark.conf
    for statement in sql.statements(sql.filled(text, lambda name: conf.get(name, None))):
        try:
            run_statement(pipeline, statement)
        except UnsupportedHere as error:
            raise UnsupportedHere(f"{source}:{line + statement.line}: {error}") from None


def run_statement(pipeline: Pipelines, statement: sql.Statement) -> None:
    """Set a configuration, change catalog or schema, or add what a statement declares."""
    first = sql.tokens(statement.text)[0].word
    if first == "SET":
        name, _, value = statement.text[3:].partition("=")
        pipeline.spark.conf.set(name.strip(), value.strip().strip("'\""))
    elif first == "USE":
        pipeline.spark.sql(statement.text)
    else:
        pipeline.declare(statement)


# ---- Streams and LIVE ----------------------------------------------------------------------------


class StreamReader:
    """`spark.readStream`: a table is read whole, anything else needs a workspace."""

    def __init__(self, spark: Any) -> None:
        self.spark = spark

    def table(self, name: str) -> Any:
        """Return all rows of a table."""
        return self.spark.read.table(name)

    def option(self, *_: object, **__: object) -> "StreamReader":
        """Return this reader: options say how much to read at once, and from when on."""
        return self

    options = schema = option

    def format(self, source: str) -> "StreamReader":
        """Raises UnsupportedHere for what is no table."""
        if source not in ("delta", "table"):
            raise UnsupportedHere(f"spark.readStream.format({source!r})")
        return self

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedHere(f"spark.readStream.{name}")


def read_streams_whole(spark: Any) -> None:
    """Let streams be read whole, and LIVE.x be x, in this process."""
    session, reader = type(spark), type(spark.read)
    run_sql, read_table = session.sql, reader.table

    def run(spark: Any, query: str, *arguments: Any, **named: Any) -> Any:
        return run_sql(spark, sql.without_streams(query), *arguments, **named)

    def table(spark: Any, name: str) -> Any:
        return read_table(spark, name[5:] if name[:5].upper() == "LIVE." else name)

    session.sql, reader.table = run, table
    session.table = lambda spark, name: spark.read.table(name)
    session.readStream = property(StreamReader)


# ---- The update ----------------------------------------------------------------------------------


def update(pipeline: Pipelines, engine: Any) -> None:
    """Make each dataset after those that it reads.

    Raises the first error that is the team's, else the first that is a limit of the engine.
    """
    waiting = {key: dataset for key, dataset in pipeline.datasets.items() if dataset.queries}
    for dataset in waiting.values():
        if dataset.is_stored:  # otherwise its readers might find the last update's
            engine.drop_table(pipeline.spark, dataset.name)
    failed = dict[str, Exception]()
    while waiting:
        errors = {key: error for key, one in waiting.items() if (error := attempt(one))}
        later = {key for key, error in errors.items() if names_one(error, waiting.keys() - {key})}
        if len(later) == len(waiting):
            failed, later = failed | errors, set()
        failed |= {key: errors[key] for key in errors.keys() - later}
        waiting = {key: waiting[key] for key in waiting if key in later}
    if failed:
        raise cause(failed, engine.limit)


def attempt(dataset: Dataset) -> Exception | None:
    """Make a dataset; return why that fails."""
    try:
        frame = functools.reduce(union, (query() for query in dataset.queries))
        if not hasattr(frame, "createOrReplaceTempView"):
            raise TypeError(f"{dataset.name}: its query returns {frame!r}, which is no data frame")
        frame = meeting(dataset, frame)
        if dataset.is_stored:
            frame.write.mode("overwrite").saveAsTable(dataset.name)
        else:
            frame.createOrReplaceTempView(short(dataset.name))
    except Exception as error:
        return error
    print(f"{dataset.name} is COMPLETED.")
    return None


def union(frame: Any, other: Any) -> Any:
    """The rows of both, their columns matched by name."""
    return frame.unionByName(other, allowMissingColumns=True)


def meeting(dataset: Dataset, frame: Any) -> Any:
    """The rows that meet the expectations; the number of others is printed.

    A condition that is NULL is not met. Raises ExpectationFailed.
    """
    if not dataset.expectations:
        return frame
    from pyspark.sql import functions as F

    unmet = [F.when(F.expr(one.condition), 0).otherwise(1) for one in dataset.expectations]
    sums = [F.sum(column).alias(f"unmet_{number}") for number, column in enumerate(unmet)]
    counts = [count or 0 for count in frame.agg(*sums).first()]
    for (name, condition, action), count in zip(dataset.expectations, counts, strict=True):
        print(f"{dataset.name}: {count} rows do not meet {name} ({condition}): {action}")
        if count and action == "fail":
            raise ExpectationFailed(f"{dataset.name}: {count} rows do not meet {name}: {condition}")
        if count and action == "drop":
            frame = frame.where(F.when(F.expr(condition), F.lit(True)).otherwise(F.lit(False)))
    return frame


def names_one(error: Exception, keys: Iterable[str]) -> bool:
    """Whether an error is about a dataset: that one is not there yet."""
    text = str(error).lower()
    return any(re.search(rf"\b{re.escape(key)}\b", text) for key in keys)


def cause(failed: dict[str, Exception], limit: Callable[[BaseException], str]) -> Exception:
    """Print why datasets have failed; return the error of one that failed by itself."""
    for key, error in failed.items():
        print(f"{key} FAILED: {error}")
    roots = [error for key, error in failed.items() if not names_one(error, failed.keys() - {key})]
    errors = roots or list(failed.values())
    return next((error for error in errors if not limit(error)), errors[0])
