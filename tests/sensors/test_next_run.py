"""The sensor with a job: waits for the job's first run after a moment, and then as for any other run."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, JobLookupError
from airflow_provider_dbtcloud_dlt.compat import STARTS_IN_TRIGGERER, AirflowSensorTimeout, TaskDeferred
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor

WAYS = pytest.mark.parametrize("way", ["deferred", "poke", "reschedule"])


def sensor(**arguments: Any) -> DbtCloudJobRunSensor:
    return DbtCloudJobRunSensor(
        **{"task_id": "wait", "poke_interval": 0.05, "timeout": 30, "log_results": False, **arguments}
    )


@pytest.fixture
def live(context: Callable[..., Any], triggerer: Any) -> Callable[..., Any]:
    """Execute a sensor to its end, in any of the ways of waiting; return its result."""

    def go(way: str, its_context: Any = None, **arguments: Any) -> Any:
        within = its_context or context()
        began = datetime.now(UTC)
        if way == "reschedule":
            within["ti"].get_first_reschedule_date = lambda context: began
        mode = "reschedule" if way == "reschedule" else "poke"

        def make() -> DbtCloudJobRunSensor:
            return sensor(deferrable=way == "deferred", mode=mode, **arguments)

        step: Callable[[], Any] = lambda: make().execute(within)  # noqa: E731
        while True:
            try:
                return step()
            except TaskDeferred as deferral:
                deferred = deferral
            except Exception as error:
                if type(error).__name__ != "AirflowRescheduleException":
                    raise
                time.sleep(0.05)
                continue
            event = triggerer.event(deferred.trigger)
            step = lambda d=deferred, e=event: triggerer.resume(make(), d, within, e)  # noqa: E731

    return go


@pytest.fixture
def later(emu: Emulator) -> Callable[[], list[int]]:
    """Let dbt Cloud start a run of the job in half a second, by its own schedule; tell its id afterwards."""
    started: list[int] = []

    def go() -> list[int]:
        threading.Timer(0.5, lambda: started.append(emu.trigger(cause="scheduled"))).start()
        return started

    return go


def now() -> datetime:
    return datetime.now(UTC)


@WAYS
def test_run_that_comes_later(
    emu: Emulator, live: Callable[..., Any], later: Callable[[], list[int]], way: str
) -> None:
    """A run that dbt Cloud starts while the sensor waits is waited for to its end."""
    emu.script_job(emu.job_id, seconds=0.2)
    emu.trigger()
    after = now()
    started = later()
    assert [live(way, job_id=emu.job_id, after=after)] == started


@WAYS
def test_first_of_several(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """Of runs that are there already, the first after the moment counts."""
    emu.script_job(emu.job_id, seconds=0)
    emu.trigger()
    after = now()
    first = emu.trigger()
    emu.trigger()
    assert live(way, job_id=emu.job_id, after=after.isoformat()) == first


def test_first_that_finished(emu: Emulator, live: Callable[..., Any]) -> None:
    """By the time of the end, a run counts that began before the moment."""
    emu.script_job(emu.job_id, seconds=1)
    run_id = emu.trigger()
    after = now()
    assert live("deferred", job_id=emu.job_id, after=after, first="finished") == run_id


@WAYS
def test_time_is_up(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """A job that has not run in time ends the sensor without a retry; earlier runs do not count."""
    emu.script_job(emu.job_id, seconds=0)
    emu.trigger()
    with pytest.raises(AirflowSensorTimeout):
        live(way, job_id=emu.job_id, after=now(), timeout=0.3)


def test_moment_of_the_data_interval(
    emu: Emulator, live: Callable[..., Any], context: Callable[..., Any]
) -> None:
    """By default the end of the data interval is the moment."""
    emu.script_job(emu.job_id, seconds=0)
    emu.trigger()
    within = context(data_interval_end=now())
    run_id = emu.trigger()
    assert live("deferred", within, job_id=emu.job_id) == run_id


def test_moment_of_a_dag_run_without_interval(
    emu: Emulator, live: Callable[..., Any], context: Callable[..., Any]
) -> None:
    """A DAG run that has no data interval has the time for which it was made."""
    emu.script_job(emu.job_id, seconds=0)
    within = context(dag_run=SimpleNamespace(run_after=now()), data_interval_end=None)
    run_id = emu.trigger()
    assert live("deferred", within, job_id=emu.job_id) == run_id


def test_job_by_name(emu: Emulator, live: Callable[..., Any]) -> None:
    """The job may be named."""
    emu.script_job(emu.job_id, seconds=0)
    after = now()
    run_id = emu.trigger()
    name = DbtCloudHook().get_job(emu.job_id).name
    assert live("deferred", job_name=name, after=after) == run_id


@WAYS
@pytest.mark.parametrize(("status", "headers"), [(503, {}), (429, {"Retry-After": "0"})])
def test_name_is_looked_up_once_the_api_answers(
    emu: Emulator, live: Callable[..., Any], way: str, status: int, headers: dict[str, str]
) -> None:
    """An outage that begins before the sensor does is outlived, too."""
    emu.script_job(emu.job_id, seconds=0)
    after, quick = now(), {"retry_budget": 0}
    run_id = emu.trigger()
    emu.fail_next(4, status=status, headers=headers)
    assert live(way, job_name="Nightly build", after=after, hook_params=quick) == run_id


@pytest.mark.parametrize("way", ["deferred", "poke"])
def test_name_that_can_not_be_looked_up_for_too_long(
    emu: Emulator, live: Callable[..., Any], way: str
) -> None:
    """After outage_tolerance the search gives up."""
    emu.fail_next(1000)
    with pytest.raises(DbtCloudJobRunException, match="learnt of a run of job 'Nightly build' that was"):
        live(way, job_name="Nightly build", outage_tolerance=0.1, hook_params={"retry_budget": 0})


@WAYS
@pytest.mark.parametrize("failures", [0, 4])
def test_name_that_is_none(emu: Emulator, live: Callable[..., Any], way: str, failures: int) -> None:
    """Nobody waits for runs of a job that is not there, as soon as that is known."""
    for _ in range(failures):
        emu.fail_next()
    with pytest.raises(JobLookupError, match="Did you mean 'Nightly build'"):
        live(way, job_name="Nightly buidl", hook_params={"retry_budget": 0})


@WAYS
def test_failed_run_fails_the_task(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """The run that was found ends the sensor as any other run does."""
    emu.script_job(emu.job_id, seconds=0.2, outcome="error")
    after = now()
    emu.trigger()
    with pytest.raises(DbtCloudJobRunException, match="has failed"):
        live(way, job_id=emu.job_id, after=after)


@WAYS
def test_later_try_passes_over_what_has_failed(
    emu: Emulator, live: Callable[..., Any], context: Callable[..., Any], way: str
) -> None:
    """A task that is cleared after somebody has run the job again goes on with that run."""
    emu.script_job(emu.job_id, seconds=0, outcome="error")
    after = now()
    emu.trigger()
    emu.script_job(emu.job_id, seconds=0.2)
    run_id = emu.trigger()
    assert live(way, context(try_number=2), job_id=emu.job_id, after=after) == run_id


def test_later_try_fails_by_a_run_that_fails_then(
    emu: Emulator, live: Callable[..., Any], context: Callable[..., Any]
) -> None:
    """Passed over is only what had failed before the try began."""
    emu.script_job(emu.job_id, seconds=0.5, outcome="error")
    after = now()
    emu.trigger()
    with pytest.raises(DbtCloudJobRunException, match="has failed"):
        live("reschedule", context(try_number=2), job_id=emu.job_id, after=after)


@WAYS
def test_passing_failures_are_outlived(
    emu: Emulator, live: Callable[..., Any], later: Callable[[], list[int]], way: str
) -> None:
    """The search goes on after an API that failed."""
    emu.script_job(emu.job_id, seconds=0)
    after = now()
    started = later()
    emu.fail_next(3, status=502, path=r"GET .*/runs/\?.*")
    assert [live(way, job_id=emu.job_id, after=after, hook_params={"retry_budget": 0})] == started


def test_job_that_does_not_exist(emu: Emulator, live: Callable[..., Any]) -> None:
    """Nobody waits for runs of a job that is not there."""
    with pytest.raises(JobLookupError, match="waits for a run of job 999"):
        live("deferred", job_id=999, after=now())


def test_page_is_shown_while_the_task_waits(
    emu: Emulator, context: Callable[..., Any], triggerer: Any
) -> None:
    """Once the run is found, its page is in the task's XComs, and the wait is as for any run."""
    emu.script_job(emu.job_id, seconds=60)
    within, after = context(), now()
    search = triggerer.deferral(sensor(job_id=emu.job_id, after=after), within)
    run_id = emu.trigger()
    event = triggerer.event(search.trigger)
    with pytest.raises(TaskDeferred) as wait:
        triggerer.resume(sensor(job_id=emu.job_id, after=after), search, within, event)
    assert wait.value.trigger.run_id == run_id == within["ti"].xcoms["job_run_id"]
    assert wait.value.trigger.end_time == search.trigger.end_time


