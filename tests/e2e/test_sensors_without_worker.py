"""Sensors in a real Airflow: which of them need a worker, and that they end in the same way without one."""

from dataclasses import dataclass
from typing import Any

import pytest
from flights_stack import FlightsStack

from airflow_provider_dbtcloud_dlt.compat import STARTS_IN_TRIGGERER

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(not STARTS_IN_TRIGGERER, reason="here, sensors begin on a worker"),
]

DAG = "sensors"
RUN_SECONDS = 240.0


@dataclass
class Ended:
    """A DAG run that has ended."""

    stack: FlightsStack
    run_id: str
    conf_run_id: int
    tasks: dict[tuple[str, int], dict[str, Any]]

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        return self.tasks[task_id, map_index]

    def was_on_worker(self, task_id: str, map_index: int = -1) -> bool:
        return self.task(task_id, map_index)["pid"] is not None

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self.stack.airflow.api.xcom(DAG, self.run_id, task_id, key)

    def log(self, task_id: str, try_number: int = 1) -> str:
        return self.stack.airflow.api.log(DAG, self.run_id, task_id, try_number=try_number)


@pytest.fixture(scope="module")
def patient(stack: FlightsStack) -> str:
    """A run of a DAG whose sensor's triggerer was killed and started again; it waits on meanwhile."""
    airflow, dag_id = stack.airflow, "patient_sensor"

    def heartbeat() -> str:
        health = airflow.api.request("GET", "monitor/health")
        return str(health["triggerer"]["latest_triggerer_heartbeat"])

    (job,) = stack.emulator.client.list_jobs(name__icontains="Endless")
    run = stack.emulator.client.start_run(job.id, {"cause": "for a sensor"})
    airflow.api.wait_for_dag(dag_id)
    airflow.api.unpause(dag_id)
    run_id = airflow.api.trigger(dag_id, conf={"run_id": run.id})
    airflow.api.until(
        lambda: airflow.api.xcom(dag_id, run_id, "wait", "job_run_id"), lambda: "No wait began", RUN_SECONDS
    )
    airflow.services["triggerer"].kill()
    last = heartbeat()
    airflow.start_service("triggerer")
    airflow.api.until(lambda: heartbeat() != last, lambda: "No triggerer came", RUN_SECONDS)
    return run_id


@pytest.fixture(scope="module")
def ended(stack: FlightsStack, patient: str) -> Ended:
    """The run of the DAG with all the others, while the patient one waits."""
    api, client = stack.airflow.api, stack.emulator.client
    api.request("POST", "pools", json={"name": "sensors", "slots": 1})
    (job,) = client.list_jobs(name__icontains="Quick")
    run = client.start_run(job.id, {"cause": "for a sensor"})
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    run_id = api.trigger(DAG, conf={"run_id": run.id})
    api.wait_for_run(DAG, run_id, timeout=RUN_SECONDS)
    tasks = {(one["task_id"], one["map_index"]): one for one in api.task_instances(DAG, run_id)}
    return Ended(stack, run_id, run.id, tasks)


WITHOUT_WORKER = ["by_output", "by_template", "by_conf", "fails", "skips", "late", "cut_off", "of_nothing"]


@pytest.mark.parametrize("task_id", WITHOUT_WORKER)
def test_no_worker_is_started(ended: Ended, task_id: str) -> None:
    """A sensor begins and ends in the triggerer, however it ends."""
    assert not ended.was_on_worker(task_id), ended.log(task_id)


@pytest.mark.parametrize("task_id", ["by_output", "by_template", "by_conf"])
def test_success(ended: Ended, task_id: str) -> None:
    """The run's id comes from another task's XCom, by argument or template, or from the DAG run's conf."""
    expected = ended.conf_run_id if task_id == "by_conf" else ended.xcom("start_quick")
    assert ended.task(task_id)["state"] == "success", ended.log(task_id)
    assert ended.xcom(task_id) == ended.xcom(task_id, "job_run_id") == expected


