"""A mapped dbt job, each of whose runs says what it has written."""

from airflow.sdk import AssetAlias, dag

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@dag(schedule=None)
def mapped_assets():
    DbtCloudRunJobOperator.partial(
        task_id="build",
        job_name="Materialised",
        check_interval=2,
        emit_assets=True,
        asset_uri="dbt://{schema}/{table}",
        outlets=[AssetAlias("mapped_models")],
    ).expand(schema_override=["north", "south"])


mapped_assets()
