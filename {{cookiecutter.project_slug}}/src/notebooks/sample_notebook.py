# Databricks notebook source
# MAGIC %md
# MAGIC # The source at a glance
# MAGIC The job's first task. If there is nothing to read, the run stops before anything is written.

# COMMAND ----------

from pyspark.sql import functions as F

dbutils.widgets.text("source_table", "samples.nyctaxi.trips")
source_table = dbutils.widgets.get("source_table")

# COMMAND ----------


def profile(trips):
    """Return one row: how many trips, how many of them unpaid, first and last pickup."""
    return trips.agg(
        F.count("*").alias("trips"),
        F.count_if(F.coalesce(F.col("fare_amount"), F.lit(0)) <= 0).alias("unpaid"),
        F.min("tpep_pickup_datetime").alias("first_pickup"),
        F.max("tpep_pickup_datetime").alias("last_pickup"),
    )


# COMMAND ----------

source_profile = profile(spark.read.table(source_table))
display(source_profile)

if source_profile.first().trips == 0:
    raise ValueError(f"{source_table} has no rows: is it the right table, and has it been loaded?")
