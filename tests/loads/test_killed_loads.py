"""A load that was killed amid its work: what the next one makes of what it left."""

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import dlt
import pytest

from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

KILLED = """
import os, signal, sys
import dlt
from airflow_provider_dbtcloud_dlt.loads.load import run_load
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

database, write_disposition, jobs = sys.argv[1:]


class Log:
    # The load's own progress says how far it is: it dies when so many of its files are at the destination.
    def info(self, event, *args):
        line = event % args
        if line.startswith("Load") and f"jobs {jobs}/" in line:
            os.kill(os.getpid(), signal.SIGKILL)

    warning = info


def orders():
    return [{"id": 1, "lines": [{"sku": "a"}]}, {"id": 2, "lines": []}]


plan = LoadPlan(
    pipeline_name="shop",
    destination=lambda: dlt.destinations.duckdb(database),
    dataset_name="raw",
    default_table_name="orders",
    write_disposition=write_disposition,
    primary_key="id",
    log_interval=0,
)
run_load(orders, plan, log=Log())
"""


@pytest.fixture(scope="module")
def left_by(tmp_path_factory):
    """Kill a load when so many of its jobs are done, each kind once; return the folder with the database."""

    @functools.cache
    def go(write_disposition, jobs):
        folder = tmp_path_factory.mktemp("killed")
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder / "warehouse.duckdb"), write_disposition, str(jobs)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        return folder

    return go


@pytest.fixture
def killed(left_by, database):
    """Have the database as a load leaves it that is killed when so many of its jobs are done."""

    def go(write_disposition, jobs):
        for file in left_by(write_disposition, jobs).glob(f"{database.name}*"):  # with its write-ahead log
            shutil.copy(file, database.parent)

    return go


@pytest.fixture
def retry(warehouse):
    """Run the same load once more, as a task's second try."""

    def go(write_disposition, try_number=2):
        task = DltLoadOperator(
            task_id="load",
            source=lambda: [{"id": 1, "lines": [{"sku": "a"}]}, {"id": 2, "lines": []}],
            pipeline_name="shop",
            destination=warehouse,
            dataset_name="raw",
            table_name="orders",
            write_disposition=write_disposition,
            primary_key="id",
        )
        return task.execute({"ti": SimpleNamespace(dag_id="shop", task_id="load", try_number=try_number)})

    return go


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("write_disposition", ["merge", "replace"])
def test_the_next_load_is_right(killed, retry, query, write_disposition, jobs):
    """Merged and replaced tables, child tables too, hold each row once."""
    killed(write_disposition, jobs)
    retry(write_disposition)
    assert query("select id from raw.orders order by id") == [(1,), (2,)]
    assert query("select sku from raw.orders__lines") == [("a",)]


@pytest.mark.slow
def test_appended_rows_of_a_killed_load_stand(killed, retry, query):
    """The next load appends its own rows, and the killed one's are told apart by `_dlt_loads`."""
    killed("append", 3)
    retry("append")
    ended = "select count(*) from raw.orders where _dlt_load_id in (select load_id from raw._dlt_loads)"
    assert (query("select count(*) from raw.orders"), query(ended)) == ([(4,)], [(2,)])


def test_the_retrys_log_tells_of_them(killed, retry, query, capsys):
    """A warning names the table, how many rows, and the load id by which to delete them."""
    killed("append", 3)
    retry("append")
    told = re.search(r"Table orders holds 2 rows of load (\S+), which has not ended", capsys.readouterr().out)
    query_left = "select count(*) from raw.orders where _dlt_load_id = '{}'"
    assert told is not None
    assert query(query_left.format(told[1])) == [(2,)]


@pytest.mark.slow
@pytest.mark.parametrize(("write_disposition", "try_number"), [("append", 1), ("merge", 2)])
def test_nothing_is_told_where_it_need_not(killed, retry, capsys, write_disposition, try_number):
    """A first try does not look, and merged rows are right."""
    killed(write_disposition, 3)
    retry(write_disposition, try_number)
    assert "has not ended" not in capsys.readouterr().out


def test_a_retry_after_a_try_that_wrote_nothing(retry, query, capsys):
    """There is nothing to look at yet, which is no failure."""
    retry("append")
    assert query("select count(*) from raw.orders") == [(2,)]
    assert "has not ended" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["sqlite", "filesystem"])
def test_a_retry_into_another_destination(load, tmp_path, kind):
    """Other databases are asked as well; files in a folder have nobody to ask, which is no failure."""
    made = {
        "sqlite": lambda: dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path / 'shop.db'}"),
        "filesystem": lambda: dlt.destinations.filesystem((tmp_path / "lake").as_uri()),
    }
    log = Mock()
    for _ in range(2):
        assert load(lambda: [{"id": 1}], destination=made[kind], is_retry=True, log=log)["row_count"] == 1
    log.warning.assert_not_called()


def test_an_incremental_load_goes_on_where_the_last_whole_one_ended(killed, load, query):
    """A killed load's state does not count, so that its rows come again."""
    killed("merge", 3)

    @dlt.resource(name="orders", primary_key="id", write_disposition="merge")
    def orders(seq=dlt.sources.incremental("id", initial_value=0)):  # noqa: B008
        yield [{"id": number} for number in range(1, 4) if number >= seq.start_value]

    assert load(lambda: orders())["rows"] == {"orders": 3}
    assert query("select count(*) from raw.orders") == [(3,)]


TERMINATED = """
import signal, sys, time
from types import SimpleNamespace
import dlt
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

step, folder = sys.argv[1:]


def orders():
    yield [{"id": 1}]
    if step == "extract":
        print("extract", flush=True)
        time.sleep(60)


@dlt.destination(name="slow", batch_size=1)
def slow(items, table):
    print("load", flush=True)
    time.sleep(1)


task = DltLoadOperator(
    task_id="load", source=orders, pipeline_name="shop", destination=slow, pipelines_dir=folder
)
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())  # as Airflow's task runner does
task.execute({"ti": SimpleNamespace(dag_id="shop", task_id="load")})
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["extract", "load"])
def test_a_task_that_airflow_kills_leaves_no_folder(tmp_path, step):
    """The load ends within Airflow's five seconds, as a failure whose sentence names the signal."""
    folder = tmp_path / "work"
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED, step, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as task:
        while step not in (line := task.stdout.readline()):
            assert line, task.stderr.read()
        assert len(list(folder.iterdir())) == 1
        task.terminate()
        _, told = task.communicate(timeout=20)
    assert "it was stopped by signal 15" in told
    assert list(folder.iterdir()) == []
