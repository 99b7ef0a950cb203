"""Taxi trips: which of them count, and their sums."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def valid_trips(trips: DataFrame) -> DataFrame:
    """Return the trips that were paid for, went somewhere, and ended after they started."""
    return trips.where(
        (F.col("fare_amount") > 0)
        & (F.col("trip_distance") > 0)
        & (F.col("tpep_dropoff_datetime") > F.col("tpep_pickup_datetime"))
    )


def trips_by_day(trips: DataFrame) -> DataFrame:
    """Return one row per day of pickup: trips, miles and fares."""
    return trips.groupBy(F.to_date("tpep_pickup_datetime").alias("day")).agg(
        F.count("*").alias("trips"),
        F.round(F.sum("trip_distance"), 2).alias("miles"),
        F.round(F.sum("fare_amount"), 2).alias("fares"),
    )


def busiest_days(by_day: DataFrame, limit: int) -> DataFrame:
    """Return the days with the most trips, busiest first; of two equal days, the earlier."""
    return by_day.orderBy(F.desc("trips"), "day").limit(limit)
