"""A local Spark for the unit tests, and a few sample trips."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

JAVA = 17


def java_version() -> int:
    """Return the version of the Java that Spark starts, or 0 without one."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    try:
        shown = subprocess.run([java or "java", "-version"], capture_output=True, text=True).stderr
    except OSError:
        return 0
    match = re.search(r'version "(\d+)', shown)
    return int(match[1]) if match else 0


@pytest.fixture(scope="session")
def spark(tmp_path_factory) -> SparkSession:
    """Start Spark in this process; skip without Java, or fail if CI is set."""
    if java_version() < JAVA:
        missing = (
            f"local Spark needs Java {JAVA} or newer, on PATH or in JAVA_HOME: "
            f"apt-get install openjdk-{JAVA}-jre-headless, or brew install openjdk@{JAVA}"
        )
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", 1)
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .config("spark.ui.enabled", False)
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture
def trips(spark) -> DataFrame:
    """Return sample rows with the columns of samples.nyctaxi.trips: three good, four bad."""
    rows = [
        ("2026-01-05 08:00", "2026-01-05 08:20", 2.5, 12.0),
        ("2026-01-05 23:50", "2026-01-06 00:10", 4.0, 18.5),
        ("2026-01-06 09:00", "2026-01-06 09:30", 6.1, 25.0),
        ("2026-01-06 10:00", "2026-01-06 10:05", 1.0, 0.0),  # unpaid
        ("2026-01-06 11:00", "2026-01-06 11:05", 0.0, 7.0),  # went nowhere
        ("2026-01-06 12:00", "2026-01-06 11:00", 3.0, 9.0),  # ended before it started
        ("2026-01-06 13:00", None, 3.0, 9.0),  # never ended
    ]
    times = ["tpep_pickup_datetime", "tpep_dropoff_datetime"]
    strings = spark.createDataFrame(
        rows, f"{times[0]} string, {times[1]} string, trip_distance double, fare_amount double"
    )
    return strings.withColumns({name: F.col(name).cast("timestamp") for name in times})
