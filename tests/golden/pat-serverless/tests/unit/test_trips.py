"""The rules about trips, on sample rows, and the wheel's entry point."""

from datetime import date

import pytest

from my_data_project.main import main
from my_data_project.trips import busiest_days, trips_by_day, valid_trips


def test_valid_trips_were_paid_went_somewhere_and_ended(trips):
    assert [row.fare_amount for row in valid_trips(trips).collect()] == [12.0, 18.5, 25.0]


def test_trips_count_for_the_day_of_their_pickup(trips):
    by_day = {row.day: row for row in trips_by_day(valid_trips(trips)).collect()}

    assert by_day.keys() == {date(2026, 1, 5), date(2026, 1, 6)}
    assert by_day[date(2026, 1, 5)][1:] == (2, 6.5, 30.5)
    assert by_day[date(2026, 1, 6)][1:] == (1, 6.1, 25.0)


def test_no_trips_give_no_days(trips):
    assert trips_by_day(trips.where("false")).count() == 0


def test_busiest_days_come_first_and_the_earlier_of_equals(spark):
    by_day = spark.createDataFrame(
        [(date(2026, 1, 7), 5), (date(2026, 1, 5), 2), (date(2026, 1, 6), 5)], "day date, trips int"
    )

    assert [row.day.day for row in busiest_days(by_day, 2).collect()] == [6, 7]


def test_main_prints_the_busiest_days(trips, capsys):
    trips_by_day(valid_trips(trips)).write.saveAsTable("default.trips_by_day")

    main(["--catalog=spark_catalog", "--schema=default", "--limit=1"])

    printed = " ".join(capsys.readouterr().out.split())
    assert printed == "2026-01-05 2 trips 6.50 miles 30.50 USD"


def test_main_says_what_is_missing(capsys):
    with pytest.raises(SystemExit):
        main(["--catalog=qa"])

    assert "--schema" in capsys.readouterr().err
