"""Asset events of a dbt run: Airflow learns which relations have new contents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, Run
from airflow_provider_dbtcloud_dlt.lineage import table_uri
from airflow_provider_dbtcloud_dlt.results.manifest import Node
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult, Outcome
from airflow_provider_dbtcloud_dlt.results.relation import relation_parts
from airflow_provider_dbtcloud_dlt.run_results import opened_results

if TYPE_CHECKING:
    from airflow.sdk import AssetAlias, Context

    from airflow_provider_dbtcloud_dlt.client.logger import Logger

TOLD_TESTS = 20
"""Names of failed tests that an event has at most."""

TOLD_ASSETS = 40
"""Names of assets in the log at most."""

RETRIED_RUNS = 20
"""How many runs back that were taken up one after the other."""


def relation_uri(result: NodeResult, node: Node | None, pattern: str | None) -> str:
    """How a relation is called as an asset.

    Args:
        result: How its node ended.
        node: What the manifest says of it.
        pattern: With ``{table}``, ``{database}``, ``{schema}``; None: ``dbt://`` and the relation's name.

    Raises:
        ValueError: What the pattern asks for is not known.
    """
    if result.relation and (node is None or node.relation != result.relation):
        database, schema, table = relation_parts(result.relation)
    else:
        node = node or Node()
        database, schema, table = node.database, node.schema, node.table
    if table is None:
        raise ValueError("it is not known what its relation is called.")
    if not pattern:
        known = (name for name, value in (("database", database), ("schema", schema)) if value)
        pattern = "dbt://" + "/".join(f"{{{name}}}" for name in (*known, "table"))
    return table_uri(pattern, database=database, schema=schema, table=table)


@dataclass
class RelationEvents:
    """Emits an event for each model, seed and snapshot that a run has written.

    Args:
        context: The task's.
        aliases: Those of its outlets.
        pattern: How the relations are called; None: by their names.
        log: Told how many events there are, and why there is none for a node.
    """

    context: Context
    aliases: list[AssetAlias]
    pattern: str | None
    log: Logger
    _done: set[str] = field(default_factory=set)

    def emit(self, client: DBTCloudClientV2, run: Run, outcome: Outcome) -> None:
        """Emit the events of a run, and of those that it has taken up at their points of failure.

        These were failed runs, of which Airflow has had no events yet.
        """
        self._emit(run, outcome)
        for _ in range(RETRIED_RUNS):
            if run.retrying_run_id is None:
                return
            run = client.get_run(run.retrying_run_id, include_related=["run_steps"])
            with opened_results(client, run, self.log) as (_, earlier):
                self._emit(run, earlier)

    def _emit(self, run: Run, outcome: Outcome) -> None:
        failed_tests = outcome.failed_tests()
        emitted = []
        for result in outcome.made():
            node = outcome.nodes.get(result.unique_id)
            if result.unique_id in self._done or (node and node.materialized == "ephemeral"):
                continue
            try:
                asset = Asset(relation_uri(result, node, self.pattern))
                extra = _extra(result, node, run.id, failed_tests.get(result.unique_id, []))
                for alias in self.aliases:
                    self.context["outlet_events"][alias].add(asset, extra=extra)
            except Exception as error:  # noqa: BLE001 - providers bring their own rules for URIs
                self.log.warning("No asset event for %s: %s", result.unique_id, error)
            else:
                self._done.add(result.unique_id)
                emitted.append(asset.name)
        names = [*emitted[:TOLD_ASSETS], *(["…"] if len(emitted) > TOLD_ASSETS else [])]
        self.log.info("Asset events of job run %s: %d\n%s", run.id, len(emitted), "\n".join(names))


def _extra(result: NodeResult, node: Node | None, run_id: int, failed_tests: list[str]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "node": result.unique_id,
        "kind": result.kind,
        "materialized": node and node.materialized,
        "seconds": result.seconds,
        "rows": result.rows,
        "failed_tests": failed_tests[:TOLD_TESTS],
    }