def test_link(ended: Ended) -> None:
    """The task's page links to the run's."""
    path = f"dags/{DAG}/dagRuns/{ended.run_id}/taskInstances/by_output/links"
    links = ended.stack.airflow.api.request("GET", path)["extra_links"]
    assert links == {"Monitor Job Run": ended.xcom("by_output", "job_run_url")}
    assert f"/runs/{ended.xcom('by_output')}" in links["Monitor Job Run"]


@pytest.mark.parametrize("map_index", [0, 1])
def test_result_is_a_number(ended: Ended, map_index: int) -> None:
    """A mapped task that is expanded over several sensors' results takes each as what it is."""
    params = {"map_index": map_index, "deserialize": "false"}
    path = f"dags/{DAG}/dagRuns/{ended.run_id}/taskInstances/kind/xcomEntries/return_value"
    assert ended.stack.airflow.api.request("GET", path, params=params)["value"] == "int"


def test_failure_is_retried(ended: Ended) -> None:
    """A run that has failed fails the task, after its retry."""
    task = ended.task("fails")
    assert (task["state"], task["try_number"]) == ("failed", 2)


@pytest.mark.parametrize("try_number", [1, 2])
def test_log_says_why(ended: Ended, try_number: int) -> None:
    """Each try's log has the failing step, and the end of dbt's log."""
    log = ended.log("fails", try_number)
    assert "has failed at step" in log
    assert "Database Error in model daily_delays" in log


def test_soft_failure_skips(ended: Ended) -> None:
    """With soft_fail the task is skipped."""
    assert ended.task("skips")["state"] == "skipped"


@pytest.mark.parametrize("task_id", ["late", "late_with_a_retry"])
def test_time_out_is_final(ended: Ended, task_id: str) -> None:
    """A sensor's own time-out fails it without a retry."""
    task = ended.task(task_id)
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert "has not ended within the timeout" in ended.log(task_id)


def test_execution_timeout_is_retried(ended: Ended) -> None:
    """Airflow's execution_timeout is an ordinary failure."""
    task = ended.task("cut_off")
    assert (task["state"], task["try_number"]) == ("failed", 2)
    assert "within the execution_timeout" in ended.log("cut_off", 2)


def test_xcom_that_is_missing(ended: Ended) -> None:
    """A task that has left nothing is named."""
    assert "run_id is empty: task 'nothing' has left nothing" in ended.log("of_nothing")


@pytest.mark.parametrize(
    ("task_id", "map_index"),
    [("in_a_pool", -1), ("mapped", 0), ("mapped", 1), ("with_an_outlet", -1), ("late_with_a_retry", -1)],
)
def test_worker_where_it_is_needed(ended: Ended, task_id: str, map_index: int) -> None:
    """Pools, mapped tasks, assets and final time-outs are a worker's business."""
    assert ended.was_on_worker(task_id, map_index)


@pytest.mark.parametrize(("task_id", "map_index"), [("in_a_pool", -1), ("mapped", 0), ("with_an_outlet", -1)])
def test_success_with_a_worker(ended: Ended, task_id: str, map_index: int) -> None:
    """They succeed likewise."""
    assert ended.task(task_id, map_index)["state"] == "success"


def test_outlet_has_its_event(ended: Ended) -> None:
    """The asset is told of the sensor's success."""
    events = ended.stack.airflow.api.request("GET", "assets/events", params={"source_dag_id": DAG})
    assert [event["source_task_id"] for event in events["asset_events"]] == ["with_an_outlet"]


def test_triggerer_that_starts_again_gives_no_time_anew(stack: FlightsStack, patient: str) -> None:
    """The sensor's time counts from its beginning, and its run is shown and waited for as before."""
    api, dag_id = stack.airflow.api, "patient_sensor"
    assert api.wait_for_run(dag_id, patient, timeout=RUN_SECONDS) == "failed"
    (task,) = api.task_instances(dag_id, patient)
    assert 60 <= task["duration"] < 75, api.log(dag_id, patient, "wait")


def test_no_token_is_in_a_log(ended: Ended) -> None:
    """Nor does any log hold the token."""
    logs = "".join(ended.log(task_id) for task_id in WITHOUT_WORKER)
    assert ended.stack.emulator.token not in logs
