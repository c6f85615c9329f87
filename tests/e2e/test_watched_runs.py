"""A DAG that dbt Cloud's runs start, in a real Airflow: nobody there has triggered them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flights_stack import FlightsStack

from airflow_provider_dbtcloud_dlt.compat import STARTS_IN_TRIGGERER

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(not STARTS_IN_TRIGGERER, reason="here, no asset keeps how far was looked"),
]

DAG = "failed_dbt_runs"
PATIENCE = 120.0
LOOK_SECONDS = 5.0


@dataclass
class Reports:
    """What the DAG's runs have reported."""

    stack: FlightsStack

    def ended_run(self) -> Any:
        """Let a job run, and fail, without Airflow."""
        client = self.stack.emulator.client
        (job,) = client.list_jobs(name__icontains="Failing")
        run_id = client.start_run(job.id, {"cause": "scheduled"}).id
        while not client.get_run(run_id).is_terminal:
            time.sleep(0.5)
        return run_id

    def of(self, run_id: int) -> list[str]:
        """The sentences about a run, in all DAG runs."""
        api = self.stack.airflow.api
        ended = [one["dag_run_id"] for one in api.dag_runs(DAG) if one["state"] == "success"]
        sentences = [one for dag_run in ended for one in api.xcom(DAG, dag_run, "report")]
        return [one for one in sentences if one.startswith(f"Run {run_id} ")]

    def wait_for(self, run_id: int) -> None:
        api = self.stack.airflow.api
        api.until(lambda: self.of(run_id), lambda: f"Only these were started: {api.dag_runs(DAG)}", PATIENCE)


@pytest.fixture(scope="module")
def reports(stack: FlightsStack) -> Iterator[Reports]:
    """The DAG is there, and its asset is watched."""
    api = stack.airflow.api
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    # A watcher begins when the file of its DAG, no more paused, is read the next time.
    (stack.folder / "dags" / f"{DAG}.py").touch()
    triggerer = stack.folder / "logs" / "triggerer.log"
    api.until(
        lambda: "Watching dbt Cloud's runs" in triggerer.read_text(), lambda: "Nobody watches", PATIENCE
    )
    yield Reports(stack)
    api.request("PATCH", f"dags/{DAG}", json={"is_paused": True})


def test_each_failed_run_starts_the_dag_once(reports: Reports) -> None:
    """Also one that fails while no triggerer is up; a restart repeats nothing."""
    airflow = reports.stack.airflow
    before = reports.ended_run()
    reports.wait_for(before)
    time.sleep(2 * LOOK_SECONDS)  # until it is stored that this was told
    airflow.services["triggerer"].kill()
    meanwhile = reports.ended_run()
    airflow.start_service("triggerer")
    reports.wait_for(meanwhile)
    time.sleep(2 * LOOK_SECONDS)  # time for what must not happen
    assert [len(reports.of(run_id)) for run_id in (before, meanwhile)] == [1, 1]
    assert "of Failing has failed: dbt build" in reports.of(before)[0]
    assert {one["run_type"] for one in airflow.api.dag_runs(DAG)} == {"asset_triggered"}
