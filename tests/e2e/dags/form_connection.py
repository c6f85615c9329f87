"""A run by a connection that was made in the browser, whose default job is the one to run."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(schedule=None)
def form_connection():
    DbtCloudRunJobOperator(task_id="run", dbt_cloud_conn_id="dbt_of_the_form")


form_connection()
