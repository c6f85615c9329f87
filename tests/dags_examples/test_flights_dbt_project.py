"""The dbt project of the flights example, built on data that dlt loaded."""

import json

import pytest

pytestmark = pytest.mark.slow


def results(warehouse):
    return json.loads((warehouse.target / "run_results.json").read_text())["results"]


def test_everything_succeeds(january):
    """dbt build passes: no model fails, no test warns."""
    assert {result["status"] for result in results(january)} == {"success", "pass"}


def test_there_are_at_least_ten_data_tests(january):
    """The project tests its data."""
    tests = [result for result in results(january) if result["unique_id"].startswith("test.")]
    assert len(tests) >= 10


@pytest.mark.parametrize("mart", ["delays_by_carrier", "delays_by_route", "daily_summary"])
def test_a_mart_counts_every_flight_once(january, mart):
    """The flights of a mart are those of the source."""
    assert january.query(f"select sum(flights)::bigint from analytics.{mart}") == [(27004,)]


def test_a_mean_delay_is_that_of_the_source(january):
    """The mart's mean is the one that the source's rows give."""
    mart = "select mean_arrival_delay from analytics.delays_by_carrier where carrier = 'UA'"
    source = "select round(avg(arr_delay), 2) from flights_raw.flights where carrier = 'UA'"
    assert january.query(mart) == january.query(source)


def test_every_day_has_its_weather(january):
    """Each day and airport of January meets its observations."""
    assert january.query(
        "select count(*), count(mean_temperature_fahrenheit) from analytics.daily_summary"
    ) == [(93, 93)]


def test_everything_is_described(january):
    """Every model, and the source's tables, have a description."""
    manifest = json.loads((january.target / "manifest.json").read_text())
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    bare = [n["name"] for n in nodes if n["resource_type"] in ("model", "source") and not n["description"]]
    assert bare == []
