"""Load one table of several with dlt, then build only what depends on it with a dbt Cloud job."""

import datetime as dt

from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_dbtcloud_dlt.groups import dlt_to_dbt_cloud


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
    end_date=dt.datetime(2013, 12, 31, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,  # DuckDB lets one process write at a time
    tags=["dlt", "dbt"],
)
def weather_elt():
    """A month of New York's weather, beside the flights that `flights_elt` loads: run that one first.

    Of the job's models those run that depend on the weather. When there is none, no dbt run is started.
    """

    @task.dlt_load(
        pipeline_name="weather",
        destination="duckdb",
        dataset_name="flights_raw",
        loader_file_format="jsonl",  # DuckDB takes twenty times as long for dlt's default, INSERT statements
    )
    def load():
        from flights.source import flights_source

        return flights_source().with_resources("weather")

    dlt_to_dbt_cloud(
        load,
        group_id="weather",
        project_name="Flights",
        environment_name="Production",
        job_name="Flights build",
        select_loaded=True,
        check_interval=5,
    )


weather_elt()
