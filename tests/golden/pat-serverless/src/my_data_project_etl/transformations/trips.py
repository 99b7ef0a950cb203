"""The pipeline: turns the valid trips of the source into a table by day."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame

from my_data_project import trips

source_table = spark.conf.get("bundle.source_table")


@dp.temporary_view
def valid_trips() -> DataFrame:
    """Trips worth counting; a view, so nothing is stored."""
    return trips.valid_trips(spark.read.table(source_table))


@dp.materialized_view(comment="Trips, miles and fares by day of pickup")
def trips_by_day() -> DataFrame:
    """The table for readers; every run of the pipeline refreshes it."""
    return trips.trips_by_day(spark.read.table("valid_trips"))
