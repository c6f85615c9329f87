"""This provider and the official one in one Airflow: neither warns, nor takes from the other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import official_provider
import pytest

BOTH = """
import json, logging, warnings

from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
hooks = {name: manager.hooks[name] for name in ("dbt_cloud", "dbt_cloud_dlt")}
links = sorted(manager.extra_links_class_names)
import both

# What follows would be noticed.
warnings.warn("A warning about our test")
logging.getLogger("both").warning("A line about our test")
print(json.dumps({
    "hooks": {name: [hook.hook_class_name, hook.hook_name] for name, hook in hooks.items()},
    "links": links,
    "tasks": {task.task_id: type(task).__module__ for task in both.dag.tasks},
}))
"""
DAG = """
from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator as OfficialOperator
from airflow.sdk import DAG

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

with DAG("both") as dag:
    OfficialOperator(task_id="official", job_id=1) >> DbtCloudRunJobOperator(task_id="ours", job_id=1)
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh Airflow found of both, and all that was said meanwhile."""
    official_provider.require()
    folder: Path = tmp_path_factory.mktemp("together")
    (folder / "both.py").write_text(DAG)
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", BOTH],
        env=mine | {"AIRFLOW_HOME": str(folder / "airflow"), "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    *said, found = done.stdout.splitlines()
    return {**json.loads(found), "said": [*said, *done.stderr.splitlines()]}


def test_each_has_its_connection_type(together: dict[str, Any]) -> None:
    """With its own hook and name in the form."""
    assert together["hooks"] == {
        "dbt_cloud": ["airflow.providers.dbt.cloud.hooks.dbt.DbtCloudHook", "dbt Cloud"],
        "dbt_cloud_dlt": ["airflow_provider_dbtcloud_dlt.hooks.dbt_cloud.DbtCloudHook", "dbt Cloud (dlt)"],
    }


def test_each_has_its_links(together: dict[str, Any]) -> None:
    """Those of both are known."""
    assert {
        "airflow.providers.dbt.cloud.operators.dbt.DbtCloudRunJobOperatorLink",
        "airflow_provider_dbtcloud_dlt.links.dbt_cloud.DbtCloudRunLink",
    } <= set(together["links"])


def test_a_dag_may_have_tasks_of_both(together: dict[str, Any]) -> None:
    """Classes of one name live in different modules."""
    assert together["tasks"] == {
        "official": "airflow.providers.dbt.cloud.operators.dbt",
        "ours": "airflow_provider_dbtcloud_dlt.operators.dbt_cloud",
    }


def test_what_is_said_is_noticed(together: dict[str, Any]) -> None:
    """The test below can fail: Airflow leads warnings and lines of the log to where it looks."""
    said = "\n".join(together["said"])
    assert "A warning about our test" in said
    assert "A line about our test" in said


def test_nobody_warns(together: dict[str, Any]) -> None:
    """Nothing that was said is about either."""
    about = [line for line in together["said"] if "dbt" in line.lower()]
    assert about == []
