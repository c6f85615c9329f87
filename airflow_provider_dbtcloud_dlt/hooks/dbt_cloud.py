"""The hook: a client of dbt Cloud, with credentials from an Airflow connection or dlt's configuration."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_dbtcloud_dlt.client import (
    Account,
    DBTCloudClientV2,
    DbtCloudError,
    Environment,
    InvalidRequestError,
    Job,
    Project,
    Run,
    RunStatus,
    RunTimeoutError,
)
from airflow_provider_dbtcloud_dlt.client.artifacts import when_there
from airflow_provider_dbtcloud_dlt.client.checks import check_statuses
from airflow_provider_dbtcloud_dlt.client.client import DEFAULT_CAUSE, import_transport
from airflow_provider_dbtcloud_dlt.client.failure import report_failure
from airflow_provider_dbtcloud_dlt.client.lookup import NamedJob
from airflow_provider_dbtcloud_dlt.client.protocol import DEFAULT_RETRY_BUDGET
from airflow_provider_dbtcloud_dlt.compat import AirflowException, AirflowNotFoundException
from airflow_provider_dbtcloud_dlt.hooks import connection, connection_check, connection_form
from airflow_provider_dbtcloud_dlt.hooks.connection import DbtCloudConnectionError, Settings

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.helpers import DBTCloudConfiguration

OFFICIAL_RETRY_PARAMETERS = ("retry_limit", "retry_delay", "retry_args")
"""Accepted from the official provider's `hook_params`, without effect; may be no JSON."""


