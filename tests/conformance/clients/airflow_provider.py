"""The official provider's hook, operator, trigger and sensor, without a scheduler.

Deferred tasks go through what Airflow does with them: the trigger is stored, built again and run to its
event, and a new instance of the operator resumes.
"""

import asyncio
import importlib
import json
import os
from types import SimpleNamespace
from typing import Any

from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, fails, run, same

CONNECTION = {"conn_type": "dbt_cloud", "host": cloud.host, "login": str(cloud.account)}
os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"] = json.dumps({**CONNECTION, "password": cloud.token})
os.environ["AIRFLOW_CONN_WRONG"] = json.dumps({**CONNECTION, "password": WRONG_TOKEN})

from airflow.providers.dbt.cloud.hooks.dbt import (  # noqa: E402 - it reads the environment
    DbtCloudHook,
    DbtCloudJobRunException,
)
from airflow.providers.dbt.cloud.operators.dbt import (  # noqa: E402
    DbtCloudGetJobRunArtifactOperator,
    DbtCloudListJobRunsOperator,
    DbtCloudListJobsOperator,
    DbtCloudRunJobOperator,
)
from airflow.providers.dbt.cloud.sensors.dbt import DbtCloudJobRunSensor  # noqa: E402
from airflow.sdk.exceptions import AirflowException, TaskDeferred  # noqa: E402


def context() -> Any:
    """Return what these tasks use of their context."""
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(
        try_number=1, xcoms=pushed, xcom_push=lambda key, value: pushed.update({key: value})
    )
    return {"ti": instance}


def life(make: Any) -> Any:
    """Execute a task that defers, let its trigger run as in a triggerer, and resume it; return its result."""
    try:
        make().execute(context())
    except TaskDeferred as deferral:
        deferred = deferral
    else:
        raise AssertionError("the task did not defer")
    path, arguments = deferred.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))

    async def events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(events())
    return getattr(make(), deferred.method_name)(context(), event=event)


def task(job_id: int, **more: Any) -> DbtCloudRunJobOperator:
    """Return the operator."""
    return DbtCloudRunJobOperator(
        task_id="run", job_id=job_id, trigger_reason="Conformance", check_interval=1, **more
    )


def drive_hook() -> None:
    """Make each call of the hook's."""
    hook = DbtCloudHook()

    with cell("trigger"):
        started = hook.trigger_job_run(cloud.good, cause="Conformance").json()["data"]
        same(started["job_definition_id"], cloud.good)
    with cell("wait for the end"):
        same(hook.wait_for_job_run_status(started["id"], check_interval=1, timeout=30), True)
    with cell("a failed run"):
        failed = hook.trigger_job_run(cloud.bad, cause="Conformance").json()["data"]["id"]
        fails(
            lambda: hook.wait_for_job_run_status(failed, check_interval=1, timeout=30),
            DbtCloudJobRunException,
            "terminal status ERROR",
        )
    with cell("retry from the failure"):
        again = hook.trigger_job_run(cloud.bad, cause="Conformance", retry_from_failure=True).json()["data"]
        same(again["retrying_run_id"], failed)
    with cell("list jobs"):
        jobs = DbtCloudListJobsOperator(task_id="jobs", project_id=cloud.project).execute(context())
        same(jobs, [cloud.good, cloud.bad, cloud.slow])
    with cell("list runs, filtered"):
        listing = DbtCloudListJobRunsOperator(
            task_id="runs", job_id=cloud.good, order_by="-id", include_related=["job"], status_filter=[10]
        )
        same([one["id"] for one in listing.execute(context())], [started["id"]])
    with cell("cancel"):
        slow = hook.trigger_job_run(cloud.slow, cause="Conformance").json()["data"]["id"]
        hook.cancel_job_run(slow)
        same(hook.get_job_run_status(slow), 30)
    with cell("list artifacts"):
        same("run_results.json" in hook.list_job_run_artifacts(started["id"]).json()["data"], True)
    with cell("one artifact"):
        fetch = DbtCloudGetJobRunArtifactOperator(
            task_id="file", run_id=started["id"], path="run_results.json", output_file_name="results.json"
        )
        with open(fetch.execute(context()), encoding="utf-8") as file:
            same(json.load(file)["results"][0]["status"], "success")
    with cell("check the connection"):
        same(hook.test_connection()[0], True)
        same(hook.get_account().json()["data"]["id"], cloud.account)
    with cell("error: unknown run"):
        fails(lambda: hook.get_job_run(UNKNOWN_RUN), AirflowException, "404:Not Found")
    with cell("error: wrong token"):
        fails(lambda: DbtCloudHook("wrong").get_account(), AirflowException, "401:Unauthorized")


def drive_tasks() -> None:
    """Make each call of the operators' and the sensor's."""
    with cell("operator"):
        run_id = task(cloud.good).execute(context())
    with cell("operator, deferrable"):
        same(life(lambda: task(cloud.good, deferrable=True)) > run_id, True)
    with cell("operator, deferrable, a failed run"):
        failing = lambda: life(lambda: task(cloud.bad, deferrable=True))  # noqa: E731
        fails(failing, DbtCloudJobRunException, "has failed")
    with cell("operator, adopts a run under way"):
        slow = task(cloud.slow, wait_for_termination=False).execute(context())
        again = task(cloud.slow, wait_for_termination=False, reuse_existing_run=True).execute(context())
        DbtCloudHook().cancel_job_run(slow)
        same(again, slow)
    with cell("operator, job by its names"):
        names = {"project_name": cloud.project_name, "environment_name": cloud.environment_name}
        named = DbtCloudRunJobOperator(
            task_id="run", job_name="good", trigger_reason="Conformance", check_interval=1, **names
        )
        same(named.execute(context()) > run_id, True)
    with cell("sensor"):
        waited = task(cloud.good, wait_for_termination=False).execute(context())
        DbtCloudJobRunSensor(task_id="wait", run_id=waited, poke_interval=1, timeout=30).execute(context())
        same(DbtCloudHook().get_job_run_status(waited), 10)
    with cell("sensor, deferrable"):
        waited = task(cloud.good, wait_for_termination=False).execute(context())
        sensor = lambda: DbtCloudJobRunSensor(  # noqa: E731
            task_id="wait", run_id=waited, deferrable=True, poke_interval=1
        )
        same(life(sensor), waited)


def drive() -> None:
    """Make each call."""
    drive_hook()
    drive_tasks()


if __name__ == "__main__":
    run(drive, "apache-airflow-providers-dbt-cloud", "apache-airflow")
