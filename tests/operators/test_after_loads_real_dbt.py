"""A load by dlt, then a job that real dbt runs: only what depends on the loaded tables is built."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_dbt import served, write_project

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

pytestmark = pytest.mark.slow

FILES = {
    "dbt/models/sources.yml": (
        "sources:\n  - name: raw\n    schema: raw_shop\n    tables:\n"
        "      - {name: sales, identifier: orders}\n"
        "      - {name: customers, columns: [{name: id, data_tests: [unique]}]}\n"
    ),
    "dbt/models/stg_orders.sql": "select id, '{{ var('dlt_load_ids', []) | join(' ') }}' as loads from "
    "{{ source('raw', 'sales') }}",
    "dbt/models/stg_customers.sql": "select id from {{ source('raw', 'customers') }}",
    "dbt/models/revenue.sql": "select * from {{ ref('stg_orders') }}",
    "dbt/models/calendar.sql": "select 1 as day",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project with two sources and four models, and the emulator's configuration."""
    return write_project(
        tmp_path_factory.mktemp("shop"), FILES, {"steps": ["dbt build", "dbt run -s stg_customers revenue"]}
    )


@pytest.fixture
def emu(folder: Path, connect: Callable[..., None]) -> Iterator[Emulator]:
    """The project, served."""
    with served(folder, connect) as running:
        yield running


@pytest.fixture
def load(folder: Path, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Load tables with dlt; return the summary."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(folder / "shop.duckdb"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")

    def go(*tables: str) -> Any:
        def source() -> Any:
            import dlt

            return [dlt.resource([{"id": 1}], name=table) for table in tables]

        task = DltLoadOperator(
            task_id="load",
            source=source,
            pipeline_name="shop",
            destination="duckdb",
            dataset_name="raw_shop",
            write_disposition="replace",
        )
        return task.execute(context(task_id="load"))

    return go


def built(emu: Emulator, run_id: int) -> list[set[str]]:
    """The nodes that each of a run's dbt steps ran."""
    client = DbtCloudRunJobOperator(task_id="look", job_id=1000).hook.get_conn()
    results = [json.loads(client.get_artifact(run_id, "run_results.json", step)) for step in (3, 4)]
    return [{node["unique_id"].split(".")[2] for node in one["results"]} for one in results]


def test_only_what_depends_on_the_loaded_table_is_built(
    emu: Emulator, make: Any, load: Any, context: Callable[..., Any], triggerer: Any
) -> None:
    """After orders were loaded, their models run in both steps; those of customers, and others, do not."""
    first = triggerer.finish(lambda: make(loaded=load("orders", "customers"), select_loaded=True), context())
    assert built(emu, first) == [
        {"stg_orders", "stg_customers", "revenue", "calendar", "source_unique_raw_customers_id"},
        {"stg_customers", "revenue"},
    ]

    summary = load("orders")
    options = {"loaded": summary, "select_loaded": True, "pass_load_ids": True}
    second = triggerer.finish(lambda: make(**options), context())

    assert built(emu, second) == [{"stg_orders", "revenue"}, {"revenue"}]
    steps = emu.runs()[-1]["trigger"]["steps_override"]
    variables = (
        f"""--vars '{{"dlt_load_ids": {json.dumps(summary["load_ids"])}, "dlt_dataset": "raw_shop"}}'"""
    )
    assert steps == [
        f"dbt build {variables} --select source:raw.sales+",
        f"dbt run {variables} -s stg_customers,source:raw.sales+ revenue,source:raw.sales+",
    ]
