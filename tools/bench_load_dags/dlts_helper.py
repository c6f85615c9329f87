"""A month of flights into DuckDB, loaded by dlt's own helper for Airflow, as dlt's documentation has it."""

import datetime as dt

import dlt
from airflow.sdk import dag
from airflow.timetables.interval import CronDataIntervalTimetable
from dlt.helpers.airflow_helper import PipelineTasksGroup
from flights.source import flights_source


@dag(
    schedule=CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"),
    start_date=dt.datetime(2013, 1, 1, tzinfo=dt.UTC),
)
def bench_load():
    tasks = PipelineTasksGroup("flights", use_data_folder=False, wipe_local_data=True)
    pipeline = dlt.pipeline("flights", destination="duckdb", dataset_name="flights_raw")
    tasks.add_run(pipeline, flights_source(), decompose="none", loader_file_format="jsonl")


DAG = bench_load()