def test_event_of_another_task_is_not_believed(
    emu: Emulator, context: Callable[..., Any], triggerer: Any
) -> None:
    """A task that is told of a run that is not there searches on."""
    within, after = context(), now()
    search = triggerer.deferral(sensor(job_id=emu.job_id, after=after), within)
    with pytest.raises(TaskDeferred) as again:
        triggerer.resume(sensor(job_id=emu.job_id, after=after), search, within, {"status": "found"})
    assert again.value.trigger.serialize() == search.trigger.serialize()


def test_sensor_with_a_job_begins_on_a_worker() -> None:
    """Names and moments are for a worker to make sense of, the rest of the sensor's life may be elsewhere."""
    with DAG("d"):
        of_job = sensor(job_id=1, after="{{ data_interval_end }}")
        of_run = sensor(task_id="of_run", run_id=1)
    assert (of_job.start_from_trigger, of_run.start_from_trigger) == (False, STARTS_IN_TRIGGERER)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run_id": 1, "job_id": 2}, "gives run_id and a job"),
        ({"run_id": 1, "job_name": "n"}, "gives run_id and a job"),
        ({"run_id": 1, "after": "2026-01-01"}, "gives run_id and after"),
        ({"job_id": 1, "job_name": "n"}, "gives job_id and job_name"),
        ({"project_name": "p"}, "without job_name"),
        ({"job_id": "nightly"}, "job_id must be a positive whole number"),
        ({"job_id": 1, "after": "tomorrow"}, "after must be a datetime, or one in ISO format"),
        ({"job_id": 1, "after": 5}, "after must be a datetime"),
        ({"job_id": 1, "first": "started"}, "first must be 'created' or 'finished'"),
    ],
)
def test_arguments_that_can_not_be_meant(arguments: dict[str, Any], message: str) -> None:
    """They are refused while the DAG file is parsed."""
    with pytest.raises(InvalidRequestError, match=message):
        sensor(**arguments)


def test_moment_without_a_zone_is_utc(emu: Emulator, live: Callable[..., Any]) -> None:
    """So is ``{{ ds }}``."""
    emu.script_job(emu.job_id, seconds=0)
    emu.trigger()
    after = now().replace(tzinfo=None)
    run_id = emu.trigger()
    assert live("deferred", job_id=emu.job_id, after=str(after)) == run_id


def test_moment_in_another_zone(emu: Emulator, live: Callable[..., Any]) -> None:
    """A zone that the moment names is heeded."""
    emu.script_job(emu.job_id, seconds=0)
    after = (now() - timedelta(seconds=1)).astimezone(timezone(timedelta(hours=9)))
    run_id = emu.trigger()
    assert live("deferred", job_id=emu.job_id, after=after.isoformat()) == run_id
