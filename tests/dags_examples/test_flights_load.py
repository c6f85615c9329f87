"""The dlt source of the flights example, loaded into DuckDB for real."""

import datetime as dt

import pytest

pytestmark = pytest.mark.slow


def test_a_month_is_loaded_whole(january):
    """January has 27,004 flights and 2,226 hours of weather, the dimension tables come in full."""
    tables = ("airlines", "airports", "planes", "weather", "flights")
    rows = {table: january.rows(f"flights_raw.{table}") for table in tables}
    assert rows == {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 2226, "flights": 27004}


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


def test_missing_values_are_null(january):
    """NA becomes null: 521 flights of January never left."""
    assert january.query("select count(*) from flights_raw.flights where dep_time is null") == [(521,)]


def test_an_hour_is_utc(january):
    """The first departures of the year were scheduled for 5 o'clock in New York, 10 o'clock UTC."""
    assert january.query("select epoch(min(time_hour))::bigint from flights_raw.flights") == [
        (int(dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC).timestamp()),)
    ]


def test_a_month_again_changes_nothing(january):
    """Loading January a second time leaves the same rows with the same values."""
    once, twice = january.after_loads
    assert once == twice


def test_the_next_month_is_added(january_and_february):
    """February adds its flights and its weather to January's, and no more."""
    by_month = "select month, count(*) from flights_raw.{} group by month order by month"
    flights, weather = (january_and_february.query(by_month.format(t)) for t in ("flights", "weather"))
    assert (flights, weather) == ([(1, 27004), (2, 24951)], [(1, 2226), (2, 2010)])
