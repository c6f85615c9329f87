"""The dlt source of the flights example, loaded into DuckDB for real."""

import csv
import datetime as dt

import pytest
from flights_stack import DAGS


@pytest.mark.slow
def test_a_month_is_loaded_whole(january):
    """January has 27,004 flights and 2,226 hours of weather, the dimension tables come in full."""
    tables = ("airlines", "airports", "planes", "weather", "flights")
    rows = {table: january.rows(f"flights_raw.{table}") for table in tables}
    assert rows == {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 2226, "flights": 27004}


@pytest.mark.slow
def test_types_are_those_of_the_data(january):
    """Numbers arrive as numbers, times as UTC timestamps."""
    columns = dict(
        january.query(
            "select column_name, data_type from information_schema.columns "
            "where table_schema = 'flights_raw' and table_name = 'flights'"
        )
    )
    wanted = {"dep_delay": "BIGINT", "carrier": "VARCHAR", "time_hour": "TIMESTAMP WITH TIME ZONE"}
    assert {name: columns[name] for name in wanted} == wanted


@pytest.mark.slow
def test_missing_values_are_null(january):
    """NA becomes null: 521 flights of January never left."""
    assert january.query("select count(*) from flights_raw.flights where dep_time is null") == [(521,)]


@pytest.mark.slow
def test_an_hour_is_utc(january):
    """The first departures of the year were scheduled for 5 o'clock in New York, 10 o'clock UTC."""
    assert january.query("select epoch(min(time_hour))::bigint from flights_raw.flights") == [
        (int(dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC).timestamp()),)
    ]


@pytest.mark.slow
def test_a_month_again_changes_nothing(january):
    """Loading January a second time leaves the same rows with the same values."""
    once, twice = january.after_loads
    assert once == twice


@pytest.mark.slow
def test_the_next_month_is_added(january_and_february):
    """February adds its flights and its weather to January's, and no more."""
    by_month = "select month, count(*) from flights_raw.{} group by month order by month"
    flights, weather = (january_and_february.query(by_month.format(t)) for t in ("flights", "weather"))
    assert (flights, weather) == ([(1, 27004), (2, 24951)], [(1, 2226), (2, 2010)])


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
