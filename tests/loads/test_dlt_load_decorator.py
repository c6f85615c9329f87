"""`@task.dlt_load`: the function is a TaskFlow function, what it returns is loaded."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task


@pytest.fixture
def run(warehouse, database):
    """Build a DAG of one decorated function, render it, and run it."""

    def go(function, *args, decorate=dlt_load_task, context=None, call=None, **kwargs):
        with DAG("shop", schedule=None):
            decorated = decorate(destination=warehouse, dataset_name="raw")(function)
            operator = decorated(*args, **kwargs).operator
        values = {"ti": SimpleNamespace(dag_id="shop", task_id=operator.task_id), **(context or {})}
        operator.render_template_fields(values)
        return operator.execute(values)

    return go


def test_the_table_and_the_task_are_named_after_the_function(run):
    """Neither needs a name of its own."""

    def orders():
        return [{"id": 1}]

    summary = run(orders)
    assert (summary["rows"], summary["pipeline_name"]) == ({"orders": 1}, "shop_orders")


def test_it_is_an_attribute_of_task(run):
    """Airflow finds the decorator by the provider's description: `@task.dlt_load`."""

    def orders():
        return [{"id": 1}]

    assert run(orders, decorate=task.dlt_load)["rows"] == {"orders": 1}


def test_arguments_are_those_of_the_call_and_templated(run, query):
    """Positional and keyword arguments reach the function, with templates rendered."""

    def orders(shop, *, day):
        return [{"shop": shop, "day": day}]

    run(orders, "north", day="on {{ ds }}", context={"ds": "2013-01-01"})
    assert query("select shop, day from raw.orders") == [("north", "on 2013-01-01")]


def test_the_context_reaches_the_function(run, query):
    """Values of the context come by name, as in every TaskFlow function."""

    def orders(data_interval_start=None, **context):
        return [{"start": f"from {data_interval_start}", "day": f"on {context['ds']}"}]

    run(orders, context={"data_interval_start": "2013-01", "ds": "2013-01-01"})
    assert query("select start, day from raw.orders") == [("from 2013-01", "on 2013-01-01")]


def test_a_generator_function_is_loaded(run):
    """A function may yield its rows."""

    def orders():
        yield {"id": 1}
        yield {"id": 2}

    assert run(orders)["rows"] == {"orders": 2}


def test_the_summary_is_one_xcom(warehouse):
    """A function that says it returns a dict does not make an XCom of each entry."""

    def orders() -> dict[str, Any]:
        return {}

    with DAG("shop", schedule=None):
        operator = dlt_load_task(destination=warehouse)(orders)().operator
    assert operator.multiple_outputs is False


def test_it_can_be_mapped(warehouse):
    """One task for each shop; the shared arguments are checked when the DAG is parsed."""
    with DAG("shop", schedule=None) as dag:

        @dlt_load_task(destination=warehouse, write_disposition="append")
        def orders(shop):
            return [{"shop": shop}]

        orders.expand(shop=["north", "south"])
    assert dag.get_task("orders").is_mapped


def test_bad_arguments_are_refused_when_the_dag_is_parsed(warehouse):
    """The decorator takes the operator's arguments and refuses what it refuses."""

    def orders():
        return []

    decorated = dlt_load_task(destination=warehouse, write_disposition="upsert")(orders)
    with DAG("shop", schedule=None), pytest.raises(ValueError, match="write_disposition='upsert'"):
        decorated()


@pytest.mark.parametrize("resources", [["orders"], None])
def test_resources_can_be_overridden(resources):
    """As every argument can, whether the function had some before, called or mapped."""

    def shop(day="1"):
        """Never called."""

    with DAG("shop", schedule=None) as dag:
        decorated = dlt_load_task(**({"resources": resources} if resources else {}))(shop)
        decorated.override(resources=["users"], task_id="called")()
        decorated.override(resources=["users"], task_id="mapped").expand(day=["1", "2"])
    mapped = dag.get_task("mapped").unmap({"op_kwargs": {"day": "1"}})
    assert (dag.get_task("called").resource_names, mapped.resource_names) == (["users"], ["users"])


def test_a_function_is_wanted():
    """`@task.dlt_load("duckdb")` is a slip: the sentence says how to write it."""
    with pytest.raises(TypeError, match="takes its arguments by name"):
        dlt_load_task("duckdb")
