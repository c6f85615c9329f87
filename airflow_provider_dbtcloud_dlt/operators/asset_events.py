"""The operator that emits the asset events of a run that has ended; part of ``operators.dbt_cloud``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import check_id_argument, rendered_id
from airflow_provider_dbtcloud_dlt.compat import AirflowSkipException
from airflow_provider_dbtcloud_dlt.deferral import check_hook_params
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.assets import check_asset_uri, event_aliases, with_alias

if TYPE_CHECKING:
    from airflow.sdk import Context


class DbtCloudAssetEventsOperator(BaseOperator):
    """Emits an asset event for each model, seed and snapshot that an ended run has written.

    Also of a run that has failed elsewhere: Airflow takes no events from the task that fails with it, so this
    one comes after it, whether that succeeded or not. Likewise after a sensor::

        transform = DbtCloudRunJobOperator(task_id="transform", job_id=67890)
        DbtCloudAssetEventsOperator(task_id="assets", run_id=transform.output["job_run_id"])

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        run_id: the run; the task is skipped if a template renders to nothing, as when no run was started.
        account_id: instead of the connection's account.
        asset_uri: how relations are called as assets, as of `DbtCloudRunJobOperator`.
        hook_params: further arguments of `DbtCloudHook`.
        trigger_rule: Airflow's; default: ``"all_done"``.

    Raises:
        DbtCloudJobRunException: the run has not ended.
        DbtCloudError: its results could not be read.
    """

    template_fields: Sequence[str] = ("dbt_cloud_conn_id", "run_id", "account_id", "asset_uri")

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        run_id: int | str,
        account_id: int | str | None = None,
        asset_uri: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        trigger_rule: Any = "all_done",
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.run_id = run_id
        self.account_id = account_id
        self.asset_uri = asset_uri
        self.hook_params = dict(hook_params or {})
        check_hook_params(self.hook_params)
        check_id_argument("run_id", run_id)
        check_id_argument("account_id", account_id)
        check_asset_uri(asset_uri)
        self.outlets = with_alias(self)

    def execute(self, context: Context) -> None:
        """Read the run's results, and emit."""
        # No DAG file needs them.
        from airflow_provider_dbtcloud_dlt.operators.dbt_assets import RelationEvents
        from airflow_provider_dbtcloud_dlt.run_results import opened_results

        if self.run_id in (None, "", "None"):
            raise AirflowSkipException("There is no run of which events could be emitted.")
        run_id = rendered_id("run_id", self.run_id)
        client = DbtCloudHook(self.dbt_cloud_conn_id, self.account_id or None, **self.hook_params).get_conn()
        run = client.get_run(run_id, include_related=["run_steps"])
        if not run.is_terminal:
            raise DbtCloudJobRunException(f"Job run {run_id} has not ended: wait for it before this task.")
        events = RelationEvents(context, event_aliases(self.outlets), self.asset_uri or None, self.log)
        with opened_results(client, run, self.log) as (_, outcome):
            events.emit(client, run, outcome)
