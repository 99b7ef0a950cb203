"""Sessions on the rehearsal's Spark Connect server."""

import os
import re
from typing import Any

from rehearsal.databricks.task import errors, sql


def connect(engine: dict[str, Any]) -> Any:
    """Return a session of the rehearsal's Spark Connect server; user code gets the same one."""
    os.environ["SPARK_REMOTE"] = engine["remote"]
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.readwriter import DataFrameWriter

    DataFrameWriter.saveAsTable = save_as_table
    builder = SparkSession.builder.config("spark.sql.connect.serverStacktrace.enabled", "false")
    return builder.getOrCreate()


def create_schema(spark: Any, catalog: str, schema: str) -> None:
    """Create a schema unless it is there, and make it the session's current one."""
    spark.sql(f"create schema if not exists `{catalog}`.`{schema}`")
    spark.catalog.setCurrentCatalog(catalog)
    spark.catalog.setCurrentDatabase(schema)


def drop_table(spark: Any, name: str) -> None:
    """Drop a table if it is there."""
    spark.sql(f"drop table if exists {name}")


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


# What the rehearsal's catalogs lack, and open-source Spark: a workspace has both.
CATALOGS = re.compile(
    r"UnsupportedHere|UNSUPPORTED_FEATURE\.TABLE_OPERATION|MISSING_CATALOG_ABILITY|IN_JDBC_CATALOG"
    r"|Can't get JDBC type|Table does not support \w+|JDBCTable|(JDBC|Jdbc)\w* (does not|cannot)"
    r"|NOT_SUPPORTED_COMMAND_FOR_V2_TABLE|NOT_SUPPORTED_IN_JDBC_CATALOG"
)
# Statements that begin like this are Databricks' own.
STATEMENTS = re.compile(
    r"(optimize|vacuum|restore|copy\s+into|clone|refresh|convert\s+to|undrop|grant|revoke|deny"
    r"|describe\s+(history|detail|volume)|create\s+(or\s+refresh|volume|materialized|streaming"
    r"|flow|function|catalog|share|connection|live|policy)|alter\s+(volume|catalog|share)"
    r"|show\s+(volumes|grants|catalogs|shares|users|groups)|apply\s+changes|fsck|generate|list|put"
    r"|get|remove|execute\s+immediate|create\s+or\s+replace\s+(function|materialized))\b",
    re.IGNORECASE,
)
QUERY = re.compile(r"== SQL.*? ==\n(.*)", re.DOTALL)
ROUTINE = re.compile(r"(?:routine|function) `(?:[^`]*`\.`)*(\w+)`", re.IGNORECASE)


def limit(error: BaseException) -> str:
    """What an error says that open-source Spark or this machine lacks; "" for one of the team's."""
    if reason := errors.limit(error) or errors.limit_of_tests(error, CATALOGS):
        return reason
    if not type(error).__module__.startswith("pyspark."):
        return ""
    text = str(error).strip()
    first = text.partition("\n")[0]
    if CATALOGS.search(text):
        return f"the rehearsal's catalogs cannot do what Delta's can: {first}"
    if "PATH_NOT_FOUND" in text and errors.STORAGE.search(text):
        return f"the rehearsal has no volumes and no cloud storage: {first}"
    return only_databricks(text)


def only_databricks(text: str) -> str:
    """What an error of Spark's parser or analyzer says that only Databricks has, or ""."""
    query = QUERY.search(text) if "PARSE_SYNTAX_ERROR" in text else None
    if query and STATEMENTS.match(query[1].strip()):
        return f"SQL that only Databricks has: {query[1].strip().partition(chr(10))[0]}"
    routine = ROUTINE.search(text) if "UNRESOL" in text else None
    if routine and sql.ONLY_DATABRICKS.fullmatch(routine[1]):
        return f"{routine[1]}() of Databricks SQL"
    return ""
