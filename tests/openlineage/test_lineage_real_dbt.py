"""What OpenLineage is told of jobs that real dbt runs: seed, models, snapshot and tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_dbt import served, write_project

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

pytestmark = pytest.mark.slow

FILES = {
    "dbt/seeds/orders.csv": "id,amount\n1,10\n2,20\n2,30\n",
    "dbt/models/paid.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }}",
    "dbt/models/stg_orders.sql": (
        "{{ config(materialized='table') }} select id, amount from {{ ref('paid') }}"
    ),
    "dbt/models/revenue.sql": (
        "select id, sum({{ var('column', 'amount') }}) as total from {{ ref('stg_orders') }} group by id"
    ),
    "dbt/models/report.sql": "select total from {{ ref('revenue') }}",
    "dbt/models/copies.sql": "select table_name from {{ source('catalog', 'things') }}",
    "dbt/snapshots/history.sql": (
        "{% snapshot history %}{{ config(target_schema='main', unique_key='id', strategy='check',"
        " check_cols='all') }} select * from {{ ref('revenue') }}{% endsnapshot %}"
    ),
    "dbt/tests/no_debts.sql": "select * from {{ ref('stg_orders') }} where amount < 0",
    "dbt/models/models.yml": (
        "sources:\n  - name: catalog\n    schema: information_schema\n"
        "    tables: [{name: things, identifier: tables}]\n"
        "models:\n  - name: stg_orders\n    columns:\n"
        "      - name: id\n        description: Its number\n        data_tests:\n"
        "          - unique: {config: {severity: \"{{ var('severity', 'warn') }}\"}}\n"
        "          - relationships: {arguments: {to: ref('orders'), field: id}}\n"
        "  - name: report\n    columns:\n      - {name: total, data_tests: [not_null]}\n"
    ),
}
NAMESPACE = "duckdb:///shop.duckdb"
SEED = "shop.main.shop.orders.build.seed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, and the emulator's configuration."""
    job = {"steps": ["dbt build"], "generate_docs": True}
    return write_project(tmp_path_factory.mktemp("shop"), FILES, job)


@pytest.fixture
def emu(folder: Path, connect: Callable[..., None]) -> Iterator[Emulator]:
    with served(folder, connect) as running:
        yield running


@pytest.fixture
def run(emu: Emulator, told: Callable[..., Any], events: Callable[[], Any]) -> Callable[..., Any]:
    """Run the job, or these steps; return the last event of each of OpenLineage's jobs, by name."""

    def go(*steps: str, **arguments: Any) -> dict[str, Any]:
        told(
            lambda: DbtCloudRunJobOperator(
                task_id="transform",
                job_id=1000,
                check_interval=0.2,
                deferrable=False,  # dbt takes its time on a loaded machine
                log_progress=False,
                steps_override=list(steps) or None,
                lineage_namespace=NAMESPACE,
                **arguments,
            )
        )
        return {event["job"]["name"]: event for event in events()}

    return go


def names(datasets: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in datasets]


def columns(dataset: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("type") for one in dataset["facets"]["schema"]["fields"]}


def assertions(event: dict[str, Any]) -> dict[str, Any]:
    (tested,) = event["inputs"]
    found = tested["inputFacets"]["dataQualityAssertions"]["assertions"]
    return {one["assertion"]: (one["success"], one["severity"]) for one in found}


def test_success(run: Callable[..., Any]) -> None:
    """Relations are read by their names, columns are the database's, and tests are assertions."""
    told = run()
    assert {name: event["eventType"] for name, event in told.items()} == dict.fromkeys(told, "COMPLETE")
    flows = {
        name: (names(event["inputs"]), names(event["outputs"]))
        for name, event in told.items()
        if event["outputs"]
    }
    assert flows == {
        SEED: ([], ["shop.main.orders"]),
        "shop.main.shop.stg_orders.build.run": (["shop.main.orders"], ["shop.main.stg_orders"]),
        "shop.main.shop.revenue.build.run": (["shop.main.stg_orders"], ["shop.main.revenue"]),
        "shop.main.shop.report.build.run": (["shop.main.revenue"], ["shop.main.report"]),
        "shop.main.shop.copies.build.run": (["shop.information_schema.tables"], ["shop.main.copies"]),
        "shop.main.shop.history.build.snapshot": (["shop.main.revenue"], ["shop.main.history"]),
    }
    revenue = told["shop.main.shop.revenue.build.run"]
    assert columns(revenue["outputs"][0]) == {"id": "INTEGER", "total": "HUGEINT"}
    assert columns(revenue["inputs"][0]) == {"id": "INTEGER", "amount": "INTEGER"}
    of_total = revenue["outputs"][0]["facets"]["columnLineage"]["fields"]["total"]["inputFields"]
    assert [(one["namespace"], one["name"], one["field"]) for one in of_total] == [
        (NAMESPACE, "shop.main.stg_orders", "amount")
    ]
    assert told[SEED]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 3
    tests = told["shop.main.shop.stg_orders.build.test"]
    assert assertions(tests) == {
        "unique": (False, "warn"),
        "relationships": (True, "error"),
        "no_debts": (True, "error"),
    }
    assert tests["eventTime"] < told["shop.main.shop.revenue.build.run"]["eventTime"]


def test_failed_model(run: Callable[..., Any]) -> None:
    """It is told as failed, with dbt's message; what did not run, models and tests, is not told at all."""
    told = run("dbt build --vars '{column: nowhere}'")
    revenue = told["shop.main.shop.revenue.build.run"]
    assert (revenue["eventType"], revenue["outputs"]) == ("FAIL", [])
    assert 'column "nowhere" not found' in revenue["run"]["facets"]["errorMessage"]["message"]
    assert not [name for name in told if "report" in name or "history" in name]


def test_failing_test(run: Callable[..., Any]) -> None:
    """The relation was written; its tests have failed, the others are not told as failed because of it."""
    told = run("dbt build --vars '{severity: error}'")
    assert told["shop.main.shop.stg_orders.build.run"]["eventType"] == "COMPLETE"
    tests = told["shop.main.shop.stg_orders.build.test"]
    assert tests["eventType"] == "FAIL"
    assert assertions(tests)["unique"] == (False, "error")
    assert not [name for name in told if "report" in name]


def test_overridden_steps(run: Callable[..., Any]) -> None:
    """Each dbt command that writes or tests, and no other; without docs columns are those of the project."""
    told = run(
        "dbt seed",
        "dbt run --select stg_orders",
        "dbt run-operation generate_schema_name --args '{custom_schema_name: x, node: y}'",
        "dbt test --select stg_orders",
        generate_docs_override=False,
    )
    assert sorted(told) == [
        "shop.main.shop.orders.seed",
        "shop.main.shop.stg_orders",
        "shop.main.shop.stg_orders.test",
        "test.shop.no_debts",
    ]
    assert columns(told["shop.main.shop.stg_orders"]["outputs"][0]) == {"id": None}
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in told.values()}
    assert len(parents) == 1
