# Databricks notebook source
# MAGIC %md
# MAGIC Tests of the function in `sample_notebook`, on sample rows. Run them from `run_fixtures`.

# COMMAND ----------

# MAGIC %run ../../src/notebooks/sample_notebook

# COMMAND ----------

from runtime.nutterfixture import NutterFixture


class SampleNotebookFixture(NutterFixture):
    """Each `run_x` acts, and `assertion_x` checks the result."""

    def before_all(self):
        self.trips = spark.createDataFrame(
            [("2026-01-05 08:00", 12.5), ("2026-01-06 09:30", 0.0), ("2026-01-07 17:45", None)],
            "tpep_pickup_datetime string, fare_amount double",
        )

    def run_profile(self):
        self.profile = profile(self.trips).first()

    def assertion_profile(self):
        assert self.profile.trips == 3, self.profile
        assert self.profile.unpaid == 2, self.profile
        assert self.profile.first_pickup == "2026-01-05 08:00", self.profile
        assert self.profile.last_pickup == "2026-01-07 17:45", self.profile

    def run_profile_of_no_trips(self):
        self.empty_profile = profile(self.trips.where("false")).first()

    def assertion_profile_of_no_trips(self):
        assert self.empty_profile.trips == 0, self.empty_profile
        assert self.empty_profile.first_pickup is None, self.empty_profile
