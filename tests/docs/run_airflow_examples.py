"""Run the documentation's DAGs and tests in Airflow; not a test itself but a program that the tests start.

    python run_airflow_examples.py HOME ANSWER

HOME is an empty Airflow's home with the DAG files in ``dags/``; beside it are ``emulator.yaml`` and
those tests. What happened is written to ANSWER as JSON.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.triggers import poller

JOB_ID = 67890
FIXTURES = "airflow_provider_dbtcloud_dlt.emulator.fixtures"


def run_dag(file: Path) -> dict[str, Any]:
    """Run the one DAG of a file from its start to its end, as ``dag.test()`` does it."""
    try:
        bag = DagBag(str(file))
        if bag.import_errors:
            return {"error": str(bag.import_errors)}
        (dag,) = bag.dags.values()
        run = dag.test()
        tasks = {task.task_id: str(task.state) for task in run.get_task_instances()}
        return {"state": str(run.state), "tasks": tasks}
    except Exception:  # noqa: BLE001 - whatever it is, the test tells it
        return {"error": traceback.format_exc()}


def main(home: Path, answer: Path) -> None:
    # The first look waits for the sake of Airflow's scheduler, and there is none here.
    poller.FIRST_LOOK_SECONDS = 0.1
    initdb()
    dags = home / "dags"
    sys.path.insert(0, str(dags))
    with emulator("emulator.yaml", lag=0) as emu:  # artifacts need not be waited for
        emu.script_job(JOB_ID, artifacts={"run_results.json": '{"results": []}'})
        os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"] = emu.airflow_connection()
        warehouse = {"conn_type": "duckdb", "host": str(home / "warehouse.duckdb")}
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)
        told: dict[str, Any] = {file.name: run_dag(file) for file in sorted(dags.glob("*.py"))}
        told["causes"] = [run["trigger"]["cause"] for run in emu.runs()]
    with create_session() as session:
        events = session.scalars(select(AssetEvent))
        told["asset_events"] = [
            [event.asset.uri, event.source_aliases[0].name, event.extra] for event in events
        ]
    told["tests"] = int(pytest.main(["-p", "no:cacheprovider", "-p", FIXTURES, str(home.parent)]))
    answer.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
