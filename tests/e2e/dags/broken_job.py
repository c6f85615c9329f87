"""A dbt job that fails: what the task's log says of it."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(schedule=None)
def broken_job():
    DbtCloudRunJobOperator(task_id="transform", job_name="Broken", check_interval=2)


broken_job()
