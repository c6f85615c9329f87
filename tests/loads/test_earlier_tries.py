"""A try that died with its load done: the next one's summary has what that one loaded."""

import datetime as dt
from types import SimpleNamespace

import dlt
import pytest

from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

IDS = dlt.sources.incremental("id", initial_value=0)


@dlt.resource
def orders(seq=IDS):
    """What is new since the last load."""
    yield [{"id": n, "lines": [{"sku": "a"}]} for n in (1, 2, 3) if n > seq.last_value]


@dlt.resource
def frames(seq=IDS):
    """The same as Arrow tables, whose rows do not say which load they came with."""
    import pyarrow as pa

    yield pa.table({"id": [n for n in (1, 2, 3) if n > seq.last_value]})


def nothing():
    """No rows at all."""
    return []


@pytest.fixture
def attempt(warehouse):
    """Run a try of the task, in a DAG run that began so many seconds ago."""

    def go(number, source=lambda: orders, seconds=60, destination=warehouse):
        began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        task = DltLoadOperator(
            task_id="load", source=source, pipeline_name="shop", dataset_name="raw", destination=destination
        )
        ti = SimpleNamespace(dag_id="shop", task_id="load", try_number=number)
        return task.execute({"ti": ti, "dag_run": SimpleNamespace(start_date=began)})

    return go


def test_what_an_earlier_try_has_loaded_counts(attempt, capsys):
    """Rows of nested tables too, and the load ids; the log says so."""
    first, second = attempt(1), attempt(2)
    assert second["rows"] == first["rows"] == {"orders": 3, "orders__lines": 3}
    assert second["load_ids"][0] == first["load_ids"][0]
    assert second["table_load_ids"] == first["table_load_ids"]
    assert second["nothing_loaded"] is False
    assert f"Load {first['load_ids'][0]} had arrived before this try" in capsys.readouterr().out


def test_another_database_is_asked_as_well(attempt, tmp_path):
    """The question is asked in every database's words."""

    def sqlite():
        return dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path / 'shop.db'}")

    assert attempt(1, destination=sqlite)["rows"] == attempt(2, destination=sqlite)["rows"]


def test_what_an_earlier_dag_run_has_loaded_does_not(attempt):
    """A retry that finds nothing new, of a try that had loaded nothing, has loaded nothing."""
    attempt(1)
    assert attempt(2, seconds=-60)["nothing_loaded"] is True


def test_a_first_try_does_not_look(attempt):
    """What came before it is another DAG run's."""
    attempt(1)
    assert attempt(1)["nothing_loaded"] is True


def test_an_earlier_try_that_loaded_nothing(attempt):
    """Its load has an id too, but no rows."""
    attempt(1, nothing)
    assert attempt(2, nothing)["nothing_loaded"] is True


def files(folder):
    """Files in a folder, which can't be asked."""
    return lambda: dlt.destinations.filesystem((folder / "lake").as_uri())


def test_what_can_not_be_known_counts_as_something(attempt, tmp_path, capsys):
    """Rather a dbt run too many than rows that no dbt run has seen."""
    attempt(1, destination=files(tmp_path))
    assert attempt(2, destination=files(tmp_path))["nothing_loaded"] is False
    assert "What earlier tries have loaded is not known" in capsys.readouterr().out


def test_rows_without_a_load_id_count_as_something(attempt):
    """Those of data frames have none."""
    pytest.importorskip("pyarrow")
    attempt(1, lambda: frames)
    assert attempt(2, lambda: frames)["nothing_loaded"] is False
