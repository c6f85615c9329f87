"""Databases that have one writer at a time: loads wait for each other, and say so."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
import time

import dlt
import duckdb
import pytest

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError

HOLD = """
import sys, time
{open}
print("open", flush=True)
sys.stdin.readline()
"""
OPEN = {
    "duckdb": "import duckdb; opened = duckdb.connect(sys.argv[1])",
    "sqlite": """
import fcntl
opened = open(sys.argv[1] + ".lock", "w")
fcntl.flock(opened, fcntl.LOCK_EX)
""",
}

LOAD = """
import json, logging, sys
import dlt
from airflow_provider_dbtcloud_dlt.loads.load import run_load
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

kind, path, resource = sys.argv[1:]
make = {
    "duckdb": lambda: dlt.destinations.duckdb(path),
    "sqlite": lambda: dlt.destinations.sqlalchemy(f"sqlite:///{path}"),
}[kind]
plan = LoadPlan(
    pipeline_name="shop", resources=[resource], destination=make, dataset_name="raw", lock_timeout=100
)
rows = [{"id": number} for number in range(2000)]
build = lambda: [dlt.resource(rows, name=name) for name in ("a", "b", "c")]
print(json.dumps(run_load(build, plan, log=logging.getLogger()).as_dict()))
"""


@pytest.fixture(params=["duckdb", "sqlite"])
def kind(request):
    """The kind of the database."""
    return request.param


@pytest.fixture
def path(tmp_path, kind):
    """The database's file."""
    return tmp_path / f"shop.{kind}"


@pytest.fixture
def destination(kind, path):
    """What a DAG file gives a load."""
    made = {
        "duckdb": lambda: dlt.destinations.duckdb(str(path)),
        "sqlite": lambda: dlt.destinations.sqlalchemy(f"sqlite:///{path}"),
    }
    return made[kind]


@pytest.fixture
def holder(kind, path):
    """Another process that has the database to itself, until a line is sent to it."""
    command = [sys.executable, "-c", HOLD.format(open=OPEN[kind]), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "open\n"
        yield running
        running.kill()


def rows(kind, path, table):
    """How many rows a table has."""
    if kind == "duckdb":
        with duckdb.connect(str(path), read_only=True) as opened:
            return opened.execute(f"select count(*) from raw.{table}").fetchone()[0]
    with sqlite3.connect(path.with_name(f"{path.stem}__raw{path.suffix}")) as opened:
        return opened.execute(f"select count(*) from {table}").fetchone()[0]


class Releasing:
    """A log that lets the database go as soon as a load says that it waits."""

    def __init__(self, holder):
        self.holder = holder
        self.lines = []

    def info(self, event, *args):
        self.lines.append(event % args)
        if "Waiting for it" in self.lines[-1]:
            self.holder.communicate("\n")

    warning = info


def test_a_load_waits_for_another_process(load, destination, holder):
    """It begins when the other one is done, and its log says what it waits for."""
    log = Releasing(holder)
    rows = load(lambda: [{"id": 1}], destination=destination, lock_timeout=60, log=log)["rows"]
    (told,) = [line for line in log.lines if "Waiting for it, for 60 s at most" in line]
    assert rows == {"orders": 1}
    assert "one process at a time can write" in told or "only one can at a time" in told


def test_the_duckdb_holder_is_named(load, tmp_path, caplog):
    """Whoever waits too long wants to know for whom."""
    path = tmp_path / "shop.duckdb"
    command = [sys.executable, "-c", HOLD.format(open=OPEN["duckdb"]), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        running.stdout.readline()
        with pytest.raises(LoadError, match=rf"DuckDB file is in use by .*\(PID {running.pid}\)"):
            load(list, destination=lambda: dlt.destinations.duckdb(str(path)), lock_timeout=0)
        running.communicate("\n")


def test_a_load_does_not_wait_for_ever(load, destination, holder):
    """When the time is up the load fails, and the sentence says what helps."""
    started = time.monotonic()
    with pytest.raises(LoadError, match=r"so for 1 s\. Run such loads one after the other, in a pool"):
        load(lambda: [{"id": 1}], destination=destination, lock_timeout=1)
    assert 1 <= time.monotonic() - started < 10


@pytest.mark.slow
def test_loads_in_parallel_processes_all_arrive(kind, path):
    """Three processes load into one file at the same time: no row is missing, and none of them fails."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, kind, str(path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        for name in ("a", "b", "c")
    ]
    ended = [process.communicate(timeout=180) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], [err for _, err in ended]
    assert [json.loads(out.splitlines()[-1])["row_count"] for out, _ in ended] == [2000] * 3
    assert [rows(kind, path, name) for name in ("a", "b", "c")] == [2000] * 3


def test_extracting_does_not_hold_the_database(load, destination, kind, path):
    """Others write while a load fetches its rows: it holds the database only when it needs it."""

    def slow():
        command = [sys.executable, "-c", HOLD.format(open=OPEN[kind]), str(path)]
        done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=True)
        yield {"id": done.stdout}

    assert load(slow, destination=destination)["rows"] == {"orders": 1}


def test_a_lock_leaves_no_file(load, destination, kind, path, tmp_path):
    """Beside the database there is nothing but the database."""
    load(lambda: [{"id": 1}], destination=destination)
    assert not list(tmp_path.glob("*.lock"))
    assert not [left for left in tmp_path.iterdir() if not left.name.startswith(("shop", "tmp"))]


def test_a_lock_file_of_a_killed_load_is_free(load, destination, kind, path):
    """What a dead process left behind holds nobody up."""
    path.with_name(f"{path.name}.lock").touch()
    assert load(lambda: [{"id": 1}], destination=destination, lock_timeout=0)["rows"] == {"orders": 1}


def test_a_lock_file_in_a_folder_that_is_not_there(load, tmp_path):
    """Nobody is waited for: the sentence says which file, and what its folder has to be."""
    path = tmp_path / "nowhere" / "shop.db"
    told = rf"lock file {path}\.lock .* can't be had: No such file or directory\. The folder must exist"
    with pytest.raises(LoadError, match=told):
        load(list, destination=lambda: dlt.destinations.sqlalchemy(f"sqlite:///{path}"))


def test_a_file_system_without_locks_is_no_other_load(load, tmp_path, mocker):
    """Only a lock that another holds is waited for."""
    mocker.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available"))
    sqlite = lambda: dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path / 'shop.db'}")  # noqa: E731
    with pytest.raises(LoadError, match="can't be had: No locks available"):
        load(list, destination=sqlite, lock_timeout=0)
