"""The wheel's entry point, against a table as the pipeline writes it."""

import pytest

from {{ cookiecutter.__pkg }}.main import main
from {{ cookiecutter.__pkg }}.trips import trips_by_day, valid_trips


def test_main_prints_the_busiest_days(trips, capsys):
    trips_by_day(valid_trips(trips)).write.saveAsTable("default.trips_by_day")

    main(["--catalog=spark_catalog", "--schema=default", "--limit=1"])

    printed = " ".join(capsys.readouterr().out.split())
    assert printed == "2026-01-05 2 trips 6.50 miles 30.50 USD"


def test_main_says_what_is_missing(capsys):
    with pytest.raises(SystemExit):
        main(["--catalog=qa"])

    assert "--schema" in capsys.readouterr().err
