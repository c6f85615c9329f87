"""Start a run of a dbt Cloud job in one task, wait for it in another, and use what it left in a third."""

import json
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor


@dag(schedule=None, catchup=False, tags=["dbt"])
def wait_for_run():
    """Wait with a sensor for a run that another task started.

    Other tasks can work while dbt does, and the sensor holds no worker. The job tests the tables that the DAG
    `flights_elt` makes, so run that one first.
    """
    start = DbtCloudRunJobOperator(
        task_id="start",
        project_name="Flights",
        environment_name="Production",
        job_name="Flights tests",
        wait_for_termination=False,
    )
    wait = DbtCloudJobRunSensor(task_id="wait", run_id=start.output, poke_interval=5)

    @task
    def slowest_tests(dbt_run_id: int) -> list[dict[str, Any]]:
        """The three tests that took longest, from dbt's own account of the run."""
        artifact = DbtCloudHook().get_conn().get_artifact(dbt_run_id, "run_results.json")
        results = json.loads(artifact)["results"]
        results.sort(key=lambda result: result["execution_time"], reverse=True)
        return [
            {"test": result["unique_id"], "seconds": round(result["execution_time"], 3)}
            for result in results[:3]
        ]

    wait >> slowest_tests(start.output)


wait_for_run()
