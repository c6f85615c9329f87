"""Asset events of a load: Airflow learns which tables have new contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_provider_dbtcloud_dlt.lineage import table_uri

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dbtcloud_dlt.client.logger import Logger


def emit_asset_events(
    context: Context,
    aliases: list[AssetAlias],
    summary: Mapping[str, Any],
    pattern: str | None,
    log: Logger,
) -> None:
    """Emit an event for each table whose contents a load has touched.

    Nothing that goes wrong here fails the task: the load has succeeded.

    Args:
        context: The task's.
        aliases: Those of its outlets.
        summary: The load's.
        pattern: How the tables are called; None: as the summary says.
        log: Told of each event, and why there is none.
    """
    pattern = pattern or summary["table_uri"]
    if not pattern:
        log.info(
            "No asset events: what is known of destination %s does not say how its tables are called; "
            "asset_uri can say it.",
            summary["destination"],
        )
        return
    for table, rows in summary["rows"].items():
        try:
            # Airflow tells assets apart by name and URI. The name is the URI as it was given, as it is of an
            # Asset(uri) in another DAG's schedule; Airflow may normalise the URI proper.
            asset = Asset(
                table_uri(pattern, database=summary["database"], schema=summary["dataset_name"], table=table)
            )
            extra = {
                "table": table,
                "rows": rows,
                "bytes": summary["bytes"][table],
                "load_ids": summary["table_load_ids"][table],
                **{name: summary[name] for name in ("pipeline_name", "dataset_name")},
            }
            for alias in aliases:
                context["outlet_events"][alias].add(asset, extra=extra)
            log.info("Asset event: %s", asset.name)
        except Exception as error:  # noqa: BLE001 - providers bring their own rules for URIs
            log.warning("No asset event for table %s: %s", table, error)
