"""Jobs of a project of five nodes that real dbt runs: what the task's log, exception and XCom say of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors
from real_dbt import served, write_project

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException

pytestmark = pytest.mark.slow

FILES = {
    "dbt/seeds/orders.csv": "id,amount\n1,10\n2,20\n2,30\n",
    "dbt/models/stg_orders.sql": "{{ config(materialized='table') }} select * from {{ ref('orders') }}",
    "dbt/models/revenue.sql": "select sum({{ var('column', 'amount') }}) as x from {{ ref('stg_orders') }}",
    "dbt/models/report.sql": "select * from {{ ref('revenue') }}",
    "dbt/models/models.yml": (
        "models:\n  - name: stg_orders\n    columns:\n"
        "      - name: id\n        data_tests:\n"
        "          - unique: {config: {severity: \"{{ var('severity', 'warn') }}\"}}\n"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, and the emulator's configuration."""
    return write_project(
        tmp_path_factory.mktemp("shop"), FILES, {"steps": ["dbt build"], "generate_docs": True}
    )


@pytest.fixture
def emu(folder: Path, connect: Callable[..., None]) -> Iterator[Emulator]:
    with served(folder, connect, lag=1) as running:
        yield running


@pytest.fixture
def run(
    emu: Emulator, make: Any, context: Callable[..., Any], triggerer: Any, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run the job, or these steps; return what is told of it."""

    def go(*steps: str, **arguments: Any) -> Any:
        its_context = context(outlet_events=OutletEventAccessors())
        options = {"steps_override": list(steps) or None, "log_results": True, **arguments}
        error = ""
        try:
            triggerer.finish(lambda: make(**options), its_context)
        except DbtCloudJobRunException as raised:
            error = str(raised)
        emitted = [
            event.dest_asset_key.uri
            for accessor in its_context["outlet_events"]._dict.values()
            for event in accessor.asset_alias_events
        ]
        xcoms = its_context["ti"].xcoms
        return SimpleNamespace(
            error=error,
            log=capsys.readouterr().out,
            told=xcoms.get("dbt_cloud_run_results"),
            assets=emitted,
        )

    return go


def test_success(run: Callable[..., Any], tmp_path: Path) -> None:
    """Seed, models and test are told; what docs have only compiled is not; artifacts and assets are there."""
    ran = run(
        emit_assets=True, save_artifacts=f"file://{tmp_path}/", asset_uri="duckdb://shop/{schema}/{table}"
    )
    assert ran.error == ""
    assert ran.told["counts"] == {"success": 4, "warn": 1}
    assert "test   unique_stg_orders_id  warn" in ran.log
    tables = ("orders", "stg_orders", "revenue", "report")
    assert sorted(ran.assets) == sorted(f"duckdb://shop/main/{table}" for table in tables)
    assert (tmp_path / "step_3" / "run_results.json").exists()
    assert (tmp_path / "step_4" / "catalog.json").exists()


def test_failed_model(run: Callable[..., Any]) -> None:
    """In a later one of two steps, with its error and its compiled SQL."""
    ran = run("dbt seed", "dbt build --vars '{column: nowhere}'")
    assert (
        ": 1 of 5 nodes failed: model.shop.revenue (Runtime Error: Binder Error: Referenced column"
        in ran.error
    )
    assert "model.shop.revenue in step 4: error" in ran.log
    assert ran.told["failed"][0]["compiled_path"] == "target/compiled/shop/models/revenue.sql"
    assert ran.told["counts"]["skipped"] == 1


def test_failing_test(run: Callable[..., Any]) -> None:
    """With the number of failing rows."""
    ran = run("dbt build --vars '{severity: error}'")
    assert ": 1 of 5 nodes failed: test.shop.unique_stg_orders_id." in ran.error
    assert "(1 failing row)" in ran.error
    assert "compiled SQL: target/compiled/shop/models/models.yml/unique_stg_orders_id.sql" in ran.log


def test_early_crash(run: Callable[..., Any]) -> None:
    """dbt has left nothing: the step's log is all there is."""
    ran = run("dbt build --vars '{a: }}'")
    assert "has failed at step 3" in ran.error
    assert "is not valid YAML" in ran.log
    assert ran.told["nodes"] == 0
