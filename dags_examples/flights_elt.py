"""Load a month of flights with dlt, then transform it with a dbt Cloud job."""

import datetime as dt

from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
    end_date=dt.datetime(2013, 12, 31, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,  # DuckDB lets one process write at a time
    tags=["dlt", "dbt"],
)
def flights_elt():
    """Departures from New York City in 2013, a month a run.

    The month is that of the DAG run's data interval: backfill it from 2013-01-01 to 2013-12-01, or trigger it
    with a logical date in 2013. Running a month again changes nothing.

    dlt finds the DuckDB file in its own configuration, for instance in the environment variable
    `DESTINATION__DUCKDB__CREDENTIALS`.
    """

    @task.dlt_load(
        pipeline_name="flights",
        destination="duckdb",
        dataset_name="flights_raw",
        loader_file_format="jsonl",  # DuckDB takes twenty times as long for dlt's default, INSERT statements
    )
    def load():
        # Imported here: the source imports dlt, which reading this file every few seconds must not pay for.
        from flights.source import flights_source

        return flights_source()

    # Deferred while dbt works: no worker is held.
    transform = DbtCloudRunJobOperator(
        task_id="transform",
        project_name="Flights",
        environment_name="Production",
        job_name="Flights build",
        check_interval=5,
    )

    load() >> transform


flights_elt()
