"""Load a table with dlt; its asset starts a second DAG, which builds what depends on it with dbt Cloud.

A model's asset, in turn, starts a third one.
"""

from airflow.sdk import Asset, dag, task

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(schedule=None, tags=["dlt"])
def planes_load():
    """The registry of aeroplanes, beside the flights that `flights_elt` loads: run that one first.

    The asset's name is the same on every machine. Without `asset_uri` it would be the DuckDB file's path.
    """

    @task.dlt_load(
        pipeline_name="planes",
        destination="duckdb",
        dataset_name="flights_raw",
        loader_file_format="jsonl",
        asset_uri="duckdb://flights/{schema}/{table}",
    )
    def load():
        from flights.source import flights_source

        return flights_source().with_resources("planes")

    load()


@dag(schedule=[Asset("duckdb://flights/flights_raw/planes")], tags=["dbt"])
def planes_transform():
    """Started by the asset, whichever DAG has loaded the table."""
    DbtCloudRunJobOperator(
        task_id="transform",
        project_name="Flights",
        environment_name="Production",
        job_name="Flights build",
        trigger_reason=(
            "Planes loaded: {{ triggering_asset_events.values() | first | default([])"
            " | map(attribute='extra.rows') | join(' and ') }}"
        ),
        steps_override=["dbt build --select source:flights_raw.planes+"],
        check_interval=5,
        emit_assets=True,
        asset_uri="duckdb://flights/{schema}/{table}",
    )


@dag(schedule=[Asset("duckdb://flights/analytics/delays_by_carrier")], tags=["dbt"])
def carriers_report():
    """Started by a model's asset, whichever job has built it."""

    @task
    def report(triggering_asset_events=None):
        (event, *_) = next(iter(triggering_asset_events.values()))
        return f"{event.extra['node']} was built in {event.extra['seconds']:.1f} s."

    report()


planes_load()
planes_transform()
carriers_report()
