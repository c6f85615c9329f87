"""Deferred tasks that somebody ends, in a real Airflow: what becomes of their dbt runs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flights_stack import FlightsStack

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG = "endless_job"
TASK = "transform"
PATIENCE = 90.0
TAKE_OVER_SECONDS = 3.0


@dataclass
class Waiting:
    """A task that waits, deferred, for a dbt run that goes on."""

    stack: FlightsStack
    run_id: str
    marker: str = ""
    """With which the causes of its dbt runs begin, but for the epoch."""

    @property
    def task(self) -> dict[str, Any]:
        (task,) = self.stack.airflow.api.task_instances(DAG, self.run_id)
        return task

    def until_deferred(self) -> None:
        """Wait until a triggerer has taken the wait over: before that, nobody could cancel the run."""
        self.until(lambda: self.task["state"] == "deferred" and bool(self.task.get("triggerer_job")))
        time.sleep(TAKE_OVER_SECONDS)  # it is assigned to a triggerer, which starts it at its next tick

    def runs(self) -> list[Any]:
        """The dbt runs of this DAG run's task, oldest first."""
        found = self.stack.emulator.client.list_runs(include_related=["trigger"], order_by="id")
        return [run for run in found if run.trigger.cause.startswith(f"{self.marker}/")]

    def told(self) -> str:
        """What is known of the task, for a test's message."""
        runs = [(run.id, run.status.humanized, run.trigger.cause) for run in self.runs()]
        return f"{self.task['state']} {runs}\n{self.stack.airflow.api.log(DAG, self.run_id, TASK)}"

    def until(self, condition: Callable[[], bool]) -> None:
        self.stack.airflow.api.until(condition, self.told, PATIENCE)


@pytest.fixture
def waiting(stack: FlightsStack) -> Waiting:
    api = stack.airflow.api
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    found = Waiting(stack, api.trigger(DAG))
    found.until_deferred()
    # Not later: a clear takes the task's results away.
    first = stack.emulator.client.get_run(api.xcom(DAG, found.run_id, TASK, "job_run_id"), ["trigger"])
    found.marker = first.trigger.cause.split("/")[0]
    return found


@pytest.fixture(scope="module", autouse=True)
def long_wait(stack: FlightsStack) -> Iterator[Waiting]:
    """A task that goes on while the others are ended."""
    api = stack.airflow.api
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    found = Waiting(stack, api.trigger(DAG))
    yield found
    api.mark_run(DAG, found.run_id, "failed")


def test_a_task_marked_failed_cancels_its_run(waiting: Waiting) -> None:
    """Whoever marks it failed wants the work to stop."""
    waiting.stack.airflow.api.mark(DAG, waiting.run_id, TASK, "failed")
    waiting.until(lambda: waiting.runs()[0].status.humanized == "Cancelled")


def test_a_task_marked_successful_cancels_its_run(waiting: Waiting) -> None:
    """Nobody waits for the run any more."""
    waiting.stack.airflow.api.mark(DAG, waiting.run_id, TASK, "success")
    waiting.until(lambda: waiting.runs()[0].status.humanized == "Cancelled")


def test_a_dag_run_marked_failed_cancels_its_runs(waiting: Waiting) -> None:
    """It ends the tasks that wait."""
    waiting.stack.airflow.api.mark_run(DAG, waiting.run_id, "failed")
    waiting.until(lambda: waiting.runs()[0].status.humanized == "Cancelled")


def test_a_cleared_task_leaves_one_run(waiting: Waiting) -> None:
    """The old run is cancelled, by the trigger or by the next try, and a new one goes on."""
    waiting.stack.airflow.api.clear(DAG, waiting.run_id, TASK)
    waiting.until(lambda: [run.status.humanized for run in waiting.runs()] == ["Cancelled", "Running"])
    waiting.until_deferred()
    waiting.stack.airflow.api.mark_run(DAG, waiting.run_id, "failed")
    waiting.until(lambda: waiting.runs()[1].status.humanized == "Cancelled")


def test_the_log_of_a_task_that_waits_tells_how_far_its_run_is(long_wait: Waiting) -> None:
    """By the triggerer, in the task's own log."""
    long_wait.until_deferred()
    long_wait.until(lambda: "Invoke dbt with `dbt build`', is running for 0:0" in long_wait.told())
