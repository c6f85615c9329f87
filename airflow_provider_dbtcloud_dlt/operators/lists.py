"""The operators that list jobs and runs; part of ``operators.dbt_cloud``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import check_id_argument, rendered_id
from airflow_provider_dbtcloud_dlt.client.checks import check_statuses
from airflow_provider_dbtcloud_dlt.deferral import check_hook_params
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class DbtCloudListJobsOperator(BaseOperator):
    """Lists the jobs of an account or of a project.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        account_id: instead of the connection's account.
        project_id: only this project's jobs; default: the connection's default project, else all.
        order_by: a field, ``-`` before it reverses: ``-id``.
        hook_params: further arguments of `DbtCloudHook`.

    Returns:
        The jobs' ids.
    """

    template_fields: Sequence[str] = ("dbt_cloud_conn_id", "account_id", "project_id", "order_by")

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        account_id: int | str | None = None,
        project_id: int | str | None = None,
        order_by: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.account_id = account_id
        self.project_id = project_id
        self.order_by = order_by
        self.hook_params = dict(hook_params or {})
        check_hook_params(self.hook_params)
        check_id_argument("project_id", project_id)

    def execute(self, context: Context) -> list[int]:
        """Ask for the jobs."""
        hook = DbtCloudHook(self.dbt_cloud_conn_id, self.account_id or None, **self.hook_params)
        given = self.project_id or hook.settings.defaults.get("project_id")
        project_id = None if given is None else rendered_id("project_id", given)
        jobs = list(hook.get_conn().list_jobs(project_id=project_id, order_by=self.order_by))
        self.log.info("Jobs: %s", ", ".join(f"{job.id} ({job.name})" for job in jobs) or "none")
        return [job.id for job in jobs]


class DbtCloudListJobRunsOperator(BaseOperator):
    """Lists runs of an account or of a job.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        account_id: instead of the connection's account.
        job_id: only this job's runs.
        order_by: a field, ``-`` before it reverses; default with `latest_only`: ``-created_at``.
        include_related: what to embed: ``trigger``, ``job``, ``audit``, ``debug_logs``.
        latest_only: only the first of them.
        status_filter: only runs of this status or these statuses, by number or name: 1 Queued, 2 Starting, 3
            Running, 10 Success, 20 Error, 30 Cancelled.
        hook_params: further arguments of `DbtCloudHook`.

    Returns:
        The runs as the API's JSON objects; with `latest_only` one run, or ``None``.
    """

    template_fields: Sequence[str] = (
        "dbt_cloud_conn_id",
        "account_id",
        "job_id",
        "order_by",
        "include_related",
    )

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        account_id: int | str | None = None,
        job_id: int | str | None = None,
        order_by: str | None = None,
        include_related: Sequence[str] | None = None,
        latest_only: bool = False,
        status_filter: int | str | Collection[int | str] | None = None,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.account_id = account_id
        self.job_id = job_id
        self.order_by = order_by
        self.include_related = include_related
        self.latest_only = latest_only
        self.status_filter = None if status_filter is None else check_statuses("status_filter", status_filter)
        self.hook_params = dict(hook_params or {})
        check_hook_params(self.hook_params)
        check_id_argument("job_id", job_id)

    def execute(self, context: Context) -> list[dict[str, Any]] | dict[str, Any] | None:
        """Ask for the runs."""
        hook = DbtCloudHook(self.dbt_cloud_conn_id, self.account_id or None, **self.hook_params)
        runs = [
            dict(run.raw)
            for run in hook.get_conn().list_runs(
                limit=1 if self.latest_only else None,
                job_definition_id=None if self.job_id is None else rendered_id("job_id", self.job_id),
                order_by=self.order_by or ("-created_at" if self.latest_only else None),
                include_related=self.include_related,
                status__in=self.status_filter,
            )
        ]
        self.log.info("Found %d runs: %s", len(runs), ", ".join(str(run["id"]) for run in runs[:20]))
        if self.latest_only:
            return runs[0] if runs else None
        return runs
