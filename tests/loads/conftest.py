"""Loads run for real, into DuckDB files in the test's own folder."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_dbtcloud_dlt.loads.load import run_load
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

LOG = logging.getLogger("a task's log")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every file that dlt makes in the test's folder, and dlt's telemetry off."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    for name in [n for n in os.environ if n.startswith(("DESTINATION", "PIPELINES__"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The DuckDB file that is loaded into."""
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(database: Path) -> Callable[[], Any]:
    """A destination as a DAG file gives it: made when the task runs."""

    def make() -> Any:
        import dlt

        return dlt.destinations.duckdb(str(database))

    return make


@pytest.fixture
def query(database: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Ask the database."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(database), read_only=True) as connection:
            return connection.sql(sql).fetchall()

    return ask


@pytest.fixture
def load(warehouse: Callable[[], Any]) -> Callable[..., dict[str, Any]]:
    """Load what a function returns into the dataset ``raw``, and return the summary."""

    def go(
        build: Callable[[], Any], hide: Callable[[str], Any] | None = None, log: Any = LOG, **plan: Any
    ) -> dict[str, Any]:
        plan = {
            "pipeline_name": "shop",
            "destination": warehouse,
            "dataset_name": "raw",
            "default_table_name": "orders",
            **plan,
        }
        return run_load(build, LoadPlan(**plan), log=log, hide=hide).as_dict()

    return go
