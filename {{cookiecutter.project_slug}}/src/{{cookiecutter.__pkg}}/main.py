"""The wheel's entry point, the job's last task: print the busiest days."""

import argparse
from collections.abc import Sequence

from pyspark.sql import SparkSession

from {{ cookiecutter.__pkg }} import trips


def main(argv: Sequence[str] | None = None) -> None:
    """Print the busiest days of the table that the pipeline has written."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--limit", type=int, default=5)
    args = parser.parse_args(argv)

    spark = SparkSession.builder.getOrCreate()
    by_day = spark.read.table(f"`{args.catalog}`.`{args.schema}`.trips_by_day")
    for row in trips.busiest_days(by_day, args.limit).collect():
        print(f"{row.day}  {row.trips:>6} trips  {row.miles:>10.2f} miles  {row.fares:>10.2f} USD")


if __name__ == "__main__":
    main()
