"""OpenLineage's own processor for dbt Cloud's artifacts, mended where `mending` could not do it beforehand.

It imports OpenLineage: import it in functions only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import Run, RunEvent
from openlineage.client.facet_v2 import column_lineage_dataset, error_message_run
from openlineage.client.uuid import generate_static_uuid
from openlineage.common.provider.dbt import DbtCloudArtifactProcessor, ParentRunMetadata
from openlineage.common.provider.dbt.processor import DbtRunContext, DbtRunResult

from airflow_provider_dbtcloud_dlt import __version__
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.openlineage.mending import Documents
from airflow_provider_dbtcloud_dlt.openlineage.namespace import PORTS, general_namespace

PRODUCER = f"https://pypi.org/project/airflow-provider-dbtcloud-dlt/{__version__}"


class StepProcessor(DbtCloudArtifactProcessor):  # type: ignore[misc]  # untyped
    """Makes the events of one step.

    Args:
        documents: What the step has left.
        name: What tells the step from all others, such as ``cloud.getdbt.com/1/5/3``.
        parent: Of which run these are parts.
        namespace: How the database is called; None: as `details` tell.
        details: Of the database: see `namespace.connection_details`.
        otherwise: How the database is called if they do not tell.
        account_id: The account.
        sql_until: When no more SQL is to be parsed, by the monotonic clock: it takes time.
        log: The task's.
    """

    def __init__(
        self,
        documents: Documents,
        *,
        name: str,
        parent: ParentRunMetadata,
        namespace: str | None,
        details: Mapping[str, Any],
        otherwise: str,
        account_id: int | None,
        sql_until: float,
        log: Logger,
    ) -> None:
        metadata = documents.manifest["metadata"]
        adapter = str(metadata.get("adapter_type") or "dbt")
        super().__init__(
            documents.manifest,
            documents.run_results,
            {"type": adapter, "name": details.get("name"), "details": {**details, **_port(adapter, details)}},
            documents.catalog,
            project_name=metadata.get("project_name"),
            account_id=None if account_id is None else str(account_id),
            producer=PRODUCER,
            job_namespace=parent.job_namespace,
            skip_errors=True,
            logger=log,
        )
        self.dbt_run_metadata = parent
        self.failures = list(documents.failures)
        """Why there are no events of some nodes."""
        self.sql_left_out = 0
        """Nodes whose SQL was not parsed."""
        self._documents = documents
        self._name = name
        self._namespace = namespace
        self._otherwise = otherwise
        self._sql_until = sql_until
        self._pairs: list[list[RunEvent]] = []

    def made(self) -> list[list[RunEvent]]:
        """The events: of each node its beginning and its end, in the order of the ends."""
        self.parse()
        return sorted(self._pairs, key=lambda pair: pair[-1].eventTime)

    def to_openlineage_events(
        self, status: str, started_at: str, completed_at: str, run: Any, job: Any, inputs: Any, output: Any
    ) -> DbtRunResult | None:
        """Make a node's events; of a node for which that fails there are none."""
        try:
            facet = job.facets["dbt_node"]
            if job.facets["jobType"].jobType == "TEST":
                key = self._key_of(facet.unique_id)
                started_at, completed_at = self._documents.tested.get(key, (started_at, completed_at))
            elif facet.unique_id.startswith("seed."):
                self._call_seed(job, facet)
            run.runId = str(generate_static_uuid(_moment(started_at), f"{self._name}/{job.name}".encode()))
            made = self._to_openlineage_events(status, started_at, completed_at, run, job, inputs, output)
            pair = [made.start, made.complete or self._with_message(made.fail, facet.unique_id)]
        except Exception as error:  # noqa: BLE001 - whatever one node's artifacts hold, there are others
            self.failures.append(error)
            return None
        for event in pair:
            _sign(event)
        self._pairs.append(pair)
        return made

    def parse_assertions(self, context: DbtRunContext, nodes: dict[str, Any]) -> dict[str, Any]:
        """The assertions by relation; a test of several that belongs to none of them is told for itself."""
        parents = context.manifest["parent_map"]
        single = [
            one for one in context.run_results["results"] if len(parents.get(one["unique_id"], [])) == 1
        ]
        context = DbtRunContext(context.manifest, {"results": single}, context.catalog)
        found: dict[str, Any] = super().parse_assertions(context, nodes)
        return found

    def get_column_lineage(
        self, namespace: str, compiled_sql: str
    ) -> column_lineage_dataset.ColumnLineageDatasetFacet | None:
        """Which columns a column was made of, as far as there is time to read the SQL."""
        if time.monotonic() > self._sql_until:
            self.sql_left_out += 1
            return None
        return super().get_column_lineage(namespace, compiled_sql)

    def extract_adapter_type(self, profile: Any) -> None:
        """Which database it is, if OpenLineage knows it."""
        try:
            super().extract_adapter_type(profile)
        except NotImplementedError:
            self.adapter_type = None

    def extract_namespace(self, profile: Any) -> str:
        """How the database is called."""
        if self._namespace:
            return self._namespace
        try:
            return str(super().extract_namespace(profile))
        except (KeyError, IndexError, AttributeError, NotImplementedError):
            pass  # OpenLineage does not know the adapter, or dbt Cloud tells less than a profile would
        return general_namespace(profile["type"], profile["details"]) or self._otherwise

    def extract_dialect(self) -> str | None:
        """The database's SQL, by the adapter's name."""
        return str(self.profile["type"])

    def _lookup_aws_account_id(self, profile: Any) -> None:
        """Ask nobody: it is not the worker's credentials that dbt Cloud works with."""

    def _call_seed(self, job: Any, facet: Any) -> None:
        """Name a seed's job as the processor names those of models and snapshots."""
        table = facet.unique_id.removeprefix("seed.")
        name = self._format_dataset_name(facet.database, facet.schema, table)
        job.facets["jobType"].jobType = "SEED"
        job.name = f"{name}.build.seed" if self.command == "build" else f"{name}.seed"

    def _with_message(self, event: Any, unique_id: str) -> Any:
        """The end of a node that failed, with what the database said."""
        if message := self._documents.messages.get(unique_id):
            told = error_message_run.ErrorMessageRunFacet(message, "sql")
            event.run = Run(runId=event.run.runId, facets={**event.run.facets, "errorMessage": told})
        return event

    def _key_of(self, unique_id: str) -> str:
        return next((key for key in (f"model.{unique_id}", unique_id) if key in self._documents.tested), "")


def _port(adapter: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"port": PORTS[adapter]} if adapter in PORTS and not details.get("port") else {}


def _moment(time_of_event: str) -> datetime:
    return datetime.fromisoformat(time_of_event)


def _sign(event: RunEvent) -> None:
    """Name the producer in all facets: those of its libraries are not who answers for them."""
    facets: list[Any] = [*(event.run.facets or {}).values(), *(event.job.facets or {}).values()]
    for dataset in [*(event.inputs or []), *(event.outputs or [])]:
        for name in ("facets", "inputFacets", "outputFacets"):
            facets += (getattr(dataset, name, None) or {}).values()
    for facet in facets:
        facet._producer = PRODUCER
