"""Tasks of all kinds, whose runs succeed; and two whose runs fail, or are not there."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import (
    DbtCloudGetJobRunArtifactOperator,
    DbtCloudListJobRunsOperator,
    DbtCloudRunJobOperator,
)
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor


@dag(schedule=None)
def what_succeeds():
    DbtCloudRunJobOperator(task_id="waited", trigger_reason="{{ run_id }}")
    held = DbtCloudRunJobOperator(task_id="held", deferrable=False, check_interval=0.1)
    started = DbtCloudRunJobOperator(task_id="started", wait_for_termination=False)
    DbtCloudJobRunSensor(task_id="sensed", run_id=started.output)
    DbtCloudGetJobRunArtifactOperator(
        task_id="fetched", run_id=held.output, path="run_results.json", output_file_name="found.json"
    )
    DbtCloudListJobRunsOperator(task_id="listed")


@dag(schedule=None)
def what_fails():
    DbtCloudRunJobOperator(task_id="failed")
    DbtCloudRunJobOperator(task_id="lost", job_id=404)


what_succeeds()
what_fails()
