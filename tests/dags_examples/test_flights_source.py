"""The dlt source of the flights example: what it reads, and what it refuses."""

import csv

import pytest
from flights_stack import DAGS


@pytest.fixture
def january_interval(monkeypatch):
    """The module, and a data interval for its cursors."""
    monkeypatch.syspath_prepend(str(DAGS))
    monkeypatch.setenv("DLT_INTERVAL_START", "2013-01-01")
    monkeypatch.setenv("DLT_INTERVAL_END", "2013-02-01")


def test_another_year_is_refused(january_interval, monkeypatch):
    """A month of another year is a mistake that is told, not an empty load."""
    from flights.source import flights_source

    monkeypatch.setenv("DLT_INTERVAL_START", "2026-11-01")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-12-01")
    with pytest.raises(Exception, match="flights of 2013 only, and the data interval has no day of it"):
        list(flights_source())


def test_the_missing_package_is_named(january_interval, monkeypatch):
    """Without the package of the data the message says what to install."""
    from flights import source

    monkeypatch.setattr(source, "PACKAGE", "nycflights_that_is_not_there")
    with pytest.raises(Exception, match="pip install nycflights_that_is_not_there"):
        list(source.flights_source())


@pytest.mark.parametrize(
    ("table", "key", "rows"), [("flights", "FLIGHT_KEY", 336776), ("weather", "WEATHER_KEY", 26115)]
)
def test_a_primary_key_is_unique(monkeypatch, table, key, rows):
    """No two rows of the whole year have the key by which a month is merged: none is lost."""
    monkeypatch.syspath_prepend(str(DAGS))
    from flights import source

    with source.open_csv(table) as file:
        keys = [tuple(row[column] for column in getattr(source, key)) for row in csv.DictReader(file)]
    assert (len(keys), len(set(keys))) == (rows, rows)
