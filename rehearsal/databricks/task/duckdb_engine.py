"""Sessions and pipelines on DuckDB, through sqlframe: PySpark's API without Java."""

import itertools
import re
import sys
import traceback
import types
from typing import Any, NamedTuple

from rehearsal.databricks.task import errors
from rehearsal.databricks.task.errors import UnsupportedHere


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
    _complete_frames()

    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate()
    session.conf = Configuration()
    return session


class Configuration:
    """`spark.conf`: sqlframe's own knows the time zone only."""

    def __init__(self) -> None:
        self.values = {"spark.sql.session.timeZone": "UTC"}

    def set(self, name: str, value: object) -> None:
        """Keep a value."""
        self.values[name] = str(value)

    def get(self, name: str, *default: Any) -> Any:
        """Return a value, else the default. Raises KeyError without either."""
        return self.values.get(name, *default) if default else self.values[name]


def _replace_pyspark() -> None:
    """Replace sqlframe's `pyspark`, a mock that has every name: what is missing has to fail."""
    pyspark: Any = types.ModuleType("pyspark")
    pyspark.__path__, pyspark.sql = [], sys.modules["pyspark.sql"]
    sys.modules["pyspark"] = pyspark


def _complete_tables(connection: Any) -> None:
    """Let DuckDB itself run SQL, and find tables and views by short names.

    sqlframe's own SQL resolves each column before DuckDB sees it, and knows queries only.
    """
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.readwriter import DataFrameReader

    read, views, numbers = DataFrameReader.table, set[str](), itertools.count()

    def table(reader: Any, name: str) -> Any:
        if name.lower() in views:
            return read(reader, f"temp.main.{name}")
        connection.execute("describe " + name.replace("`", '"'))  # a missing table fails here
        current = connection.execute("select current_database(), current_schema()").fetchone()
        parts = re.findall(r"`[^`]+`|[^`.]+", name)
        # Three parts, always: sqlframe takes no short names beside long ones.
        return read(reader, ".".join([*(f"`{part}`" for part in current), *parts][-3:]))

    def create_temp_view(frame: Any, name: str) -> None:
        connection.execute(f'create or replace temp view "{name}" as {frame.sql()}')
        views.add(name.lower())

    def run_sql(session: Any, query: Any, args: Any = None, **named: Any) -> Any:
        if named or not isinstance(query, str):  # sqlframe's own calls, and its {fields}
            return run(session, query, args=args, **named)
        statement = native(query, args)
        if isinstance(statement, Described):
            rows = session.table(statement.table).dtypes
            return session.createDataFrame(rows, "col_name string, data_type string")
        if statement.is_query:
            name = f"query_{next(numbers)}"
            connection.execute(f"create temp view {name} as {statement.text}")
            return read(session.read, f"temp.main.{name}")
        connection.execute(statement.text)
        return session.createDataFrame([], "result string")

    session_class = type(SparkSession.builder.getOrCreate())
    run, session_class.sql = session_class.sql, run_sql
    DataFrameReader.table, DataFrame.createOrReplaceTempView = table, create_temp_view
    DataFrame.createTempView = create_temp_view


def _complete_frames() -> None:
    """Give data frames what sqlframe's lack. It takes any other name for a column."""
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    column = DataFrame.__getattr__

    def attribute(frame: Any, name: str) -> Any:
        if name.startswith("_") or name.lower() not in map(str.lower, frame.columns):
            raise AttributeError(f"a data frame has no {name}", name=name, obj=frame)
        return column(frame, name)

    def select_expressions(frame: Any, *expressions: Any) -> Any:
        first = expressions[0]
        every = first if isinstance(first, list) else expressions
        return frame.select(*(F.expr(expression) for expression in every))

    def types_of(frame: Any) -> list[tuple[str, str]]:
        return [(field.name, field.dataType.simpleString()) for field in frame.schema.fields]

    DataFrame.__getattr__, DataFrame.selectExpr = attribute, select_expressions
    DataFrame.dtypes, DataFrame.sort = property(types_of), DataFrame.orderBy
    DataFrame.take = lambda frame, number: frame.limit(number).collect()
    DataFrame.unpersist = lambda frame, blocking=False: frame


class Statement(NamedTuple):
    """A statement in DuckDB's words."""

    text: str
    is_query: bool


class Described(NamedTuple):
    """The table that a DESCRIBE names."""

    table: str


