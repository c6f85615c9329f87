"""OpenLineage's events of a real Airflow: tasks as its provider tells them, and dbt's nodes below them."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dbt_artifacts import manifest, result, run_results
from flights_stack import ACCOUNT_ID, FlightsStack
from openlineage_events import read_events
from postgres_server import airflow_database, find_program

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).parent / "lineage_dags"
DAG = "lineage"
STEP = "Invoke dbt with `dbt build`"
ORDERS, REVENUE = "model.shop.orders", "model.shop.revenue"
MANIFEST = manifest(orders={}, revenue={"depends_on": {"nodes": [ORDERS]}})
RESULTS = {
    "Good": ("success", run_results(result(ORDERS), result(REVENUE))),
    "Bad": ("error", run_results(result(REVENUE, "error", message="no table x"))),
}
RUN_SECONDS = 600.0

Event = dict[str, Any]


def configuration() -> dict[str, Any]:
    """Two jobs for the emulator, whose runs pretend to have left dbt's artifacts."""
    jobs = [
        {
            "name": name,
            "steps": ["dbt build"],
            "script": {
                "seconds": 2,
                "concurrent": True,
                "steps": [[STEP, outcome, "Done."]],
                "artifacts": {"run_results.json": results, "manifest.json": MANIFEST},
            },
        }
        for name, (outcome, results) in RESULTS.items()
    ]
    return {
        "account": {"id": ACCOUNT_ID, "token_env": "DBT_EMULATOR_TOKEN"},
        "projects": [{"name": "Shop", "dir": "."}],
        "environments": [{"name": "Production"}],
        "jobs": jobs,
    }


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Event]]:
    """All that was told of one DAG run; each event is valid by OpenLineage's schema."""
    if not os.environ.get("CI"):
        pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage is not installed")
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "emulator.yaml").write_text(json.dumps(configuration()))  # JSON is YAML
    told = folder / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(told), "append": True}
    env = {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)}
    # A loaded machine takes its time to fork and import.
    env["AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT"] = "60"
    with ExitStack() as running:
        if initdb := find_program("initdb"):
            env |= running.enter_context(airflow_database(initdb))
        stack = running.enter_context(
            FlightsStack(folder, dags=DAGS, emulator_config=folder / "emulator.yaml", env=env)
        )
        api = stack.airflow.api
        api.wait_for_dag(DAG)
        api.unpause(DAG)
        run_id = api.trigger(DAG)
        api.wait_for_run(DAG, run_id, timeout=RUN_SECONDS)
        states = {one["task_id"]: one["state"] for one in api.task_instances(DAG, run_id)}
        log = "\n".join(api.log(DAG, run_id, task_id) for task_id in states)
        assert states == {"build": "success", "start": "success", "wait": "success", "fail": "failed"}, log
        yield read_events(told)


def of_job(events: list[Event], name: str) -> list[Event]:
    return [one for one in events if one["job"]["name"] == name]


def below(events: list[Event], task: str) -> list[Event]:
    """dbt's events that name a task as their parent."""
    name = f"{DAG}.{task}"
    found = [one for one in events if "dbt_node" in one["job"].get("facets", {})]
    return [one for one in found if one["run"]["facets"]["parent"]["job"]["name"] == name]


@pytest.mark.parametrize("task", ["build", "wait"])
def test_dbts_nodes_hang_under_the_task(events: list[Event], task: str) -> None:
    """Operator and sensor, which goes on on a worker for it; the DAG run is the root."""
    of_task = of_job(events, f"{DAG}.{task}")
    assert {one["eventType"] for one in of_task} >= {"START", "COMPLETE"}
    nodes = below(events, task)
    names = [one["job"]["name"].removeprefix("wh.main.shop.") for one in nodes]
    assert names == ["orders.build.run", "orders.build.run", "revenue.build.run", "revenue.build.run"]
    assert [one["eventType"] for one in nodes] == ["START", "COMPLETE"] * 2
    (dag_run_id,) = {one["run"]["runId"] for one in of_job(events, DAG)}
    for one in nodes:
        parent = one["run"]["facets"]["parent"]
        assert parent["run"]["runId"] == of_task[-1]["run"]["runId"]
        assert parent["root"]["run"]["runId"] == dag_run_id
    assert [one["name"] for one in nodes[-1]["inputs"]] == ["wh.main.orders"]


def test_a_failed_run(events: list[Event]) -> None:
    """Task and model are told as failed."""
    assert of_job(events, f"{DAG}.fail")[-1]["eventType"] == "FAIL"
    assert [one["eventType"] for one in below(events, "fail")] == ["START", "FAIL"]


def test_a_task_that_does_not_wait_tells_nothing_of_the_run(events: list[Event]) -> None:
    """Its own beginning and end are all."""
    assert of_job(events, f"{DAG}.start")[-1]["eventType"] == "COMPLETE"
    assert below(events, "start") == []
