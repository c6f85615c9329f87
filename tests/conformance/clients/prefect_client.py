"""prefect-dbt's blocks of dbt Cloud, and the client behind them."""

import asyncio
from typing import Any

from prefect_dbt.cloud import DbtCloudCredentials, DbtCloudJob
from prefect_dbt.cloud.exceptions import (
    DbtCloudGetRunFailed,
    DbtCloudJobRunFailed,
    DbtCloudJobRunTriggerFailed,
)
from prefect_dbt.cloud.jobs import DbtCloudJobRun
from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, fails, run, same


def job(job_id: int, token: str = cloud.token) -> DbtCloudJob:
    """Return the block of a job."""
    credentials = DbtCloudCredentials(api_key=token, account_id=cloud.account, domain=cloud.host)
    return DbtCloudJob(
        dbt_cloud_credentials=credentials, job_id=job_id, interval_seconds=1, timeout_seconds=30
    )


async def call(method: str, path: str, **params: Any) -> Any:
    """Ask for what the client has no function of its own for."""
    async with job(cloud.good).dbt_cloud_credentials.get_administrative_client() as client:
        response = await client.call_endpoint(http_method=method, path=path, params=params or None)
    return response.json()["data"]


def drive() -> None:
    """Make each call."""
    with cell("trigger"):
        started = job(cloud.good).trigger()
        same(started.get_run()["job_definition_id"], cloud.good)
    with cell("wait for the end"):
        started.wait_for_completion()
        same(started.get_status_code(), 10)
    with cell("a failed run"):
        failed = job(cloud.bad).trigger()
        failed.wait_for_completion()
        fails(failed.fetch_result, DbtCloudJobRunFailed, "has failed")
    with cell("list runs, filtered", "by `call_endpoint`"):
        filters = {"project_id": cloud.project, "status__in": "[20]", "order_by": "-id", "limit": 5}
        runs = asyncio.run(call("GET", "/runs/", **filters))
        same([one["id"] for one in runs], [failed.run_id])
    with cell("cancel", "by `call_endpoint`"):
        slow = job(cloud.slow).trigger()
        asyncio.run(call("POST", f"/runs/{slow.run_id}/cancel/"))
        same(slow.get_status_code(), 30)
    with cell("list artifacts"):
        same("run_results.json" in started.fetch_result()["artifact_paths"], True)
    with cell("one artifact"):
        same(started.get_run_artifacts("run_results.json")["results"][0]["status"], "success")
    with cell("error: unknown run"):
        unknown = DbtCloudJobRun(dbt_cloud_job=job(cloud.good), run_id=UNKNOWN_RUN)
        fails(unknown.get_run, DbtCloudGetRunFailed, "The requested resource was not found")
    with cell("error: wrong token"):
        fails(job(cloud.good, WRONG_TOKEN).trigger, DbtCloudJobRunTriggerFailed, "Invalid token")


if __name__ == "__main__":
    run(drive, "prefect-dbt", "prefect")
