"""A backfill of the flights example in PostgreSQL: twelve months, the last one first, three runs at once."""

import datetime as dt
import itertools
import logging
import subprocess
from typing import Any

import psycopg2
import pytest
from database_servers import PASSWORD
from flights_stack import DAGS, FlightsStack
from postgres_server import find_program

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.load import run_load
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG = "flights_postgres"
YEAR = [dt.datetime(2013, month, 1, tzinfo=dt.UTC) for month in range(1, 13)]
TABLES = ["airlines", "airports", "planes", "weather", "flights"]
SECONDS = 900.0

Digests = dict[str, tuple[int, str]]


class Warehouse:
    """The PostgreSQL server, and a load of the whole year in it, in the dataset `whole`."""

    def __init__(self, port: int) -> None:
        fields = {"login": "loader", "password": PASSWORD, "schema": "shop", "port": port}
        self.connection = ConnectionFields("flights_warehouse", "postgres", "127.0.0.1", **fields)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg2.connect(
            host="127.0.0.1", port=self.connection.port, user="loader", password=PASSWORD, dbname="shop"
        ) as opened:
            with opened.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

    def digests(self, dataset: str) -> Digests:
        """The number of rows of each table, and a digest of them without dlt's own columns."""
        found = {}
        for table in TABLES:
            columns = self.query(
                "select string_agg(quote_ident(column_name), ', ' order by column_name)"
                f" from information_schema.columns where table_schema = '{dataset}'"
                f" and table_name = '{table}' and column_name not like '\\_dlt\\_%'"
            )[0][0]
            row = f"row({columns})::text"
            sql = f"select count(*), md5(string_agg({row}, '|' order by {row})) from {dataset}.{table}"
            found[table] = self.query(sql)[0]
        return found


@pytest.fixture(scope="module")
def warehouse(warehouse_port: int | None) -> Warehouse:
    if warehouse_port is None:
        pytest.skip("PostgreSQL is not installed")
    return Warehouse(warehouse_port)


@pytest.fixture(scope="module")
def backfilled(stack: FlightsStack, warehouse: Warehouse) -> list[dict[str, Any]]:
    """Backfill the year; return the DAG runs."""
    api = stack.airflow.api
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    backfill = api.backfill(DAG, YEAR[0], YEAR[-1], max_active_runs=3, backwards=True)
    api.wait_for_backfill(backfill, timeout=SECONDS)
    runs = api.dag_runs(DAG)
    assert [run["state"] for run in runs] == ["success"] * 12, "\n".join(
        api.log(DAG, run["dag_run_id"], task["task_id"])
        for run in runs
        for task in api.task_instances(DAG, run["dag_run_id"])
        if task["state"] == "failed"
    )
    return runs


@pytest.fixture(scope="module")
def monthly(backfilled: Any, warehouse: Warehouse) -> Digests:
    """What is in the tables after the backfill."""
    return warehouse.digests("flights_raw")


@pytest.fixture(scope="module")
def whole(warehouse: Warehouse) -> Digests:
    """What one load of the whole year makes."""

    def build() -> Any:
        from flights.source import flights_source

        return flights_source()

    plan = LoadPlan(
        pipeline_name="whole",
        destination_connection=warehouse.connection,
        dataset_name="whole",
        interval=(YEAR[0], YEAR[-1] + dt.timedelta(31)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DAGS))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        run_load(build, plan, log=logging.getLogger("whole"))
    return warehouse.digests("whole")


@pytest.mark.parametrize("table", TABLES)
def test_twelve_months_are_one_full_load(monthly, whole, table):
    """Row for row, whatever order the months came in, and though their DAG runs overlapped."""
    assert monthly[table] == whole[table]


def test_the_year_is_whole(whole):
    """The load that the backfill is compared with has all flights and observations."""
    assert {table: whole[table][0] for table in ("flights", "weather")} == {
        "flights": 336776,
        "weather": 26115,
    }


def test_the_runs_overlapped(backfilled):
    """There were DAG runs at the same time, the last month's first."""
    runs = sorted(backfilled, key=lambda run: run["start_date"])
    assert runs[0]["logical_date"] > runs[-1]["logical_date"]
    assert any(after["start_date"] < run["end_date"] for run, after in itertools.pairwise(runs))


def test_loads_did_not(stack, backfilled):
    """Two loads into the same tables at once would lose rows: Airflow starts one after the other."""
    api = stack.airflow.api
    tasks = [t for run in backfilled for t in api.task_instances(DAG, run["dag_run_id"])]
    loads = sorted(
        (t for t in tasks if t["task_id"] == "warehouse.load"), key=lambda task: task["start_date"]
    )
    assert len(loads) == 12
    assert all(load["end_date"] <= after["start_date"] for load, after in itertools.pairwise(loads))


def test_dbt_has_built_in_the_same_database(backfilled, warehouse):
    """The marts count each flight of the year once, by a run of the job with the PostgreSQL target."""
    assert warehouse.query("select sum(flights)::int from analytics.daily_summary") == [(336776,)]


def test_a_month_that_is_backfilled_again_doubles_nothing(stack, monthly, warehouse):
    """June's rows take their own place."""
    backfill = stack.airflow.api.backfill(DAG, YEAR[5], YEAR[5], again=True)
    stack.airflow.api.wait_for_backfill(backfill, timeout=SECONDS)
    summary = stack.airflow.api.xcom(DAG, _run_id(stack, YEAR[5]), "warehouse.load")
    assert (summary["rows"]["flights"], warehouse.digests("flights_raw")) == (28243, monthly)


def _run_id(stack: FlightsStack, month: dt.datetime) -> str:
    runs = stack.airflow.api.dag_runs(DAG)
    return str(next(run["dag_run_id"] for run in runs if run["logical_date"].startswith(f"{month:%Y-%m-%d}")))


def has_the_password(content: bytes) -> bool:
    return b"p@ss:w/o" in content or b"p%40ss" in content


def test_the_password_is_in_no_file(stack, backfilled):
    """Not in a log, an artifact or a profile: dlt and dbt had it in memory only."""
    files = [path for path in stack.folder.rglob("*") if path.is_file()]
    assert [path for path in files if has_the_password(path.read_bytes())] == []


def test_the_password_is_not_in_airflows_database(airflow_state, backfilled):
    """In no row of any table: XComs, rendered templates, serialized DAGs."""
    address = airflow_state["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    dump = subprocess.run([find_program("pg_dump"), address], capture_output=True, check=True).stdout
    assert DAG.encode() in dump
    assert not has_the_password(dump)
