"""Tasks of which OpenLineage is told: a job that runs, one that fails, and a sensor."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor


@dag(schedule=None, default_args={"lineage_namespace": "snowflake://org-account"})
def lineage():
    build = DbtCloudRunJobOperator(task_id="build", job_name="Good")
    start = DbtCloudRunJobOperator(task_id="start", job_name="Good", wait_for_termination=False)
    wait = DbtCloudJobRunSensor(task_id="wait", run_id=start.output)
    fail = DbtCloudRunJobOperator(task_id="fail", job_name="Bad")
    build >> start >> wait >> fail


lineage()
