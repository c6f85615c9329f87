"""The sensor: waits for a run that something else started, in every way of waiting, and never cancels it."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_dbtcloud_dlt.client import InvalidCredentialsException, InvalidRequestError
from airflow_provider_dbtcloud_dlt.compat import AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor

MakeContext = Callable[..., Any]
FAILING = [("Invoke dbt with `dbt build`", "error", "ok\nDatabase Error in model daily_delays")]
WAYS = pytest.mark.parametrize("way", ["deferred", "poke", "reschedule"])
SOFT = pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])


def sensor(run_id: Any = None, **arguments: Any) -> DbtCloudJobRunSensor:
    return DbtCloudJobRunSensor(
        **{
            "task_id": "wait",
            "run_id": run_id,
            "poke_interval": 0.05,
            "timeout": 30,
            "log_results": False,
            **arguments,
        }
    )


@pytest.fixture
def live(context: MakeContext, triggerer: Any) -> Callable[..., Any]:
    """Execute a sensor to its end, in any of the ways of waiting; return its result."""

    def go(way: str, run_id: Any = None, its_context: Any = None, **arguments: Any) -> Any:
        within = its_context or context()

        def make() -> DbtCloudJobRunSensor:
            mode = "reschedule" if way == "reschedule" else "poke"
            return sensor(run_id, deferrable=way == "deferred", mode=mode, **arguments)

        if way == "poke":
            return make().execute(within)
        if way == "reschedule":
            return rescheduled(make, within)
        try:
            return make().execute(within)
        except TaskDeferred as deferred:
            event = triggerer.event(deferred.trigger)
            return triggerer.resume(make(), deferred, within, event)

    return go


def _connection(emu: Emulator, token: str) -> dict[str, Any]:
    return {"host": emu.host, "login": str(emu.account_id), "password": token}


def rescheduled(make: Callable[[], DbtCloudJobRunSensor], context: Any) -> Any:
    """Execute again and again, each time anew, as Airflow does with a sensor that reschedules itself."""
    context["ti"].get_first_reschedule_date = first_time()
    while True:
        try:
            return make().execute(context)
        except Exception as error:
            if type(error).__name__ != "AirflowRescheduleException":
                raise
            time.sleep(0.05)


def first_time() -> Callable[[Any], Any]:

    began = datetime.now(UTC)
    return lambda context: began


@pytest.fixture(autouse=True)
def never_cancels(emu: Emulator) -> Iterator[None]:
    """Whatever happens: a sensor changes nothing in dbt Cloud."""
    yield
    assert {method for method, _ in emu.requests} <= {"GET"}


@WAYS
def test_success(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """A run that succeeds: its id is the result."""
    emu.script_job(emu.job_id, seconds=0.2)
    run_id = emu.trigger()
    assert live(way, run_id) == run_id


@WAYS
def test_failure(
    emu: Emulator, live: Callable[..., Any], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that fails: the failing step is in the error, the end of its log in the task's."""
    emu.script_job(emu.job_id, seconds=0.2, steps=FAILING)
    with pytest.raises(DbtCloudJobRunException, match="has failed at step 3, 'Invoke dbt with `dbt build`'"):
        live(way, emu.trigger())
    assert "Database Error in model daily_delays" in capsys.readouterr().out


