"""A job of two thousand nodes that real dbt runs: what the task's log, exception and XCom say of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from real_dbt import served, write_project

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException

pytestmark = pytest.mark.slow

MODELS = 1000
ROW = 50
"""Each model reads the one that stands so many before it: twenty layers of fifty models."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a thousand models with a test each; one model fails, and the test of another."""
    files = {
        f"dbt/models/m{number}.sql": (
            f"select id from {{{{ ref('m{number - ROW}') }}}}" if number >= ROW else f"select {number} as id"
        )
        for number in range(MODELS)
    }
    files["dbt/models/m960.sql"] += " where nowhere = 1"
    tests = [
        {"name": f"m{number}", "columns": [{"name": "id", "data_tests": ["not_null"]}]}
        for number in range(MODELS)
    ]
    tests[970]["columns"][0]["data_tests"] = [{"accepted_values": {"arguments": {"values": [0]}}}]
    files["dbt/models/models.yml"] = json.dumps({"models": tests})  # JSON is YAML
    return write_project(tmp_path_factory.mktemp("large"), files, {"steps": ["dbt build"]})


@pytest.fixture
def emu(folder: Path, connect: Callable[..., None]) -> Iterator[Emulator]:
    with served(folder, connect, lag=1) as running:
        yield running


@pytest.fixture
def ran(
    emu: Emulator,
    make: Any,
    context: Callable[..., Any],
    triggerer: Any,
    capsys: pytest.CaptureFixture[str],
) -> SimpleNamespace:
    """The job's run, and what is told of it."""
    its_context = context()
    triggerer.patience = 900.0
    with pytest.raises(DbtCloudJobRunException) as raised:
        triggerer.finish(lambda: make(log_results=True), its_context)
    told = its_context["ti"].xcoms["dbt_cloud_run_results"]
    return SimpleNamespace(error=str(raised.value), log=capsys.readouterr().out, told=told)


def test_two_thousand_nodes(ran: SimpleNamespace) -> None:
    """All are counted, the failed ones told of first and in full, the others cut to what can be read."""
    assert ran.told["nodes"] == 2 * MODELS
    assert ran.told["counts"] == {
        "success": MODELS - 1,
        "pass": MODELS - 2,
        "error": 1,
        "fail": 1,
        "skipped": 1,
    }
    assert len(json.dumps(ran.told)) <= 16 * 1024
    assert f": 2 of {2 * MODELS} nodes failed: model.shop.m960 (" in ran.error
    assert "test.shop.accepted_values_m970_id__0" in ran.error
    assert len(ran.log.splitlines()) < 150
