"""A sensor that waits for a job's next run, whoever starts it."""

from airflow.sdk import dag

from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor


@dag(schedule=None)
def next_run():
    DbtCloudJobRunSensor(
        task_id="wait",
        job_name="Quick",
        after="{{ dag_run.conf['after'] }}",
        poke_interval=2,
        log_results=False,
    )


next_run()
