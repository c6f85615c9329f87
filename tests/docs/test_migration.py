"""What docs/migration.md tells people to type does what it says."""

import subprocess
from pathlib import Path

import pytest

DAG = """
from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook, DbtCloudJobRunException
from airflow.providers.dbt.cloud.operators.dbt import (
    DbtCloudGetJobRunArtifactOperator,
    DbtCloudListJobsOperator,
    DbtCloudRunJobOperator,
)
from airflow.providers.dbt.cloud.sensors.dbt import DbtCloudJobRunSensor
from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger
from airflow.sdk import dag
"""


@pytest.fixture
def moved(tmp_path: Path, all_blocks) -> str:
    """A DAG file with every import of the official provider, after the page's command."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "jobs.py").write_text(DAG)
    (tmp_path / "dags" / "other.py").write_text("import this\n")
    (command,) = [one for one in all_blocks if one.page == "docs/migration.md" and one.language == "sh"]
    subprocess.run(["bash", "-euo", "pipefail", "-c", command.text], cwd=tmp_path, check=True, timeout=60)
    return (tmp_path / "dags" / "jobs.py").read_text()


def test_the_command_changes_every_import(moved: str) -> None:
    """No import of the official provider is left, and all names are there."""
    assert "airflow.providers" not in moved
    exec(moved, {})
