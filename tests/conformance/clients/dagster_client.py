"""dagster-dbt's client of dbt Cloud, and the handler of a run that its assets use."""

from datetime import UTC, datetime, timedelta

from dagster import Failure
from dagster_dbt.cloud_v2.client import DbtCloudWorkspaceClient
from dagster_dbt.cloud_v2.run_handler import DbtCloudJobRunHandler, DbtCloudJobRunResults
from dagster_dbt.cloud_v2.types import DbtCloudJobRunStatusType, DbtCloudRun
from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, fails, run, same


def connect(token: str) -> DbtCloudWorkspaceClient:
    """Return a client that gives up at the first error."""
    return DbtCloudWorkspaceClient(
        account_id=cloud.account,
        token=token,
        access_url=f"https://{cloud.host}",
        request_max_retries=0,
        request_retry_delay=0.1,
        request_timeout=10,
    )


def drive() -> None:
    """Make each call."""
    client = connect(cloud.token)
    began = datetime.now(UTC) - timedelta(minutes=5)

    with cell("trigger"):
        handler = DbtCloudJobRunHandler.run(cloud.good, ["build", "--select", "orders"], client)
    with cell("wait for the end"):
        same(handler.wait(timeout=30).status, DbtCloudJobRunStatusType.SUCCESS)
    with cell("a failed run"):
        failed = DbtCloudJobRunHandler.run(cloud.bad, ["build"], client).wait(timeout=30)
        fails(failed.raise_for_status, Failure, f"dbt Cloud run '{failed.id}' failed!")
    with cell("list jobs"):
        jobs = client.list_jobs(cloud.project, cloud.environment)
        same([one["id"] for one in jobs], [cloud.good, cloud.bad, cloud.slow])
    with cell("list runs, filtered"):
        runs, total = client.get_runs_batch(cloud.project, cloud.environment, began, datetime.now(UTC))
        same(([one["id"] for one in runs], total), ([handler.run_id, failed.id], 2))
    with cell("cancel"):
        slow = DbtCloudJobRunHandler.run(cloud.slow, ["build"], client)
        active = client.get_active_job_ids(cloud.project, cloud.environment, [cloud.good, cloud.slow])
        same(active, {cloud.slow})
        slow.cancel()
        cancelled = DbtCloudRun.from_run_details(client.get_run_details(slow.run_id))
        same(cancelled.status, DbtCloudJobRunStatusType.CANCELLED)
    with cell("list artifacts"):
        same("run_results.json" in handler.list_run_artifacts(), True)
    with cell("one artifact"):
        results = DbtCloudJobRunResults.from_run_results_json(handler.get_run_results())
        same(results.run_results["results"][0]["status"], "success")
    with cell("logs of the steps"):
        same("dbt build --select orders" in client.get_run_logs(handler.run_id), True)
    with cell("check the connection"):
        client.verify_connection()
    with cell("error: unknown run"):
        fails(lambda: client.get_run_details(UNKNOWN_RUN), Failure, "Max retries")
    with cell("error: wrong token"):
        fails(connect(WRONG_TOKEN).verify_connection, Exception, "Failed to verify connection")


if __name__ == "__main__":
    run(drive, "dagster-dbt", "dagster")
