"""A dbt job that goes on until somebody ends it."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(schedule=None)
def endless_job():
    DbtCloudRunJobOperator(task_id="transform", job_name="Endless", check_interval=2)


endless_job()
