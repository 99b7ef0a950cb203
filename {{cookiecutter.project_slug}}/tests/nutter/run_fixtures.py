# Databricks notebook source
# MAGIC %md
# MAGIC # nutter tests
# MAGIC Runs every fixture and fails unless every test of every fixture ran and passed.
# MAGIC To add a fixture: `%run` its notebook in a cell of its own; name its class in the last cell.

# COMMAND ----------

# MAGIC %run ./sample_notebook_fixture

# COMMAND ----------

from harness import run_fixtures

dbutils.widgets.text("results", "/tmp/nutter")

# COMMAND ----------

run_fixtures([SampleNotebookFixture], results=dbutils.widgets.get("results"))
