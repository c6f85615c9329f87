"""The flights example without Airflow: its source loaded by dlt, its project built by dbt."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from flights_stack import DAGS
from processes import isolated_environment

PROJECT = DAGS / "flights" / "dbt"
LOAD = """
import dlt
from flights.source import flights_source
pipeline = dlt.pipeline("flights", destination="duckdb", dataset_name="flights_raw")
pipeline.run(flights_source(), loader_file_format="jsonl").raise_on_failed_jobs()
"""
Contents = dict[str, list[tuple[Any, ...]]]
DBT = "from dbt.cli.main import cli; cli()"


class Warehouse:
    """A DuckDB file; dlt and dbt run in processes of their own, as they do for tasks and the emulator."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "flights.duckdb"
        self.target = folder / "target"
        self.after_loads: list[Contents] = []
        self._folder = folder
        self._env = isolated_environment(folder) | {
            "DESTINATION__DUCKDB__CREDENTIALS": str(self.file),
            "DBT_DUCKDB_PATH": str(self.file),
            "DBT_PROJECT_DIR": str(PROJECT),
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_TARGET_PATH": str(self.target),
            "DBT_LOG_PATH": str(folder / "logs"),
            "PYTHONPATH": str(DAGS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def load(self, month: int) -> None:
        """Load a month by its interval, which dlt finds here outside of Airflow."""
        interval = {
            "DLT_INTERVAL_START": f"2013-{month:02}-01",
            "DLT_INTERVAL_END": f"2013-{month + 1:02}-01",
        }
        self._python(LOAD, env=interval)

    def dbt(self, *arguments: str) -> None:
        self._python(DBT, *arguments)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.sql(sql).fetchall()

    def rows(self, table: str) -> int:
        return int(self.query(f"select count(*) from {table}")[0][0])

    def _python(self, program: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=self._env | (env or {}),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def january(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """January, loaded twice and then built; tests only read it."""
    warehouse = Warehouse(tmp_path_factory.mktemp("january"))
    for _ in range(2):
        warehouse.load(1)
        warehouse.after_loads.append(contents(warehouse))
    warehouse.dbt("build")
    return warehouse


@pytest.fixture(scope="session")
def january_and_february(january: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """February, loaded into a copy of January."""
    warehouse = Warehouse(tmp_path_factory.mktemp("february"))
    shutil.copy(january.file, warehouse.file)
    warehouse.load(2)
    return warehouse


def contents(warehouse: Warehouse) -> Contents:
    """The number of rows and a digest of them, for each loaded table; dlt's own columns are left out."""
    data = "(select * exclude (_dlt_id, _dlt_load_id) from flights_raw.{})"
    return {
        table: warehouse.query(f"select count(*), bit_xor(hash(rows)) from {data.format(table)} as rows")
        for table in ("airlines", "airports", "planes", "weather", "flights")
    }
