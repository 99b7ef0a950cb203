"""Unity Catalog's catalogs and schemas, on either engine."""

import re
from typing import Any


def unquoted(catalog: str) -> str:
    """Return the catalog's name for where no quotes are possible."""
    return catalog if re.fullmatch(r"\w+", catalog) else re.sub(r"\W", "_", catalog) + "_unquoted"


def create_schema(spark: Any, catalog: str, schema: str) -> None:
    """Create a schema unless it is there, and make it the session's current one."""
    if hasattr(spark, "_conn"):  # sqlframe does not pass such statements on
        spark._conn.execute(f'create schema if not exists "{catalog}"."{schema}"')
        spark._conn.execute(f'use "{catalog}"."{schema}"')
    else:
        spark.sql(f"create schema if not exists `{catalog}`.`{schema}`")
        spark.catalog.setCurrentCatalog(catalog)
        spark.catalog.setCurrentDatabase(schema)
