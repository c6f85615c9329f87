"""Task groups for common chains; each part of one can be written out."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup, XComArg

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

__all__ = ["dlt_to_dbt_cloud"]


def dlt_to_dbt_cloud(load: Any, *, group_id: str = "dlt_to_dbt_cloud", **transform: Any) -> TaskGroup:
    """Load with dlt, then run a dbt Cloud job that knows what was loaded.

    Example::

        @task.dlt_load(destination="postgres", dataset_name="raw_shop")
        def orders(): ...


        dlt_to_dbt_cloud(orders, job_id=67890, select_loaded=True)

    is the same as::

        with TaskGroup("dlt_to_dbt_cloud"):
            DbtCloudRunJobOperator(task_id="transform", loaded=orders(), job_id=67890, select_loaded=True)

    Args:
        load: what loads, or a list of them: a function with the decorator ``@task.dlt_load``, which is called
            without arguments within the group; what such a call returned; or a `DltLoadOperator`. Tasks that
            are there already stay where they are, before the group.
        group_id: the group's name.
        **transform: the arguments of `DbtCloudRunJobOperator`; its ``task_id`` is ``transform`` unless given.

    Returns:
        The group.
    """
    with TaskGroup(group_id) as group:
        loaded = [_output(one) for one in load] if isinstance(load, list | tuple) else _output(load)
        DbtCloudRunJobOperator(**{"task_id": "transform", "loaded": loaded, **transform})
    return group


def _output(load: Any) -> Any:
    """What a load returns when it runs."""
    output = load() if callable(load) else load
    output = getattr(output, "output", output)
    if not isinstance(output, XComArg):
        raise TypeError(
            f"dlt_to_dbt_cloud({load!r}, …) has no load: give a function with the decorator @task.dlt_load, "
            "what a call of it returned, or a DltLoadOperator."
        )
    return output
