"""Loads at the same time into one dataset of a PostgreSQL server, each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import psycopg2
import pytest
from database_servers import PASSWORD, postgres

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields

pytestmark = pytest.mark.slow

NAMES = ["clicks", "orders", "users", "views"]

LOAD = """
import json, sys, time
import dlt
from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.load import run_load
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

port, password, resource, upto, meet_at = sys.argv[1:]


@dlt.source(name="shop")
def shop():
    def rows(seq=dlt.sources.incremental("seq", initial_value=0)):
        yield [{"id": n, "seq": n} for n in range(1, int(upto) + 1) if n >= seq.start_value]

    names = ["clicks", "orders", "users", "views"]
    return [dlt.resource(rows, name=name, primary_key="id", write_disposition="merge") for name in names]


class Log:
    def info(self, event, *args):
        print(event % args, file=sys.stderr)

    warning = info


def build():
    time.sleep(max(0, float(meet_at) - time.time()))  # so that all of them want the tables at once
    return shop()


connection = ConnectionFields(
    "warehouse", "postgres", "127.0.0.1", login="loader", password=password, schema="shop", port=int(port)
)
plan = LoadPlan(
    pipeline_name="shop", resources=[resource], destination_connection=connection, dataset_name="raw"
)
print(json.dumps(run_load(build, plan, log=Log()).as_dict()))
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A PostgreSQL server."""
    with postgres() as port:
        yield port


def load_all(port: int, upto: int, meet_at: float) -> list[dict[str, Any]]:
    """Load each resource in a process of its own, all at once; return their summaries."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(port), PASSWORD, name, str(upto), str(meet_at)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for name in NAMES
    ]
    ended = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * len(NAMES), [err for _, err in ended]
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


@pytest.fixture(scope="module")
def summaries(port: int) -> list[list[dict[str, Any]]]:
    """Two rounds of loads: the first makes the dataset, the second has new rows for each cursor."""
    return [load_all(port, upto, time.time() + 25) for upto in (3, 5)]


def query(port: int, sql: str) -> list[tuple[Any, ...]]:
    """Ask the database."""
    opened = psycopg2.connect(host="127.0.0.1", port=port, user="loader", password=PASSWORD, dbname="shop")
    try:
        with opened.cursor() as cursor:
            cursor.execute(sql)
            found = cursor.fetchall()
        opened.commit()
        return found
    finally:
        opened.close()


def test_all_of_them_make_the_dataset_at_once(summaries):
    """None fails, although each finds no dataset and wants to make it."""
    assert [summary["rows"] for summary in summaries[0]] == [{name: 3} for name in NAMES]


def test_a_dataset_that_another_makes_at_the_same_moment(port):
    """PostgreSQL refuses the second of two who make it: the load tries once more, and says why."""
    other = psycopg2.connect(host="127.0.0.1", port=port, user="loader", password=PASSWORD, dbname="shop")
    other.cursor().execute("create schema busy")  # not committed: whoever wants to make it too has to wait
    script = LOAD.replace('dataset_name="raw"', 'dataset_name="busy"')
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(port), PASSWORD, "orders", "3", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        deadline = time.monotonic() + 60
        while not query(port, "select 1 from pg_locks where not granted") and time.monotonic() < deadline:
            time.sleep(0.1)
        other.commit()
        _, told = running.communicate(timeout=120)
    other.close()
    assert (running.returncode, "which a load in parallel may cause; once more" in told) == (0, True), told
    assert query(port, "select count(*) from busy.orders") == [(3,)]


def test_rows_that_a_killed_load_left(port, load):
    """PostgreSQL is asked for them as DuckDB is."""
    log = Mock()
    connection = ConnectionFields(
        "warehouse", "postgres", "127.0.0.1", login="loader", password=PASSWORD, schema="shop", port=port
    )
    plan = {"destination": None, "destination_connection": connection, "dataset_name": "left", "log": log}
    load(lambda: [{"id": 1}], **plan)
    query(port, "update \"left\".orders set _dlt_load_id = '17.5' returning 1")
    load(lambda: [{"id": 1}], is_retry=True, **plan)
    ((text, *values),) = [call.args for call in log.warning.call_args_list]
    assert (text % tuple(values)).startswith("Table orders holds 1 rows of load 17.5, which has not ended")


def test_no_cursor_is_lost(summaries):
    """The second round brings to each table what is new, and nothing twice."""
    assert [summary["rows"] for summary in summaries[1]] == [{name: 2} for name in NAMES]


def test_every_row_is_there_once(summaries, port):
    """What was loaded in parallel is what one load would have made of it."""
    counts = [query(port, f"select count(*), max(seq) from raw.{name}")[0] for name in NAMES]
    assert counts == [(5, 5)] * len(NAMES)


def test_each_has_its_own_state(summaries, port):
    """The state of each is at the destination under a name of its own."""
    names = query(port, "select distinct pipeline_name from raw._dlt_pipeline_state order by 1")
    assert names == [(f"shop__{name}",) for name in NAMES]