def storable_params(hook_params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a trigger keeps: parameters without effect may be objects that can't be stored."""
    return {
        name: value for name, value in (hook_params or {}).items() if name not in OFFICIAL_RETRY_PARAMETERS
    }


__all__ = ["DbtCloudConnectionError", "DbtCloudHook", "DbtCloudJobRunException"]


class DbtCloudJobRunException(AirflowException):
    """A dbt Cloud run that failed, was cancelled, or whose wait timed out: fails the task."""


class DbtCloudHook(BaseHook):
    """Talks to dbt Cloud for a task, a trigger, or plain Python.

    Credentials come from the Airflow connection; when `dbt_cloud_default` is asked for and there is no such
    connection, from dlt's own configuration (``[dbt_cloud]`` in secrets.toml, ``DBT_CLOUD__API_TOKEN`` …).
    Methods return records (``Run``, ``Job`` …), not responses.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        account_id: instead of the connection's account.
        timeout: seconds to connect and to wait for data, instead of the connection's.
        proxies: as requests takes them, or one address for all, instead of the connection's.
        verify: verify TLS certificates, or a CA bundle's path, instead of the connection's.
        outage_tolerance: seconds for which a wait outlives an API that does not answer.
        retry_budget: seconds within which a failed read or cancellation is repeated.
        timeout_seconds: the official provider's name for `timeout`.
        retry_limit: accepted from the official provider's `hook_params`; has no effect, see `retry_budget`.
        retry_delay: likewise.
        retry_args: likewise.

    Raises:
        InvalidRequestError: an argument can't be used; each may be whatever the connection's extra may hold.
        DbtCloudConnectionError: `dbt_cloud_conn_id` is empty.
    """

    conn_name_attr = "dbt_cloud_conn_id"
    default_conn_name = "dbt_cloud_default"
    conn_type = "dbt_cloud_dlt"
    hook_name = "dbt Cloud (dlt)"

    def __init__(
        self,
        dbt_cloud_conn_id: str = default_conn_name,
        account_id: int | str | None = None,
        *,
        timeout: float | tuple[float, float] | None = None,
        proxies: Mapping[str, str] | str | None = None,
        verify: bool | str | None = None,
        outage_tolerance: float | None = None,
        retry_budget: float = DEFAULT_RETRY_BUDGET,
        timeout_seconds: float | None = None,
        retry_limit: int | None = None,
        retry_delay: float | None = None,
        retry_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(dbt_cloud_conn_id, str) or not dbt_cloud_conn_id.strip():
            raise DbtCloudConnectionError("dbt_cloud_conn_id is empty: name an Airflow connection.")
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self._account_id = account_id
        given = connection.Fields(
            {
                "timeout": timeout,
                "timeout_seconds": timeout_seconds,
                "proxies": proxies,
                "verify": verify,
                "outage_tolerance": outage_tolerance,
                "retry_budget": retry_budget,
            },
            "DbtCloudHook's",
            InvalidRequestError,
        )
        budget = given.number("retry_budget", or_zero=True)
        self._retry_budget = DEFAULT_RETRY_BUDGET if budget is None else budget
        self._overrides = given.ways()
        if (official := given.timeout("timeout_seconds")) is not None:
            self._overrides.setdefault("timeout", official)
        self._settings: Settings | None = None
        self._clients: dict[str | None, DBTCloudClientV2] = {}

    # Airflow 3.1 makes its form of these two; newer ones read the provider's metadata.

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How the standard fields are called."""
        return connection_form.field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The fields of the extra."""
        return connection_form.widgets()

    # --- credentials ---------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What the connection says; looked up once.

        Raises:
            DbtCloudConnectionError: there is no such connection, or a field of it can't be used.
        """
        if self._settings is None:
            try:
                found = connection.read(self.get_connection(self.dbt_cloud_conn_id))
            except AirflowNotFoundException:
                found = self._settings_of_dlt()
            self._settings = dataclasses.replace(found, **self._overrides)
        return self._settings

    async def aload_settings(self) -> Settings:
        """Look the connection up without blocking the event loop; afterwards `settings` has it."""
        if self._settings is None:
            try:
                found = connection.read(await self.aget_connection(self.dbt_cloud_conn_id))
            except AirflowNotFoundException:
                found = await asyncio.to_thread(self._settings_of_dlt)
            self._settings = dataclasses.replace(found, **self._overrides)
        return self._settings

    def _settings_of_dlt(self) -> Settings:
        """Dlt's configuration stands in for the default connection only: a mistyped id must stay an error."""
        missing = f"There is no Airflow connection {self.dbt_cloud_conn_id!r} (dbt_cloud_conn_id)"
        if self.dbt_cloud_conn_id != self.default_conn_name:
            raise DbtCloudConnectionError(
                f"{missing}: create it, of type {self.hook_name!r}, or correct the id."
            ) from None
        from airflow_provider_dbtcloud_dlt import helpers

        found = helpers.configured()
        if found is None:
            raise DbtCloudConnectionError(
                f"{missing}, and dlt's configuration has no dbt_cloud.api_token: create the connection, "
                f"of type {self.hook_name!r}, or set DBT_CLOUD__API_TOKEN and DBT_CLOUD__ACCOUNT_ID."
            ) from None
        return Settings(
            origin="dlt's configuration [dbt_cloud]",
            api_token=str(found.api_token),
            account_id=found.account_id,
            base_api_url=found.base_api_url,
            allow_http=found.allow_http,
            # dlt's own cause says nothing: a task's default names task and DAG.
            defaults={
                name: str(found[name])
                for name in connection.JOB_DEFAULTS
                if found[name] not in (None, DEFAULT_CAUSE)
            },
        )

    def get_conn(self, account_id: int | str | None = None) -> DBTCloudClientV2:
        """Return the client; one an account, so that connections are reused.

        Args:
            account_id: instead of the hook's and the connection's account.

        Raises:
            DbtCloudConnectionError: the connection is missing or can't be used.
        """
        account = str(account_id or self._account_id or "") or None
        if account not in self._clients:
            self._clients[account] = self.settings.client(account, self._retry_budget)
        return self._clients[account]

    async def aget_conn(self, account_id: int | str | None = None) -> DBTCloudClientV2:
        """Like `get_conn`, from the triggerer. The client's calls block: run them in a thread."""
        if not self._clients:
            await asyncio.to_thread(import_transport)
        await self.aload_settings()
        return self.get_conn(account_id)

    def is_present(self, client: DBTCloudClientV2) -> bool:
        """Whether a client was made of what the connection says, as far as is known."""
        return client in self._clients.values()

    def forget(self) -> None:
        """Look the connection up again at the next use: its token may have been rotated.

        The clients are dropped, and their connections closed, once no thread uses them any more.
        """
        self._settings = None
        self._clients.clear()

    def reconnect(self, account_id: int | str | None = None) -> DBTCloudClientV2:
        """Return a client with what the connection says now, or the present one if it can't be looked up."""
        client, settings, clients = self.get_conn(account_id), self._settings, dict(self._clients)
        self.forget()
        try:
            return self.get_conn(account_id)
        except Exception as error:  # noqa: BLE001 - the wait goes on, and asks again after the next refusal
            self.log.warning("Connection %r could not be looked up again. %s", self.dbt_cloud_conn_id, error)
            self._settings, self._clients = settings, clients
            return client

    def get_dlt_credentials(self) -> DBTCloudConfiguration:
        """Return the connection as dlt's configuration, for `helpers.run_dbt_cloud_job` and its like.

        With it, the secret has one place for both ways of working.
        """
        from airflow_provider_dbtcloud_dlt import helpers

        settings = self.settings
        account = str(self._account_id) if self._account_id else settings.account_id
        return helpers.credentials(
            api_token=settings.api_token,
            account_id=account,
            base_api_url=settings.base_api_url,
            allow_http=settings.allow_http,
            **settings.defaults,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask dbt Cloud for the account and the default job; takes some seconds at most.

        Returns:
            Whether the connection can be used, and a sentence: of what it leads to, or of what is wrong and
            what to do.
        """
        try:
            settings = self.settings
        except DbtCloudError as error:
            return False, connection_check.told(error, f"Airflow connection {self.dbt_cloud_conn_id!r}")
        return connection_check.check(settings, self._account_id)

    # --- the official hook's methods -----------------------------------------------------------------------

    def get_account(self, account_id: int | None = None) -> Account:
        """Return the account."""
        return self.get_conn(account_id).get_account()

    def list_accounts(self) -> list[Account]:
        """Return the accounts that the token opens."""
        with self.settings.client_without_account(self._retry_budget) as client:
            return client.list_accounts()

    def list_projects(self, account_id: int | None = None, name_contains: str | None = None) -> list[Project]:
        """Return the account's projects, those whose name contains `name_contains`."""
        return list(self.get_conn(account_id).list_projects(name__icontains=name_contains))

    def get_project(self, project_id: int, account_id: int | None = None) -> Project:
        """Return a project."""
        return self.get_conn(account_id).get_project(project_id)

    def list_environments(
        self,
        project_id: int | None = None,
        *,
        name_contains: str | None = None,
        account_id: int | None = None,
    ) -> list[Environment]:
        """Return the environments of a project (default: of all), those whose name contains a text."""
        found = self.get_conn(account_id).list_environments(project_id=project_id)
        wanted = (name_contains or "").casefold()
        return [item for item in found if wanted in (item.name or "").casefold()]

    def get_environment(
        self, project_id: int | None, environment_id: int, *, account_id: int | None = None
    ) -> Environment:
        """Return an environment; its project need not be told, the argument is the official hook's."""
        return self.get_conn(account_id).get_environment(environment_id)

    def list_jobs(
        self,
        account_id: int | None = None,
        order_by: str | None = None,
        project_id: int | None = None,
        environment_id: int | None = None,
        name_contains: str | None = None,
    ) -> list[Job]:
        """Return jobs, of a project, an environment, or whose name contains a text."""
        return list(
            self.get_conn(account_id).list_jobs(
                order_by=order_by,
                project_id=project_id,
                environment_id=environment_id,
                name__icontains=name_contains,
            )
        )

    def get_job(self, job_id: int, account_id: int | None = None) -> Job:
        """Return a job's definition."""
        return self.get_conn(account_id).get_job(job_id)

    def get_job_by_name(
        self,
        *,
        job_name: str,
        project_name: str | None = None,
        environment_name: str | None = None,
        account_id: int | None = None,
    ) -> Job:
        """Return the one job of these names; near matches are listed when there is none.

        Raises:
            JobLookupError: no job, or more than one, answers to the names.
        """
        named = self.named_job(job_name, project_name, environment_name)
        return named.find(self.get_conn(account_id))

    def named_job(
        self, job_name: str, project_name: str | None = None, environment_name: str | None = None
    ) -> NamedJob:
        """Return what `get_job_by_name` looks up, the connection's project and environment included."""
        defaults = self.settings.defaults
        return NamedJob(
            job_name=job_name,
            project_name=project_name,
            environment_name=environment_name,
            project_id=defaults.get("project_id"),
            environment_id=defaults.get("environment_id") if project_name is None else None,
        )

    def trigger_job_run(
        self,
        job_id: int,
        cause: str,
        account_id: int | None = None,
        steps_override: Sequence[str] | None = None,
        schema_override: str | None = None,
        retry_from_failure: bool = False,
        additional_run_config: Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run of a job and return it.

        Args:
            job_id: the job.
            cause: why, at most 255 characters.
            account_id: instead of the connection's account.
            steps_override: dbt commands to run instead of the job's.
            schema_override: the schema to build into.
            retry_from_failure: go on from the point at which the job's last run failed, if it did; the
                overrides are then not used.
            additional_run_config: further fields of the trigger's body.
        """
        client = self.get_conn(account_id)
        if retry_from_failure:
            return client.rerun_job(job_id)
        body = {"cause": cause, "steps_override": steps_override, "schema_override": schema_override}
        return client.start_run(job_id, {**body, **(additional_run_config or {})})

    def list_job_runs(
        self,
        account_id: int | None = None,
        include_related: Sequence[str] | None = None,
        job_definition_id: int | None = None,
        order_by: str | None = None,
        **filters: Any,
    ) -> list[Run]:
        """Return runs; further filters as in the client's `list_runs`."""
        return list(
            self.get_conn(account_id).list_runs(
                include_related=include_related,
                job_definition_id=job_definition_id,
                order_by=order_by,
                **filters,
            )
        )

    def get_job_runs(
        self, account_id: int | None = None, payload: Mapping[str, Any] | None = None
    ) -> list[Run]:
        """Return the runs that match `payload`, the API's own query parameters."""
        return self.list_job_runs(account_id, **(payload or {}))

    def get_job_run(
        self, run_id: int, account_id: int | None = None, include_related: Sequence[str] = ()
    ) -> Run:
        """Return a run."""
        return self.get_conn(account_id).get_run(run_id, include_related)

    def get_job_run_status(self, run_id: int, account_id: int | None = None) -> RunStatus:
        """Return where a run stands."""
        return self.get_job_run(run_id, account_id).status

    def wait_for_job_run_status(
        self,
        run_id: int,
        account_id: int | None = None,
        expected_statuses: int | str | Collection[int | str] = RunStatus.SUCCESS,
        check_interval: float | None = None,
        timeout: float = 60 * 60 * 24 * 7,
    ) -> bool:
        """Wait until a run is in one of the expected statuses.

        Args:
            run_id: the run.
            account_id: instead of the connection's account.
            expected_statuses: one status or several, by number or name; also such as a run passes through.
            check_interval: seconds between two looks; default: as the job's earlier runs suggest.
            timeout: seconds to wait at most.

        Returns:
            ``True``.

        Raises:
            DbtCloudJobRunException: the run ended in another status, or the time is up.
            InvalidRequestError: `expected_statuses` holds what is no status.
        """
        wanted = check_statuses("expected_statuses", expected_statuses)
        client = self.get_conn(account_id)
        try:
            run = client.wait_for_run(
                run_id,
                poll_interval=check_interval,
                timeout=timeout,
                outage_tolerance=self.settings.outage_tolerance,
                on_answer=lambda seen: seen.status in wanted,
                on_refusal=lambda: self.reconnect(account_id),
            )
        except RunTimeoutError as error:
            raise DbtCloudJobRunException(str(error)) from None
        if run.status not in wanted:
            if run.status is not RunStatus.SUCCESS:
                raise DbtCloudJobRunException(report_failure(client, run, self.log))
            expected = " or ".join(status.humanized for status in wanted)
            raise DbtCloudJobRunException(f"Job run {run.id} ended as Success, expected {expected}.")
        return True

    def cancel_job_run(self, run_id: int, account_id: int | None = None) -> Run:
        """Cancel a run; on one that has ended nothing happens."""
        return self.get_conn(account_id).cancel_run(run_id)

    def list_job_run_artifacts(
        self, run_id: int, account_id: int | None = None, step: int | None = None
    ) -> list[str]:
        """Return the paths of a run's artifacts."""
        return self.get_conn(account_id).list_artifacts(run_id, step)

    def get_job_run_artifact(
        self, run_id: int, path: str, account_id: int | None = None, step: int | None = None
    ) -> bytes:
        """Return an artifact's content; waits some seconds for it if the run has only just ended."""
        client = self.get_conn(account_id)
        return when_there(
            client, run_id, path, lambda: client.get_artifact(run_id, path, step), self.log, step
        )

    def download_job_run_artifact(
        self,
        run_id: int,
        path: str,
        target: str | os.PathLike[str],
        account_id: int | None = None,
        step: int | None = None,
    ) -> int:
        """Stream an artifact to a file and return its size in bytes; waits like `get_job_run_artifact`."""
        client = self.get_conn(account_id)
        return when_there(
            client, run_id, path, lambda: client.download_artifact(run_id, path, target, step), self.log, step
        )

    def retry_failed_job_run(self, job_id: int, account_id: int | None = None) -> Run:
        """Start a job from the point at which its last run failed."""
        return self.get_conn(account_id).rerun_job(job_id)
