"""Load a month of flights with dlt by a task for each resource, then transform it with a dbt Cloud job."""

import datetime as dt

from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_dbtcloud_dlt.groups import DltLoadGroup, dlt_to_dbt_cloud


def flights():
    """The source, built by the task that lists its resources and by those that load them."""
    from flights.source import flights_source

    return flights_source()


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
    end_date=dt.datetime(2013, 12, 31, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,  # DuckDB lets one process write at a time
    tags=["dlt", "dbt"],
)
def flights_split():
    """What `flights_elt` does, with a task for each of the five tables.

    The tasks read their data in parallel. DuckDB takes one writer at a time: they write one after the other,
    and each says in its log when it waits.
    """
    load = DltLoadGroup(
        flights,
        pipeline_name="flights",
        destination="duckdb",
        dataset_name="flights_raw",
        loader_file_format="jsonl",
    )

    dlt_to_dbt_cloud(
        load,
        group_id="marts",
        project_name="Flights",
        environment_name="Production",
        job_name="Flights build",
        select_loaded=True,
        check_interval=5,
    )


flights_split()
