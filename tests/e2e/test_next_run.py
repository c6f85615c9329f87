"""A sensor for a job's next run, in a real Airflow: nobody there has triggered it."""

import datetime as dt

import pytest
from flights_stack import FlightsStack

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PATIENCE = 180.0


def test_the_first_run_after_the_moment_is_waited_for(stack: FlightsStack) -> None:
    """Not one that was there before; the task's result is the run's id."""
    api, client = stack.airflow.api, stack.emulator.client
    (job,) = client.list_jobs(name__icontains="Quick")
    client.start_run(job.id, {"cause": "too early"})
    after = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    api.wait_for_dag("next_run")
    api.unpause("next_run")
    dag_run = api.trigger("next_run", conf={"after": after.isoformat()})

    def is_deferred() -> bool:
        (task,) = api.task_instances("next_run", dag_run)
        return bool(task["state"] == "deferred")

    api.until(is_deferred, lambda: "The sensor does not wait", PATIENCE)
    started = client.start_run(job.id, {"cause": "by a person"}).id
    assert api.wait_for_run("next_run", dag_run, timeout=PATIENCE) == "success"
    assert api.xcom("next_run", dag_run, "wait") == started
