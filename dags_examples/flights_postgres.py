"""Load a month of flights into PostgreSQL and transform it there with a dbt Cloud job, by one connection."""

import datetime as dt

from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_dbtcloud_dlt.groups import dlt_to_dbt_cloud


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
    end_date=dt.datetime(2013, 12, 31, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=3,  # while dbt works on one month, the next one is loaded
    tags=["dlt", "dbt"],
)
def flights_postgres():
    """What `flights_elt` does, in the PostgreSQL server of the Airflow connection `flights_warehouse`.

    dlt gets the connection's credentials from the task. dbt Cloud keeps credentials of its own; the local
    emulator's dbt reads the connection's environment variable, `AIRFLOW_CONN_FLIGHTS_WAREHOUSE`, by way of
    its profile: it has to be in JSON, and the emulator has to be started with it too.
    """

    @task.dlt_load(
        pipeline_name="flights",
        destination_conn_id="flights_warehouse",
        dataset_name="flights_raw",
    )
    def load():
        from flights.source import flights_source

        return flights_source()

    dlt_to_dbt_cloud(
        load,
        group_id="warehouse",
        project_name="Flights",
        environment_name="Warehouse",
        job_name="Warehouse build",
        check_interval=5,
    )


flights_postgres()
