"""Run tasks with a token in a real Airflow's database; not a test but a program that the tests start.

    python run_with_a_secret.py ANSWER

The environment names an Airflow's home with the DAGs and nothing else, and switches Airflow's masking off:
nothing but this package keeps the token out of sight. The token, how the tasks ended, the runs' causes, and
all that is in the database then are written to ANSWER as JSON.
"""

import json
import os
import sys
from pathlib import Path

from airflow.models.trigger import Trigger
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import MetaData, select

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.triggers import poller
from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger
from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import DbtCloudRunSensorTrigger
from airflow_provider_dbtcloud_dlt.triggers.job_runs import DbtCloudJobRunsTrigger

HOSTILE_CAUSE = "{{ conn.dbt_cloud_default.password }}"


def contents() -> str:
    """Return every row of every table."""
    with create_session() as session:
        tables = MetaData()
        tables.reflect(session.get_bind())
        found = [
            [name, [value.hex() + repr(value) if isinstance(value, bytes) else repr(value) for value in row]]
            for name, table in tables.tables.items()
            for row in session.execute(select(table))
        ]
    return json.dumps(found)


def main(answer: Path) -> None:
    leads_there = _emulator.airflow_connection(job_id=_emulator.job_id, cause=HOSTILE_CAUSE)
    os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"] = leads_there
    _emulator.script_job(_emulator.job_id, artifacts={"run_results.json": '{"results": []}'})
    poller.FIRST_LOOK_SECONDS = 0.1
    initdb()
    bag = DagBag(os.environ["AIRFLOW_HOME"] + "/dags")
    runs = [bag.dags["what_succeeds"].test()]
    step = ("Invoke dbt with `dbt build`", "error", "It broke.")
    _emulator.script_job(_emulator.job_id, steps=[step])
    runs.append(bag.dags["what_fails"].test())
    with (
        create_session() as session
    ):  # `dag.test` makes no row for a trigger: these are made as the scheduler does
        run_id = _emulator.runs()[0]["id"]
        for one in (
            DbtCloudRunJobTrigger("dbt_cloud_default", run_id, end_time=0.0, poll_interval=None),
            DbtCloudRunSensorTrigger(dbt_cloud_conn_id="dbt_cloud_default", run_id=run_id),
            DbtCloudJobRunsTrigger(job_ids=[_emulator.job_id]),
        ):
            session.add(Trigger.from_object(one))
    with create_session() as session:  # Airflow encrypts their arguments
        triggers = [repr(row.kwargs) for row in session.scalars(select(Trigger))]
    told = {
        "token": _emulator.token,
        "states": {task.task_id: str(task.state) for run in runs for task in run.get_task_instances()},
        "causes": [run["trigger"]["cause"] for run in _emulator.runs()],
        "database": contents(),
        "triggers": triggers,
    }
    answer.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    with emulator(lag=0) as _emulator:
        main(Path(sys.argv[1]))
