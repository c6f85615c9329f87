"""The operator that downloads an artifact; part of ``operators.dbt_cloud``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import check_id_argument, rendered_id
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.deferral import check_hook_params
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.operators.artifact_store import check_folder, is_address, put

if TYPE_CHECKING:
    from airflow.sdk import Context


class DbtCloudGetJobRunArtifactOperator(BaseOperator):
    """Downloads an artifact of a run to a file on the worker, or into an object store.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        run_id: the run.
        path: relative to dbt's target folder: ``manifest.json``, ``run_results.json``, ``catalog.json`` …
        account_id: instead of the connection's account.
        step: the step's number, from 1; default: the last step.
        output_file_name: the file to write, or an object's address such as ``s3://bucket/manifest.json``;
            default: ``<run_id>_<path>`` in the working directory.
        hook_params: further arguments of `DbtCloudHook`.

    Returns:
        The path of the file, or the object's address.
    """

    template_fields: Sequence[str] = (
        "dbt_cloud_conn_id",
        "run_id",
        "path",
        "account_id",
        "step",
        "output_file_name",
    )

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        run_id: int | str,
        path: str,
        account_id: int | str | None = None,
        step: int | str | None = None,
        output_file_name: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.run_id = run_id
        self.path = path
        self.account_id = account_id
        self.step = step
        self.output_file_name = output_file_name
        self.hook_params = dict(hook_params or {})
        check_hook_params(self.hook_params)
        check_id_argument("run_id", run_id)
        check_id_argument("account_id", account_id)
        if not path:
            raise InvalidRequestError(f"Task {self.task_id!r}: path is empty; name an artifact.")
        check_id_argument("step", step)

    def execute(self, context: Context) -> str:
        """Stream the artifact to the file; it may come some seconds after the run's end."""
        run_id = rendered_id("run_id", self.run_id)
        target = self.output_file_name or f"{run_id}_{self.path}".replace("/", "-")
        hook = DbtCloudHook(self.dbt_cloud_conn_id, self.account_id or None, **self.hook_params)
        step = None if self.step is None else rendered_id("step", self.step)
        if is_address(target):
            check_folder("output_file_name", target)
            folder, _, name = target.rpartition("/")
            with tempfile.TemporaryDirectory(prefix="dbt-cloud-artifact-") as here:
                file = Path(here, "artifact")
                size = hook.download_job_run_artifact(run_id, self.path, file, step=step)
                put(file, folder, name)
        else:
            size = hook.download_job_run_artifact(run_id, self.path, target, step=step)
        self.log.info("Wrote %s of job run %s to %s (%d bytes).", self.path, run_id, target, size)
        return target