def native(query: str, args: Any) -> Statement | Described:
    """A statement in DuckDB's words, with its parameters filled in.

    What says how Delta keeps a table is left out. Raises what sqlglot does.
    """
    import sqlglot
    from sqlglot import expressions as e

    parsed = sqlglot.parse_one(query, dialect="spark")
    positional = iter(args if isinstance(args, list) else [])
    for mark in list(parsed.find_all(e.Placeholder)):
        mark.replace(e.convert(args[mark.name] if mark.name else next(positional)))
    if isinstance(parsed, e.Describe):
        return Described(parsed.this.sql(dialect="spark"))
    if isinstance(parsed, e.Command):
        raise UnsupportedHere(f"DuckDB: {parsed.name} in SQL")
    if isinstance(parsed, e.Create):
        parsed.set("properties", None)
    for update in parsed.find_all(e.Update):
        for assignment in update.expressions:
            assignment.this.set("table", None)
    return Statement(parsed.sql(dialect="duckdb"), isinstance(parsed, e.Query))


def create_schema(spark: Any, catalog: str, schema: str) -> None:
    """Create a schema unless it is there, and make it the session's current one."""
    spark._conn.execute(f'create schema if not exists "{catalog}"."{schema}"')
    spark._conn.execute(f'use "{catalog}"."{schema}"')


def drop_table(spark: Any, name: str) -> None:
    """Drop a table if it is there."""
    quoted = ".".join(f'"{part}"' for part in re.findall(r"`[^`]+`|[^`.]+", name))
    spark._conn.execute(f"drop table if exists {quoted.replace('`', '')}")


# Errors of DuckDB, sqlglot and sqlframe that say what they cannot do. What is wrong with data,
# tables or the team's own functions has other types.
LIMITS = {
    *("BinderException", "ParserException", "SyntaxException", "NotImplementedException"),
    *("InternalException", "InvalidTypeException", "TypeMismatchException"),
    *("ParseError", "OptimizeError", "SchemaError", "TokenError", "UnsupportedError"),
    *("UnsupportedOperationError", "DataFrameDiffError", "NotImplementedError"),
}
# The same in the text of a failed test.
TESTS = re.compile(
    rf"\b(UnsupportedHere|{'|'.join(sorted(LIMITS))})\b"
    r"|a data frame has no |'(DuckDB|_?Base)\w+' object"
)
FUNCTION = re.compile(r"Function with name")
METHOD = re.compile(r"(DuckDB|_?Base)\w*\.\w+\(\) |'(\w+Type|StructField)' object is not ")
STAND_INS = {"_duckdb", "duckdb", "sqlframe", "sqlglot"}
ON_DUCKDB = "(on DuckDB, because of --quick)"


def limit(error: BaseException) -> str:
    """What an error says that DuckDB lacks, or that this machine does; "" for one of the team's."""
    if reason := errors.limit(error):
        return f"{reason} {ON_DUCKDB}" if reason.startswith("DuckDB") else reason
    if reason := errors.limit_of_tests(error, TESTS):
        return f"{reason} {ON_DUCKDB}"
    if is_of_duckdb(error):
        first = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {first} {ON_DUCKDB}"
    return ""


def is_of_duckdb(error: BaseException) -> bool:
    """Whether an error is what DuckDB or its Spark API cannot do."""
    if isinstance(error, AttributeError):
        return root(type(error.obj).__module__) in STAND_INS or is_module_of_spark(error.obj)
    if isinstance(error, ImportError):
        return root(error.name or "") in {*STAND_INS, "pyspark"}
    if type(error).__name__ == "CatalogException":
        return bool(FUNCTION.search(str(error)))
    if isinstance(error, TypeError) and METHOD.match(str(error)):
        return True
    module = innermost(error)
    if root(type(error).__module__) in STAND_INS or root(module) in STAND_INS:
        is_of_a_row = module.endswith(".types")  # a column that the row has not
        return type(error).__name__ in LIMITS or (root(module) == "sqlframe" and not is_of_a_row)
    return False


def is_module_of_spark(value: object) -> bool:
    """Whether a value is one of sqlframe's modules, which are named as pyspark's."""
    return type(value) is types.ModuleType and root(value.__name__) in {*STAND_INS, "pyspark"}


def root(name: str) -> str:
    """The package that a module belongs to."""
    return name.partition(".")[0]


def innermost(error: BaseException) -> str:
    """The module whose code raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")) if frames else ""
