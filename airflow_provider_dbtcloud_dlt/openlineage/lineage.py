"""A run's events: made of its artifacts while these are there, and emitted when the task ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.artifacts import RunArtifacts
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.openlineage.artifacts import (
    Json,
    Project,
    StepResults,
    read_catalog,
    read_project,
    read_run_results,
)
from airflow_provider_dbtcloud_dlt.openlineage.mending import command_of, documents
from airflow_provider_dbtcloud_dlt.openlineage.namespace import connection_details, own_namespace
from airflow_provider_dbtcloud_dlt.openlineage.task import emit_all, is_wanted, parent_of
from airflow_provider_dbtcloud_dlt.results.outcome import FILES, Outcome
from airflow_provider_dbtcloud_dlt.run_results import MANIFEST, Reader

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import RunEvent

CATALOG = "catalog.json"

SQL_SECONDS = 20.0
"""How long a run's SQL is read for what its columns are made of."""


class RunLineage:
    """What OpenLineage is told of a run.

    Args:
        client: asks where the run's database is, unless `namespace` says it.
        task_instance: the task's.
        namespace: how the database is called in OpenLineage, such as ``postgres://db.example.com:5432``.
        log: the task's.
    """

    def __init__(
        self, client: DBTCloudClientV2, task_instance: Any, namespace: str | None, log: Logger
    ) -> None:
        self._client = client
        self._task_instance = task_instance
        self._namespace = namespace
        self._log = log
        self._pairs: list[list[RunEvent]] = []

    @classmethod
    def wanted(
        cls, client: DBTCloudClientV2, task_instance: Any, namespace: str | None, log: Logger
    ) -> RunLineage | None:
        """One for this task; None if OpenLineage is not installed, is off, or is not to tell of the task."""
        try:
            return cls(client, task_instance, namespace, log) if is_wanted(task_instance) else None
        except Exception as error:  # noqa: BLE001 - an installation that does not fit is not the task's fault
            log.warning("There are no OpenLineage events: %s", _told(error))
            return None

    def collect(self, artifacts: RunArtifacts, outcome: Outcome) -> None:
        """Make the events of a run that has ended; a failure is told and leaves none."""
        try:
            self._pairs = list(self._made(artifacts))
        except Exception as error:  # noqa: BLE001 - the run's own result stands
            self._log.warning(
                "There are no OpenLineage events of job run %s: %s", artifacts.run.id, _told(error)
            )

    def emit(self) -> OperatorLineage:
        """Emit the events, once."""
        pairs, self._pairs = self._pairs, []
        return emit_all(pairs, self._log)

    def _made(self, artifacts: RunArtifacts) -> Iterator[list[RunEvent]]:
        run, reader = artifacts.run, Reader(artifacts, self._log, None)
        steps = list(_steps(reader))
        if not steps:
            return
        from airflow_provider_dbtcloud_dlt.openlineage.processor import StepProcessor

        now = datetime.now(UTC).isoformat()
        projects = _Projects(artifacts, reader, steps)
        described = [(step, projects.of(step)) for step in steps]
        catalog = _catalog(artifacts, reader, [project for _, project in described])
        details = {} if self._namespace else connection_details(self._client, run)
        parent = parent_of(self._task_instance)
        sql_until = time.monotonic() + SQL_SECONDS
        account_id = run.account_id or self._client.account_id
        failures: list[Exception] = []
        sql_left_out = 0
        for step, project in described:
            processor = StepProcessor(
                documents(step, project, catalog, now),
                name=f"{self._client.host}/{account_id}/{run.id}/{step.step}",
                parent=parent,
                namespace=self._namespace,
                details=details,
                otherwise=own_namespace(self._client, run),
                account_id=account_id,
                sql_until=sql_until,
                log=self._log,
            )
            yield from processor.made()
            failures += processor.failures
            sql_left_out += processor.sql_left_out
        if failures:
            self._log.warning(
                "There are no OpenLineage events of %d nodes of job run %s: %s",
                len(failures),
                run.id,
                _told(failures[0]),
            )
        if sql_left_out:
            self._log.warning(
                "OpenLineage is not told which columns those of %d relations of job run %s were made of: "
                "reading the SQL takes longer than %g seconds.",
                sql_left_out,
                run.id,
                SQL_SECONDS,
            )


class _Projects:
    """The manifests of a run's steps, of which one mostly describes all."""

    def __init__(self, artifacts: RunArtifacts, reader: Reader, steps: list[StepResults]) -> None:
        self._artifacts = artifacts
        self._reader = reader
        self._wanted = {unique_id for step in steps for unique_id in step.results}
        self._read: dict[int | None, Project] = {}
        known = [step.step for step in steps if self._has(step.step)]
        self._last = known[-1:]

    def of(self, step: StepResults) -> Project:
        """What describes a step's nodes: the last step's manifest, unless it knows them otherwise."""
        own = [step.step] if self._has(step.step) else []
        found = Project()
        for number in [*self._last, *own]:
            found = self._project(number)
            if found.describes(step.results):
                break
        return found

    def _has(self, step: int | None) -> bool:
        return MANIFEST in self._artifacts.by_step.get(step, ())

    def _project(self, step: int | None) -> Project:
        if step not in self._read:
            read = partial(read_project, wanted=self._wanted)
            file = self._reader.file(step, MANIFEST)
            self._read[step] = (file and self._reader.read(file, step, MANIFEST, read)) or Project()
        return self._read[step]


def _steps(reader: Reader) -> Iterator[StepResults]:
    """The steps in which dbt has written or tested relations."""
    for step, file in reader.own(FILES[0]):
        found = reader.read(file, step, FILES[0], partial(read_run_results, step=step))
        if found and found.results and command_of(found):
            yield found


def _catalog(artifacts: RunArtifacts, reader: Reader, projects: list[Project]) -> Mapping[str, Json]:
    """What the database's columns are, where dbt has written documentation: by the last step that did."""
    wanted = {unique_id for project in projects for unique_id in (*project.nodes, *project.sources)}
    for step, paths in reversed(list(artifacts.by_step.items())):
        if CATALOG in paths and (file := reader.file(step, CATALOG)):
            return reader.read(file, step, CATALOG, partial(read_catalog, wanted=wanted)) or {}
    return {}


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:1000]
