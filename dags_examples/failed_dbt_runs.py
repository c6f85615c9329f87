"""A DAG that starts whenever a dbt Cloud run fails, whether Airflow has started it, dbt Cloud or a person."""

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.triggers.job_runs import DbtCloudJobRunsTrigger

failures = Asset(
    "flights_failures",
    watchers=[
        AssetWatcher(
            name="dbt_cloud",
            trigger=DbtCloudJobRunsTrigger(project_id=10, statuses=["error"], poll_interval=5),
        )
    ],
)


@dag(schedule=[failures], tags=["dbt"])
def failed_dbt_runs():
    """Say which step of which run has failed; in earnest, this would be a message to whom it concerns."""

    @task
    def report(triggering_asset_events=None) -> list[str]:
        """A sentence for each failed run: Airflow may gather several events in one DAG run."""
        client = DbtCloudHook().get_conn()
        sentences = []
        for event in triggering_asset_events[failures]:
            run = client.get_run(event.extra["payload"]["run_id"], ["run_steps", "job"])
            steps = " and ".join(step.name for step in run.failed_steps)
            sentences.append(
                f"Run {run.id} of {run.job.name} has failed: {steps or run.status_message}. {run.href}"
            )
        return sentences

    report()


failed_dbt_runs()
