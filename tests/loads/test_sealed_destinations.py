"""A destination object may hold a password: it stays out of what Airflow stores of a DAG."""

import json

import dlt
import pytest
from airflow.sdk import DAG
from stored_dags import DagSerialization

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.groups import DltLoadGroup
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator


def shop(day=""):
    """Never called."""


def called(**destinations):
    """A decorated function's task."""
    dlt_load_task(shop, **destinations)()


def overridden(**destinations):
    """A decorated function whose destination is given later, and mapped."""
    dlt_load_task(shop).override(**destinations).expand(day=["1", "2"])


WAYS = {
    "a task": lambda **given: DltLoadOperator(task_id="load", source=shop, **given),
    "a mapped task": lambda **given: DltLoadOperator.partial(task_id="load", source=shop, **given).expand(
        source_args=[{"day": "1"}]
    ),
    "a group": lambda **given: DltLoadGroup(shop, **given),
    "a group with names": lambda **given: DltLoadGroup(shop, resources=["orders"], **given),
    "a function": called,
    "a mapped function": lambda **given: dlt_load_task(shop, **given).expand(day=["1", "2"]),
    "an overridden function": overridden,
}


@pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)
def test_the_serialized_dag_has_no_secret(make):
    """It has what kind of destination it is, however the task is made."""
    with DAG("shop", schedule=None) as dag:
        make(
            destination=dlt.destinations.postgres("postgresql://me:pa55word@db/shop"),
            staging=dlt.destinations.filesystem("s3://lake", credentials={"secret": "s3kret"}),
        )
    stored = json.dumps(DagSerialization.to_dict(dag))
    assert not {word for word in ("pa55word", "s3kret") if word in stored}
    assert '"postgres"' in stored


def test_a_mapped_task_has_the_destination_itself():
    """What is kept from Airflow reaches the load."""
    destination = dlt.destinations.duckdb("shop.duckdb")
    with DAG("shop", schedule=None):
        mapped = DltLoadOperator.partial(task_id="load", source=shop, destination=destination).expand(
            source_args=[{"day": "1"}]
        )
    assert mapped.unmap({"source_args": {"day": "1"}}).destination.content is destination
