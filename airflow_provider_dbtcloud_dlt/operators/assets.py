"""What tasks that emit asset events have in common: the argument `asset_uri`, and the way to Airflow."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias, BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.lineage import PLACES, check_pattern, table_uri


def check_asset_uri(value: Any) -> None:
    """Refuse what no table can be called by; None and False are fine."""
    if value is None or value is False or not is_plain(value):
        return
    if not isinstance(value, str):
        raise TypeError(
            f"asset_uri is a {type(value).__name__}: give a text such as "
            "'postgres://db.example.com:5432/{database}/{schema}/{table}', or False for no asset events."
        )
    # The value itself is not told: it may hold a password.
    try:
        check_pattern(value)
        Asset(table_uri(value, **dict.fromkeys(PLACES, "x")))
    except ValueError as error:
        raise ValueError(f"asset_uri {error}") from None


def event_aliases(outlets: list[Any]) -> list[AssetAlias]:
    """The aliases among a task's outlets, by which its events are emitted."""
    return [outlet for outlet in outlets if isinstance(outlet, AssetAlias)]


def with_alias(task: BaseOperator) -> list[Any]:
    """A task's outlets, with an alias if it has none of its own."""
    if event_aliases(task.outlets):
        return task.outlets
    return [*task.outlets, AssetAlias(f"dbt:{task.dag_id}.{task.task_id}")]
