"""The chain in one line: a group of a load and a dbt job that knows what was loaded."""

from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.groups import dlt_to_dbt_cloud
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator


def orders() -> list[dict[str, int]]:
    """What is loaded."""
    return [{"id": 1}]


@pytest.fixture
def dag() -> DAG:
    """A DAG to put tasks into."""
    return DAG("elt")


def test_decorated_function_is_called_within_the_group(dag: DAG) -> None:
    """A function that loads becomes the group's first task."""
    with dag:
        group = dlt_to_dbt_cloud(dlt_load_task(orders, destination="duckdb"), job_id=1)
    assert set(group.children) == {"dlt_to_dbt_cloud.orders", "dlt_to_dbt_cloud.transform"}
    assert dag.get_task("dlt_to_dbt_cloud.transform").upstream_task_ids == {"dlt_to_dbt_cloud.orders"}


def made_by_a_call() -> Any:
    """The output of a decorated function that was called."""
    return dlt_load_task(orders, destination="duckdb")()


def made_as_an_operator() -> Any:
    """An operator."""
    return DltLoadOperator(task_id="orders", source=orders)


@pytest.mark.parametrize("make", [made_by_a_call, made_as_an_operator])
def test_load_that_is_there_already(dag: DAG, make: Any) -> None:
    """A load that is a task already stays where it is, before the group."""
    with dag:
        group = dlt_to_dbt_cloud(make(), job_id=1)
    assert set(group.children) == {"dlt_to_dbt_cloud.transform"}
    assert dag.get_task("dlt_to_dbt_cloud.transform").upstream_task_ids == {"orders"}


def test_several_loads(dag: DAG) -> None:
    """The dbt job follows all of them."""
    with dag:
        loads = [DltLoadOperator(task_id=name, source=orders) for name in ("orders", "customers")]
        dlt_to_dbt_cloud(loads, job_id=1, group_id="shop", task_id="build")
    assert dag.get_task("shop.build").upstream_task_ids == {"orders", "customers"}


def test_arguments_are_the_operators(dag: DAG) -> None:
    """All else is handed to the operator as it is."""
    with dag:
        dlt_to_dbt_cloud(made_as_an_operator(), job_name="Nightly build", select_loaded=True)
    transform: Any = dag.get_task("dlt_to_dbt_cloud.transform")
    assert (transform.job_name, transform.select_loaded) == ("Nightly build", True)


def test_group_is_returned(dag: DAG) -> None:
    """What needs the tables follows the group."""
    with dag:

        @task
        def report() -> None: ...

        dlt_to_dbt_cloud(made_as_an_operator(), job_id=1) >> report()
    assert dag.get_task("report").upstream_task_ids == {"dlt_to_dbt_cloud.transform"}


def test_what_is_no_load(dag: DAG) -> None:
    """A function without the decorator is no load: a sentence says what is wanted."""
    with (
        dag,
        pytest.raises(TypeError, match=r"dlt_to_dbt_cloud\(<function orders .*has no load: give a function"),
    ):
        dlt_to_dbt_cloud(orders, job_id=1)


def test_what_is_no_load_is_not_called(dag: DAG) -> None:
    """A plain function might work for long, each time that the DAG file is parsed."""
    calls = []
    with dag, pytest.raises(TypeError, match="has no load"):
        dlt_to_dbt_cloud(lambda: calls.append(1), job_id=1)
    assert calls == []