@WAYS
def test_cancelled_run(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """A run that somebody cancelled fails the task."""
    emu.script_job(emu.job_id, seconds=0.2, outcome="cancelled")
    with pytest.raises(DbtCloudJobRunException, match="has been cancelled"):
        live(way, emu.trigger())


@WAYS
def test_time_is_up(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """A time-out is Airflow's own for sensors: it ends without a retry."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(AirflowSensorTimeout):
        live(way, emu.trigger(), timeout=0.2)


@WAYS
@SOFT
def test_soft_failure(emu: Emulator, live: Callable[..., Any], way: str, soft: str) -> None:
    """With soft_fail a run that fails skips the task."""
    emu.script_job(emu.job_id, seconds=0.2, outcome="error")
    with pytest.raises(AirflowSkipException):
        live(way, emu.trigger(), **{soft: True})


@WAYS
def test_soft_time_out(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """So does a time-out."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(AirflowSkipException):
        live(way, emu.trigger(), timeout=0.2, soft_fail=True)


def test_never_fail_when_the_time_is_up(emu: Emulator, live: Callable[..., Any]) -> None:
    """Likewise never_fail after a deferral, on every Airflow."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(AirflowSkipException):
        live("deferred", emu.trigger(), timeout=0.2, never_fail=True)


@SOFT
def test_soft_failure_at_the_first_look(emu: Emulator, live: Callable[..., Any], soft: str) -> None:
    """And a run that had failed before the sensor began."""
    emu.script_job(emu.job_id, outcome="error")
    with pytest.raises(AirflowSkipException):
        live("deferred", emu.trigger(), **{soft: True})


def test_soft_failure_of_an_api_that_is_gone(emu: Emulator, live: Callable[..., Any]) -> None:
    """And an outage that lasts too long."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.fail_next(1000)
    with pytest.raises(AirflowSkipException):
        live("deferred", run_id, outage_tolerance=0.1, hook_params={"retry_budget": 0}, soft_fail=True)


def test_outage_that_lasts_fails(emu: Emulator, live: Callable[..., Any]) -> None:
    """After outage_tolerance the task fails."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.fail_next(1000)
    quick = {"outage_tolerance": 0.1, "hook_params": {"retry_budget": 0}}
    with pytest.raises(DbtCloudJobRunException, match="longer than outage_tolerance"):
        live("deferred", run_id, **quick)


def test_outage_that_lasts_fails_while_poking(emu: Emulator, live: Callable[..., Any]) -> None:
    """So it does on the worker."""
    run_id = emu.trigger()
    emu.fail_next(1000)
    quick = {"outage_tolerance": 0.1, "hook_params": {"retry_budget": 0}}
    with pytest.raises(DbtCloudJobRunException, match="longer than outage_tolerance"):
        live("poke", run_id, **quick)


@WAYS
def test_passing_outage_is_outlived(emu: Emulator, live: Callable[..., Any], way: str) -> None:
    """Some failures of the API pass."""
    run_id = emu.trigger()
    emu.fail_next(2)
    assert live(way, run_id, hook_params={"retry_budget": 0}) == run_id


@WAYS
def test_token_that_is_rotated_is_read_again(
    emu: Emulator, live: Callable[..., Any], connect: Callable[..., None], way: str
) -> None:
    """The connection has the new one a little later."""
    emu.script_job(emu.job_id, seconds=0.6)
    run_id = emu.trigger()
    rotate = threading.Timer(0.15, emu.rotate_token, ["the-next"])
    renew = threading.Timer(0.3, connect, kwargs=_connection(emu, "the-next"))
    for timer in (rotate, renew):
        timer.start()
    assert live(way, run_id, hook_params={"retry_budget": 0}) == run_id
    assert emu.token == "the-next"


def test_outage_is_logged_once_while_poking(
    emu: Emulator, live: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """When it begins and when it ends, not at every look."""
    run_id = emu.trigger()
    emu.fail_next(4)
    live("poke", run_id, hook_params={"retry_budget": 0})
    log = capsys.readouterr().out
    assert (log.count("gives no usable answer"), log.count("answers again")) == (1, 1)


def test_outages_are_not_added_up(emu: Emulator, live: Callable[..., Any]) -> None:
    """Two short outages with answers between them are not one long outage."""
    emu.script_job(emu.job_id, seconds=0.7)
    run_id = emu.trigger()
    emu.fail_next(1)
    later = threading.Timer(0.4, emu.fail_next)
    later.start()
    assert live("poke", run_id, hook_params={"retry_budget": 0}, outage_tolerance=0.2) == run_id
    later.join()


def test_execution_timeout_is_a_failure(emu: Emulator, live: Callable[..., Any]) -> None:
    """Airflow's execution_timeout fails the task in the ordinary way, with retries."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(DbtCloudJobRunException, match="within the execution_timeout"):
        live("deferred", emu.trigger(), execution_timeout=timedelta(seconds=0.2))


def test_run_that_has_ended_needs_no_deferral(
    emu: Emulator, context: MakeContext, live: Callable[..., Any]
) -> None:
    """A run that has ended before the first look is the result at once."""
    run_id = emu.trigger()
    assert sensor(run_id).execute(context()) == run_id


def test_link_is_there_while_deferred(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """While the task is deferred its link leads to the run."""
    emu.script_job(emu.job_id, seconds=60)
    its_context = context()
    triggerer.deferral(sensor(emu.trigger()), its_context)
    run = emu.runs()[-1]
    pushed = {"job_run_url": run["href"], "_link_DbtCloudRunLink": run["href"], "job_run_id": run["id"]}
    assert its_context["ti"].xcoms == pushed


def test_deferral_keeps_what_it_was_given(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """The trigger gets limits, interval and account."""
    emu.script_job(emu.job_id, seconds=60)
    limits = {"timeout": 100, "poke_interval": timedelta(seconds=7), "outage_tolerance": 9}
    deferred = triggerer.deferral(sensor(str(emu.trigger()), account_id="1", **limits), context())
    stored = deferred.trigger.serialize()[1]
    assert stored["end_time"] == pytest.approx(time.time() + 100, abs=5)
    assert (stored["poll_interval"], stored["outage_tolerance"], stored["account_id"]) == (7, 9, 1)


def test_deferral_leaves_the_interval_open(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """Without poke_interval the poller decides."""
    emu.script_job(emu.job_id, seconds=60)
    deferred = triggerer.deferral(sensor(emu.trigger(), poke_interval=None), context())
    assert deferred.trigger.serialize()[1]["poll_interval"] is None


@pytest.mark.parametrize(("mode", "shortest"), [("poke", 5), ("reschedule", 60)])
def test_next_look_from_a_worker_without_an_interval(
    emu: Emulator, context: MakeContext, mode: str, shortest: float
) -> None:
    """A new run is looked at as often as this way of waiting bears."""
    emu.script_job(emu.job_id, seconds=60)
    waiting = sensor(emu.trigger(), deferrable=False, mode=mode, poke_interval=None, timeout=1000)
    waiting.poke(context())
    assert waiting._get_next_poke_interval(0.0, lambda: 0.0, 1) == shortest


def test_next_look_from_a_worker_is_not_beyond_the_timeout(emu: Emulator, context: MakeContext) -> None:
    """The sensor's time is up then."""
    emu.script_job(emu.job_id, seconds=60)
    waiting = sensor(emu.trigger(), deferrable=False, poke_interval=None, timeout=100)
    waiting.poke(context())
    assert waiting._get_next_poke_interval(0.0, lambda: 97.0, 1) == 3


def test_exponential_backoff_stays_airflows(emu: Emulator, context: MakeContext) -> None:
    """Who asks for it gets it, from a minute on."""
    waiting = sensor(
        emu.trigger(), deferrable=False, poke_interval=None, exponential_backoff=True, timeout=1000
    )
    waiting.poke(context())
    assert 60 <= waiting._get_next_poke_interval(0.0, lambda: 0.0, 2) < 120


@pytest.mark.parametrize("status", ["success", "error", "unreachable"])
def test_run_that_goes_on_is_waited_for_again(
    emu: Emulator, context: MakeContext, triggerer: Any, status: str
) -> None:
    """Whatever the event says of a run that has not ended, the sensor defers again, to the same limits."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    deferred = triggerer.deferral(sensor(run_id), context())
    event = {"status": status, "run_id": run_id, "message": ""}
    with pytest.raises(TaskDeferred) as again:
        triggerer.resume(sensor(run_id), deferred, context(), event)
    assert again.value.trigger.serialize() == deferred.trigger.serialize()


def test_event_says_success_but_the_run_failed(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """The run is believed, not the event."""
    emu.script_job(emu.job_id, seconds=60, outcome="error")
    run_id = emu.trigger()
    deferred = triggerer.deferral(sensor(run_id), context())
    emu.clock.advance(100)
    event = {"status": "success", "run_id": run_id, "message": ""}
    with pytest.raises(DbtCloudJobRunException, match="has failed"):
        triggerer.resume(sensor(run_id), deferred, context(), event)


def test_event_of_another_run(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """The sensor waits on for its own run."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    deferred = triggerer.deferral(sensor(run_id), context())
    event = {"status": "success", "run_id": emu.trigger(), "message": "done"}
    with pytest.raises(TaskDeferred) as again:
        triggerer.resume(sensor(run_id), deferred, context(), event)
    assert again.value.trigger.run_id == run_id


def test_event_that_is_missing(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """A resumption without an event is never a success."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    deferred = triggerer.deferral(sensor(run_id), context())
    with pytest.raises(DbtCloudJobRunException, match="not one of its own"):
        triggerer.resume(sensor(run_id), deferred, context(), None)


def test_run_of_the_connection(emu: Emulator, connect: Callable[..., None], live: Callable[..., Any]) -> None:
    """A task that names no run waits for the connection's, in the triggerer too."""
    emu.script_job(emu.job_id, seconds=0.2)
    run_id = emu.trigger()
    connect(host=emu.host, login="1", password=emu.token, extra={"run_id": run_id})
    assert live("deferred") == run_id


def test_no_run_at_all(context: MakeContext) -> None:
    """Without any run all the places where it can be named are told."""
    with pytest.raises(InvalidRequestError, match="'wait' names no run: give run_id, such as the output"):
        sensor().execute(context())


@WAYS
def test_template_that_rendered_to_nothing(context: MakeContext, emu: Emulator, way: str) -> None:
    """A run id that rendered to nothing is told, although the connection has a default."""
    mode = "reschedule" if way == "reschedule" else "poke"
    task = sensor("{{ None }}", deferrable=way == "deferred", mode=mode)
    task.render_template_fields(context())
    with pytest.raises(InvalidRequestError, match="run_id is empty: its template rendered to nothing"):
        task.execute(context())


def test_rescheduled_sensor_fails_on_a_run_that_does_not_exist(context: MakeContext) -> None:
    """Each look is a process of its own: the first look's time says how long the run has been missing."""
    its_context = context()
    its_context["ti"].get_first_reschedule_date = lambda context: datetime.now(UTC) - timedelta(minutes=2)
    with pytest.raises(DbtCloudJobRunException, match="Job run 999 was not found"):
        sensor(999, deferrable=False, mode="reschedule").execute(its_context)


def test_run_id_that_is_no_number() -> None:
    """A run id that is no number is refused at parse time."""
    with pytest.raises(
        InvalidRequestError, match="run_id must be a positive whole number or a template, got 'last'"
    ):
        sensor("last")


def test_run_id_of_another_task() -> None:
    """Another task's output can be the run id, and makes that task the one before."""
    with DAG("elt", schedule=None):
        task = sensor(BaseOperator(task_id="transform").output)
    assert task.upstream_task_ids == {"transform"}


@pytest.mark.parametrize("value", [0, -1, "soon", float("inf")])
def test_interval_that_is_none(value: Any) -> None:
    """An interval that is no positive number of seconds is refused by its name."""
    with pytest.raises(InvalidRequestError, match="poke_interval must be a positive number of seconds"):
        sensor(7, poke_interval=value)


def test_refused_token_fails_at_once(
    emu: Emulator, connect: Callable[..., None], context: MakeContext
) -> None:
    """A token that is wrong from the start is told before anybody waits."""
    connect(host=emu.host, login="1", password="wrong-token")
    with pytest.raises((DbtCloudJobRunException, InvalidCredentialsException), match="token"):
        sensor(emu.trigger()).execute(context())


def test_run_that_does_not_exist_is_waited_for(emu: Emulator, context: MakeContext, triggerer: Any) -> None:
    """A run that is not known (yet) is no failure at the first look."""
    assert triggerer.deferral(sensor(999), context()).trigger.run_id == 999
