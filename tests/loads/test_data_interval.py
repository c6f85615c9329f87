"""The DAG run's data interval as the range of dlt's incremental cursors, whatever the order of the runs."""

import datetime as dt
from types import SimpleNamespace

import dlt
import pytest

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

MONTHS = [dt.datetime(2013, month, 1, tzinfo=dt.UTC) for month in range(1, 13)] + [
    dt.datetime(2014, 1, 1, tzinfo=dt.UTC)
]
ROWS = [{"id": day, "day": dt.date(2013, 1, 1) + dt.timedelta(day)} for day in range(365)]


def orders(follow=True):
    """An order for each day of 2013."""
    days = dlt.sources.incremental(
        "day", initial_value=dt.date(2012, 1, 1), allow_external_schedulers=follow or None
    )

    @dlt.resource(write_disposition="merge", primary_key="id")
    def orders(days=days):
        yield ROWS

    return orders()


def interval(first, last=None):
    """From the first of a month to the first of the one after it, or after the last one."""
    return MONTHS[first - 1], MONTHS[last or first]


@pytest.fixture
def rows(query):
    """What is there."""
    return lambda dataset="raw": query(f"select id, day from {dataset}.orders order by id, day")


def test_a_backfill_in_any_order_is_one_full_load(load, rows):
    """Months out of order, one of them twice, make the rows of one load of their whole range."""
    load(orders, dataset_name="whole", interval=interval(1, 3))
    for month in (3, 1, 2, 1):
        load(orders, dataset_name="monthly", interval=interval(month))
    assert rows("monthly") == rows("whole")
    assert len(rows("whole")) == 31 + 28 + 31


def test_an_interval_brings_exactly_its_days(load, rows):
    """Its end belongs to the next one."""
    load(orders, interval=interval(2))
    assert [day for _, day in rows()][::27] == [dt.date(2013, 2, 1), dt.date(2013, 2, 28)]


def test_a_month_before_the_last_one_is_loaded(load):
    """A backfill of the past is not held back by what was loaded since."""
    load(orders, interval=interval(3))
    assert load(orders, interval=interval(1))["rows"] == {"orders": 31}


def test_a_month_that_is_loaded_again_doubles_nothing(load, rows):
    """With merge its rows take their own place."""
    load(orders, interval=interval(1))
    before = rows()
    assert load(orders, interval=interval(1))["rows"] == {"orders": 31}
    assert rows() == before


def test_other_cursors_go_by_their_state(load):
    """A cursor that does not ask for the interval loads what is new, as ever."""
    first, second = (load(lambda: orders(follow=False), interval=interval(month)) for month in (1, 2))
    assert (first["rows"], second["nothing_loaded"]) == ({"orders": 365}, True)


def test_the_source_function_can_ask_for_the_interval(load):
    """By dlt's own name for it."""
    asked = []

    def source():
        asked.append(tuple(dlt.current.interval()))
        return orders()

    load(source, interval=interval(5))
    assert asked == [interval(5)]


def test_the_next_load_of_the_process_has_an_interval_of_its_own(load):
    """Nothing of it is left behind."""
    load(orders, interval=interval(5))
    assert load(orders, interval=interval(6))["rows"] == {"orders": 30}


def test_an_empty_interval_is_refused(load):
    """It would load nothing at each run: the message says which schedules have intervals."""
    with pytest.raises(
        LoadError, match=r"cursor 'day' of resource 'orders' .* use CronDataIntervalTimetable"
    ):
        load(orders, interval=(MONTHS[0], MONTHS[0]))


def test_an_empty_interval_is_nothing_to_other_cursors(load):
    """Most schedules have no intervals since Airflow 3, and most loads do not need them."""
    assert load(lambda: orders(follow=False), interval=(MONTHS[0], MONTHS[0]))["rows"] == {"orders": 365}


def test_a_run_without_an_interval_is_told_what_to_do(load):
    """A cursor that follows it can't know what to load."""
    with pytest.raises(
        LoadError, match="resource 'orders' follows the DAG run's data interval, and this run"
    ):
        load(orders)


def test_the_operator_takes_the_dag_runs_interval(warehouse, rows):
    """It is that of the task's context."""
    task = DltLoadOperator(task_id="load", source=orders, destination=warehouse, dataset_name="raw")
    start, end = interval(2)
    ti = SimpleNamespace(dag_id="shop", task_id="load")
    task.execute({"ti": ti, "data_interval_start": start, "data_interval_end": end})
    assert len(rows()) == 28
