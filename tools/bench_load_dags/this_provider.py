"""A month of flights into DuckDB, loaded by this provider."""

import datetime as dt

from airflow.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
)
def bench_load():
    @task.dlt_load(
        pipeline_name="flights",
        destination="duckdb",
        dataset_name="flights_raw",
        loader_file_format="jsonl",
    )
    def load():
        from flights.source import flights_source

        return flights_source()

    load()


DAG = bench_load()
