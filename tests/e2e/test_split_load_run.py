"""A load by a task for each resource, in a real Airflow: the tasks and dbt share one DuckDB file."""

import datetime as dt
from typing import Any

import duckdb
import pytest
from flights_stack import FlightsStack

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

JANUARY, FEBRUARY = (dt.datetime(2013, month, 1, tzinfo=dt.UTC) for month in (1, 2))
TABLES = ["airlines", "airports", "planes", "weather", "flights"]


@pytest.fixture(scope="module")
def run_id(stack: FlightsStack) -> str:
    """A run of the example, for January."""
    api = stack.airflow.api
    api.wait_for_dag("flights_split")
    api.unpause("flights_split")
    run_id = api.trigger("flights_split", logical_date=JANUARY, data_interval=(JANUARY, FEBRUARY))
    state = api.wait_for_run("flights_split", run_id, timeout=300)
    failed = [t for t in api.task_instances("flights_split", run_id) if t["state"] == "failed"]
    logs = [api.log("flights_split", run_id, t["task_id"], map_index=t["map_index"]) for t in failed]
    assert state == "success", "\n".join(logs)
    return run_id


@pytest.fixture(scope="module")
def loads(stack: FlightsStack, run_id: str) -> list[dict[str, Any]]:
    """The instances of the mapped task, in their order."""
    tasks = stack.airflow.api.task_instances("flights_split", run_id)
    return sorted((t for t in tasks if t["task_id"] == "flights.load"), key=lambda t: t["map_index"])


def test_the_resources_are_looked_up(stack, run_id):
    """The first task lists what the source has."""
    found = stack.airflow.api.xcom("flights_split", run_id, "flights.list_resources")
    assert found == [[table] for table in TABLES]


def test_an_instance_bears_its_resources_name(loads):
    """Airflow shows names, not numbers."""
    assert [load["rendered_map_index"] for load in loads] == TABLES


def test_every_row_is_there_once(stack, run_id):
    """Five tasks wrote into one file, and nothing is missing or doubled."""
    with duckdb.connect(str(stack.database), read_only=True) as opened:
        flights = opened.execute("select count(*) from flights_raw.flights where month = 1").fetchone()
        tables = opened.execute(
            "select table_name from information_schema.tables where table_schema = 'flights_raw'"
        ).fetchall()
    assert flights == (27004,)
    assert {table for (table,) in tables} >= set(TABLES)


def test_the_loads_overlap(loads):
    """They are there at the same time: only writing is one after the other."""
    starts = [load["start_date"] for load in loads]
    ends = [load["end_date"] for load in loads]
    assert max(starts) > min(starts)
    assert sorted(starts)[1] < min(ends)


def test_the_dbt_job_follows_all_of_them(stack, run_id):
    """It takes the summaries of the mapped task, and its models hold what was loaded."""
    client = stack.emulator.client
    run = client.get_run(stack.airflow.api.xcom("flights_split", run_id, "marts.transform"))
    with duckdb.connect(str(stack.database), read_only=True) as opened:
        flights = "select sum(flights)::int from analytics.daily_summary where month(flight_date) = 1"
        assert (run.status.humanized, opened.execute(flights).fetchone()) == ("Success", (27004,))


def test_the_tables_are_assets(stack, run_id):
    """Mapped tasks emit their tables' events too."""
    events = stack.airflow.api.asset_events("flights_split")
    assert sorted(event["extra"]["table"] for event in events) == sorted(TABLES)
