"""Runs a notebook in Databricks source format in plain Python, on local Spark.

python run_notebook.py NOTEBOOK [WIDGET=VALUE ...]

As in a workspace, `%run` shares the names, and the notebook's own folder is on Python's path.
The source table of the sample notebook is stood in for by the temporary view `made_trips`.
"""

import sys
from pathlib import Path

RUN = "# MAGIC %run "


class Widgets:
    """The part of `dbutils.widgets` that notebooks use: a default that a parameter overrides."""

    def __init__(self, parameters: dict[str, str]):
        self.parameters = parameters
        self.defaults: dict[str, str] = {}

    def text(self, name: str, default: str) -> None:
        self.defaults[name] = default

    def get(self, name: str) -> str:
        return self.parameters.get(name) or self.defaults[name]


class DBUtils:
    def __init__(self, parameters: dict[str, str]):
        self.widgets = Widgets(parameters)


def run(notebook: Path, names: dict) -> None:
    """Runs a notebook's cells in turn, all with the same names."""
    assert notebook.read_text().startswith("# Databricks notebook source\n"), notebook
    for cell in notebook.read_text().split("# COMMAND ----------"):
        lines = cell.splitlines()
        called = [line.removeprefix(RUN) for line in lines if line.startswith(RUN)]
        for path in called:
            run((notebook.parent / f"{path}.py").resolve(), names)
        exec(compile(cell, str(notebook), "exec"), names)


def main() -> None:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False)
    spark = builder.config("spark.sql.shuffle.partitions", 1).getOrCreate()
    spark.sql(
        "SELECT timestamp'2026-01-05 08:00' AS tpep_pickup_datetime, 12.5D AS fare_amount"
    ).createTempView("made_trips")
    notebook = Path(sys.argv[1]).resolve()
    parameters = {"source_table": "made_trips"} | dict(arg.split("=", 1) for arg in sys.argv[2:])
    sys.path.insert(0, str(notebook.parent))
    run(
        notebook,
        {
            "__name__": "__main__",
            "spark": spark,
            "dbutils": DBUtils(parameters),
            "display": lambda frame: frame.show(truncate=False),
        },
    )


if __name__ == "__main__":
    main()
