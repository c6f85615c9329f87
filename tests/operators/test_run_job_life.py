"""A task's life: the run is started once, waited for, and its end is the task's."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import responses
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import NotFoundError
from airflow_provider_dbtcloud_dlt.compat import AirflowTaskTimeout, TaskDeferred
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudConnectionError, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

Make = Callable[..., DbtCloudRunJobOperator]
MakeContext = Callable[..., Any]
FAILING = [("Invoke dbt with `dbt build`", "error", "ok\nDatabase Error in model daily_delays")]


def cancels(emu: Emulator) -> list[str]:
    return [path for method, path in emu.requests if method == "POST" and "/cancel/" in path]


def starts(emu: Emulator) -> int:
    return sum(method == "POST" and path.endswith("/run/") for method, path in emu.requests)


def live(deferrable: bool, make: Make, context: Any, triggerer: Any, **arguments: Any) -> Any:
    """Execute a task to its end, in either way of waiting."""
    if deferrable:
        return triggerer.finish(lambda: make(**arguments), context)
    return make(deferrable=False, **arguments).execute(context)


# --- success -----------------------------------------------------------------------------------------


def test_deferred_task_returns_the_run_id(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A run that succeeds while the task is deferred: its id is the result."""
    emu.script_job(emu.job_id, seconds=0.3)
    assert triggerer.finish(make, context()) == emu.runs()[-1]["id"]


def test_task_that_waits_returns_the_run_id(emu: Emulator, make: Make, context: MakeContext) -> None:
    """Likewise for a task that waits on its worker."""
    emu.script_job(emu.job_id, seconds=0.2)
    assert make(deferrable=False).execute(context()) == emu.runs()[-1]["id"]


def test_task_that_does_not_wait_returns_the_run_id(emu: Emulator, make: Make, context: MakeContext) -> None:
    """Without waiting the task ends once the run is started."""
    emu.script_job(emu.job_id, seconds=60)
    assert make(wait_for_termination=False).execute(context()) == emu.runs()[-1]["id"]
    assert emu.runs()[-1]["in_progress"]


def test_run_is_in_the_xcoms_before_the_deferral(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """While the task is deferred its link already leads to the run."""
    emu.script_job(emu.job_id, seconds=60)
    its_context = context()
    triggerer.deferral(make(), its_context)
    run = emu.runs()[-1]
    assert its_context["ti"].xcoms == {
        "job_run_url": run["href"],
        "_link_DbtCloudRunLink": run["href"],
        "job_run_id": run["id"],
    }


def test_deferral_keeps_the_limits(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """The trigger gets the time-out and the execution time-out as points in time."""
    emu.script_job(emu.job_id, seconds=60)
    limits = {"timeout": 100, "execution_timeout": timedelta(seconds=50)}
    _, stored = triggerer.deferral(make(**limits), context()).trigger.serialize()
    assert stored["end_time"] == pytest.approx(time.time() + 100, abs=5)
    assert stored["execution_deadline"] == pytest.approx(time.time() + 50, abs=5)


def test_deferral_keeps_the_tolerance(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, connect: Callable[..., None]
) -> None:
    """The trigger outlives an outage for as long as the connection says."""
    emu.script_job(emu.job_id, seconds=60)
    connect(host=emu.host, login="1", password=emu.token, extra={"outage_tolerance": 77})
    _, stored = triggerer.deferral(make(), context()).trigger.serialize()
    assert stored["outage_tolerance"] == 77


def test_account_of_the_task_reaches_the_trigger(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, connect: Callable[..., None]
) -> None:
    """An account that rendered to a text is asked by the trigger too."""
    emu.script_job(emu.job_id, seconds=60)
    connect(host=emu.host, password=emu.token)
    _, stored = triggerer.deferral(make(account_id="1"), context()).trigger.serialize()
    assert stored["account_id"] == 1


# --- failure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_failed_run_fails_the_task(
    emu: Emulator,
    make: Make,
    context: MakeContext,
    triggerer: Any,
    capsys: pytest.CaptureFixture[str],
    deferrable: bool,
) -> None:
    """The failing step's name is in the error, the end of its log in the task's."""
    emu.script_job(emu.job_id, seconds=0.2, steps=FAILING)
    with pytest.raises(DbtCloudJobRunException, match="has failed at step 3, 'Invoke dbt with `dbt build`'"):
        live(deferrable, make, context(), triggerer)
    assert "Database Error in model daily_delays" in capsys.readouterr().out


def test_cancelled_run_fails_the_task(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A run that somebody cancelled fails the task."""
    emu.script_job(emu.job_id, seconds=0.2, outcome="cancelled")
    with pytest.raises(DbtCloudJobRunException, match="has been cancelled"):
        triggerer.finish(make, context())


def test_job_that_does_not_exist(emu: Emulator, make: Make, context: MakeContext) -> None:
    """A job id that dbt Cloud does not know is told, with the number."""
    with pytest.raises(NotFoundError, match="999"):
        make(job_id=999).execute(context())


def test_connection_that_does_not_exist(make: Make, context: MakeContext) -> None:
    """A connection id that Airflow does not know is told."""
    with pytest.raises(DbtCloudConnectionError, match="'nowhere'"):
        make(dbt_cloud_conn_id="nowhere").execute(context())


# --- time is up --------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_time_out_cancels_the_run(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, deferrable: bool
) -> None:
    """When the time is up the run is cancelled, and the error says so."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(DbtCloudJobRunException, match=r"not ended within the timeout.* It was cancelled\."):
        live(deferrable, make, context(), triggerer, timeout=0.2)
    assert emu.runs()[-1]["is_cancelled"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_time_out_may_leave_the_run(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, deferrable: bool
) -> None:
    """With cancel_on_timeout=False the run goes on, and the error says so."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(DbtCloudJobRunException, match=r"It was left running\."):
        live(deferrable, make, context(), triggerer, timeout=0.2, cancel_on_timeout=False)
    assert emu.runs()[-1]["in_progress"]


def test_execution_timeout_cancels_the_run(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """Airflow's execution_timeout ends the wait in the triggerer too."""
    emu.script_job(emu.job_id, seconds=60)
    limit = timedelta(seconds=0.2)
    with pytest.raises(DbtCloudJobRunException, match="within the execution_timeout"):
        triggerer.finish(lambda: make(execution_timeout=limit), context())
    assert emu.runs()[-1]["is_cancelled"]


@contextmanager
def execution_timeout(emu: Emulator, seconds: float = 0.0) -> Iterator[None]:
    """Let Airflow interrupt the task at its first look at the run, after so many seconds."""
    look = re.compile(rf"{emu.url}/api/.*/runs/\d+/$")

    def interrupt(request: object) -> NoReturn:
        wire.remove("GET", look)
        emu.clock.advance(seconds)
        raise AirflowTaskTimeout

    with responses.RequestsMock() as wire:
        wire.add_passthru(emu.url)
        wire.add_callback("GET", look, interrupt)
        yield


@pytest.mark.parametrize("cancel", [True, False])
def test_execution_timeout_of_a_waiting_worker(
    emu: Emulator, make: Make, context: MakeContext, cancel: bool
) -> None:
    """Airflow interrupts the task and has it killed; the run then goes on only where that is wanted."""
    emu.script_job(emu.job_id, seconds=60)
    operator = make(deferrable=False, cancel_on_timeout=cancel)
    with execution_timeout(emu), pytest.raises(AirflowTaskTimeout):
        operator.execute(context())
    operator.on_kill()
    assert bool(cancels(emu)) is cancel


def test_token_that_is_rotated_is_read_again_by_a_waiting_worker(
    emu: Emulator, make: Make, context: MakeContext, connect: Callable[..., None]
) -> None:
    """The connection has the new one a little later."""
    emu.script_job(emu.job_id, seconds=0.6)
    renewed = {"host": emu.host, "login": str(emu.account_id), "password": "the-next"}
    timers = [
        threading.Timer(0.15, emu.rotate_token, ["the-next"]),
        threading.Timer(0.3, connect, kwargs=renewed),
    ]
    for timer in timers:
        timer.start()
    make(deferrable=False).execute(context())
    assert emu.token == "the-next"


def test_execution_timeout_says_how_long_the_run_ran(emu: Emulator, make: Make, context: MakeContext) -> None:
    """And what became of it, where nobody cancels it."""
    emu.script_job(emu.job_id, seconds=60)
    words = r"within the execution_timeout; .* it has run for 0:00:0\d\. It was left running\."
    with execution_timeout(emu), pytest.raises(AirflowTaskTimeout, match=words):
        make(deferrable=False, cancel_on_timeout=False).execute(context())


def test_run_that_has_ended_when_the_execution_timeout_comes(
    emu: Emulator, make: Make, context: MakeContext
) -> None:
    """The run is read once more, and its success is the task's."""
    emu.script_job(emu.job_id, seconds=60)
    with execution_timeout(emu, 61):
        assert make(deferrable=False).execute(context()) == emu.runs()[-1]["id"]


def test_run_that_has_failed_when_the_execution_timeout_comes(
    emu: Emulator, make: Make, context: MakeContext
) -> None:
    """Likewise its failure, with the step that failed."""
    emu.script_job(emu.job_id, seconds=60, steps=FAILING)
    with (
        execution_timeout(emu, 61),
        pytest.raises(DbtCloudJobRunException, match="has failed at step 3"),
    ):
        make(deferrable=False).execute(context())


def test_run_that_cannot_be_read_when_the_execution_timeout_comes(
    emu: Emulator, make: Make, context: MakeContext
) -> None:
    """The time is up: one question is enough."""
    emu.script_job(emu.job_id, seconds=60)
    emu.fail_next(1, path="GET")
    with (
        execution_timeout(emu),
        pytest.raises(AirflowTaskTimeout, match=r"it could not be read once more: .*502"),
    ):
        make(deferrable=False).execute(context())


def test_run_that_cannot_be_cancelled(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A run that can't be cancelled may go on: the error says that."""
    emu.script_job(emu.job_id, seconds=60)
    emu.fail_next(1, status=403, path="/cancel/", body="{}")
    with pytest.raises(DbtCloudJobRunException, match="could not be cancelled and may go on"):
        triggerer.finish(lambda: make(timeout=0.2), context())


# --- the resumed task believes the run, not the event ------------------------------------------------


def resumed(triggerer: Any, make: Make, context: Any, event: object, **arguments: Any) -> Any:
    """Defer, then resume with an event of one's own."""
    deferred = triggerer.deferral(make(**arguments), context)
    message = {"status": event, "run_id": deferred.trigger.run_id, "message": "So said the event."}
    return triggerer.resume(make(**arguments), deferred, context, message)


def test_event_says_success_but_the_run_failed(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A success that is none fails the task."""
    emu.script_job(emu.job_id, seconds=0.05, outcome="error")
    its_context = context()
    deferred = triggerer.deferral(make(), its_context)
    time.sleep(0.06)
    event = {"status": "success", "run_id": deferred.trigger.run_id, "message": ""}
    with pytest.raises(DbtCloudJobRunException, match="has failed"):
        triggerer.resume(make(), deferred, its_context, event)


def test_event_says_timeout_but_the_run_succeeded(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A run that ended in the meantime is a success, and is not cancelled."""
    emu.script_job(emu.job_id, seconds=0.05)
    its_context = context()
    deferred = triggerer.deferral(make(), its_context)
    time.sleep(0.06)
    event = {"status": "timeout", "run_id": deferred.trigger.run_id, "message": ""}
    assert triggerer.resume(make(), deferred, its_context, event) == deferred.trigger.run_id
    assert not cancels(emu)


def test_event_that_comes_twice(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """A second delivery of the event has the same result, and starts nothing."""
    emu.script_job(emu.job_id, seconds=0.1)
    its_context = context()
    deferred = triggerer.deferral(make(), its_context)
    event = triggerer.event(deferred.trigger)
    results = [triggerer.resume(make(), deferred, its_context, event) for _ in range(2)]
    assert results == [deferred.trigger.run_id] * 2
    assert starts(emu) == 1


def test_event_of_another_run(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """That of a cleared task's run is not the result of its successor, which waits on for its own."""
    emu.script_job(emu.job_id, seconds=60)
    deferred = triggerer.deferral(make(), context())
    event = {"status": "cancelled", "run_id": emu.trigger(), "message": "cancelled for a clear"}
    with pytest.raises(TaskDeferred) as again:
        triggerer.resume(make(), deferred, context(), event)
    assert again.value.trigger.run_id == deferred.trigger.run_id


@pytest.mark.parametrize("status", ["success", "error", "cancelled", "unreachable"])
def test_run_that_goes_on_is_waited_for_again(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, status: str
) -> None:
    """Whatever the event says of a run that has not ended, the task defers again, to the same limits."""
    emu.script_job(emu.job_id, seconds=60)
    its_context = context()
    deferred = triggerer.deferral(make(), its_context)
    event = {"status": status, "run_id": deferred.trigger.run_id, "message": ""}
    with pytest.raises(TaskDeferred) as again:
        triggerer.resume(make(), deferred, its_context, event)
    assert again.value.trigger.serialize() == deferred.trigger.serialize()
    assert again.value.kwargs == deferred.kwargs


def test_api_that_is_gone_fails_the_task(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """After outage_tolerance the task fails, and the run is not cancelled: it may be well."""
    emu.script_job(emu.job_id, seconds=60)
    quick = {"hook_params": {"retry_budget": 0}, "outage_tolerance": 0.1}
    its_context = context()
    deferred = triggerer.deferral(make(**quick), its_context)
    emu.fail_next(1000, path="GET")
    event = triggerer.event(deferred.trigger)
    with pytest.raises(DbtCloudJobRunException, match=r"longer than outage_tolerance.*Asked again"):
        triggerer.resume(make(**quick), deferred, its_context, event)
    assert not cancels(emu)


def test_time_out_cancels_a_run_that_cannot_be_read(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """When the time is up and reading fails, the run is cancelled all the same."""
    emu.script_job(emu.job_id, seconds=60)
    emu.fail_next(1000, path="GET")
    quick = {"hook_params": {"retry_budget": 0}}
    with pytest.raises(DbtCloudJobRunException, match="It was cancelled"):
        resumed(triggerer, make, context(), "timeout", **quick)
    assert emu.runs()[-1]["is_cancelled"]


def test_time_out_cancels_after_a_cool_down(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, mocker: MockerFixture
) -> None:
    """A rate limit that refuses the cancellation is waited for."""
    emu.script_job(emu.job_id, seconds=60)
    emu.fail_next(1, status=429, path="/cancel/", headers={"Retry-After": "300"})
    slept = mocker.patch("time.sleep")
    with pytest.raises(DbtCloudJobRunException, match="It was cancelled"):
        resumed(triggerer, make, context(), "timeout")
    assert mocker.call(300.0) in slept.call_args_list
    assert emu.runs()[-1]["is_cancelled"]


def test_job_is_found_by_its_name_after_a_cool_down(
    emu: Emulator, make: Make, context: MakeContext, mocker: MockerFixture
) -> None:
    """A rate limit that refuses the look-up is waited for."""
    emu.fail_next(1, status=429, path="GET .*/jobs/", headers={"Retry-After": "300"})
    slept = mocker.patch("time.sleep")
    make(job_name="Nightly build", wait_for_termination=False).execute(context())
    assert mocker.call(300.0) in slept.call_args_list
    assert starts(emu) == 1


def test_run_that_is_gone(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """A run that does not exist any more fails the task."""
    emu.script_job(emu.job_id, seconds=60)
    deferred = triggerer.deferral(make(), context())
    emu.inject("fresh_run_404", seconds=3600)
    event = {"status": "error", "run_id": deferred.trigger.run_id, "message": ""}
    with pytest.raises(DbtCloudJobRunException, match=rf"runs/{deferred.trigger.run_id}/: not found"):
        triggerer.resume(make(), deferred, context(), event)


def test_event_that_is_missing(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """A resumption without an event fails, and leaves no run behind."""
    emu.script_job(emu.job_id, seconds=60)
    deferred = triggerer.deferral(make(), context())
    with pytest.raises(DbtCloudJobRunException, match=r"not one of its own: None\. It was cancelled\."):
        triggerer.resume(make(), deferred, context(), None)
    assert emu.runs()[0]["status_humanized"] == "Cancelled"


# --- later tries -------------------------------------------------------------------------------------


def test_second_try_adopts_the_run(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """A try that finds the first one's run going on waits for it, and starts none."""
    emu.script_job(emu.job_id, seconds=60)
    first = triggerer.deferral(make(), context(max_tries=1))
    second = triggerer.deferral(make(), context(try_number=2, max_tries=1))
    assert second.trigger.run_id == first.trigger.run_id
    assert starts(emu) == 1


def test_second_try_takes_an_undelivered_success(emu: Emulator, make: Make, context: MakeContext) -> None:
    """A run that succeeded after its task had died is the result."""
    first = make(deferrable=False).execute(context(max_tries=1))
    assert make(deferrable=False).execute(context(try_number=2, max_tries=1)) == first
    assert starts(emu) == 1


def test_second_try_after_a_failure_starts_anew(emu: Emulator, make: Make, context: MakeContext) -> None:
    """A failed run is not taken for the next try's."""
    emu.script_job(emu.job_id, outcome="error")
    with pytest.raises(DbtCloudJobRunException):
        make(deferrable=False).execute(context(max_tries=1))
    emu.script_job(emu.job_id)
    make(deferrable=False).execute(context(try_number=2, max_tries=1))
    assert starts(emu) == 2


def test_second_try_may_go_on_from_the_failure(emu: Emulator, make: Make, context: MakeContext) -> None:
    """With retry_from_failure the failed run is taken up by dbt Cloud."""
    emu.script_job(emu.job_id, outcome="error")
    with pytest.raises(DbtCloudJobRunException):
        make(deferrable=False).execute(context(max_tries=1))
    failed = emu.runs()[-1]["id"]
    emu.script_job(emu.job_id)
    make(deferrable=False, retry_from_failure=True).execute(context(try_number=2, max_tries=1))
    assert emu.runs()[-1]["retrying_run_id"] == failed


def test_other_task_does_not_adopt(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """Another task's run of the same job is not this one's."""
    emu.script_job(emu.job_id, seconds=60)
    first = triggerer.deferral(make(), context(task_id="other", max_tries=1))
    second = triggerer.deferral(make(), context(try_number=2, max_tries=1))
    assert second.trigger.run_id != first.trigger.run_id


def test_cleared_task_cancels_what_it_left_behind(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A task that is cleared while deferred starts anew, and its old run does not go on beside."""
    emu.script_job(emu.job_id, seconds=60)
    first = triggerer.deferral(make(), context(max_tries=0))
    second = triggerer.deferral(make(), context(try_number=2, max_tries=1))
    assert second.trigger.run_id != first.trigger.run_id
    assert [run["is_cancelled"] for run in emu.runs()] == [True, False]


def test_clear_of_a_finished_dag_run_finds_its_old_run(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """Airflow gives such a DAG run a new start; what a killed task left going is cancelled all the same."""
    emu.script_job(emu.job_id, seconds=60)
    triggerer.deferral(make(), context(max_tries=0))
    cleared = context(try_number=2, max_tries=1)
    cleared["dag_run"].start_date += timedelta(hours=2)
    triggerer.deferral(make(), cleared)
    assert [run["is_cancelled"] for run in emu.runs()] == [True, False]


def test_run_that_was_cancelled_for_a_clear_is_not_joined(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """Even if dbt Cloud takes a moment to end it."""
    emu.script_job(emu.job_id, seconds=60)
    first = triggerer.deferral(make(reuse_existing_run=True), context(max_tries=0))
    emu.fail_next(1, status=200, path="/cancel/", body=json.dumps({"data": emu.runs()[0]}))
    second = triggerer.deferral(make(reuse_existing_run=True), context(try_number=2, max_tries=1))
    assert second.trigger.run_id != first.trigger.run_id


def test_lost_answer_starts_no_second_run(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A trigger whose answer is lost is looked for, not sent again."""
    emu.script_job(emu.job_id, seconds=60)
    emu.drop_next(1, path="POST", after_effect=True)
    deferred = triggerer.deferral(make(), context())
    assert [run["id"] for run in emu.runs()] == [deferred.trigger.run_id]


# --- joined runs -------------------------------------------------------------------------------------


def test_active_run_is_joined(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """With reuse_existing_run somebody else's run is waited for."""
    emu.script_job(emu.job_id, seconds=60)
    theirs = emu.trigger()
    assert triggerer.deferral(make(reuse_existing_run=True), context()).trigger.run_id == theirs


def test_run_with_other_overrides_is_not_joined(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """A run that builds something else is not what the task asked for."""
    emu.script_job(emu.job_id, seconds=60)
    theirs = emu.trigger(schema_override="dev")
    assert triggerer.deferral(make(reuse_existing_run=True), context()).trigger.run_id != theirs


def test_joined_run_is_not_cancelled_when_the_time_is_up(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """Somebody else's run goes on after this task's time-out."""
    emu.script_job(emu.job_id, seconds=60)
    emu.trigger()
    with pytest.raises(DbtCloudJobRunException, match="It was left running"):
        triggerer.finish(lambda: make(reuse_existing_run=True, timeout=0.2), context())
    assert not cancels(emu)


@pytest.fixture
def joined(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> int:
    """Somebody else's run, which the task's first try has joined; it is to fail after a minute."""
    emu.script_job(emu.job_id, seconds=60, outcome="error")
    theirs = emu.trigger()
    assert triggerer.deferral(make(reuse_existing_run=True), context()).trigger.run_id == theirs
    return theirs


def test_joined_run_is_not_retried(emu: Emulator, make: Make, context: MakeContext, joined: int) -> None:
    """A later try starts a run of its own when somebody else's has failed."""
    emu.clock.advance(61)
    emu.script_job(emu.job_id)
    make(deferrable=False, retry_from_failure=True).execute(context(try_number=2, max_tries=1))
    assert emu.runs()[-1]["retrying_run_id"] is None


def test_joined_run_is_not_cancelled_for_a_clear(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, joined: int
) -> None:
    """The cleared task may join it again; it is not one that the task left behind."""
    again = triggerer.deferral(make(reuse_existing_run=True), context(try_number=2, max_tries=1))
    assert again.trigger.run_id == joined
    assert not cancels(emu)


def test_joined_run_is_not_cancelled_by_a_kill(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any
) -> None:
    """Nor when this task is killed."""
    emu.script_job(emu.job_id, seconds=60)
    emu.trigger()
    operator = make(reuse_existing_run=True)
    triggerer.deferral(operator, context())
    operator.on_kill()
    assert not cancels(emu)


def test_no_token_anywhere(
    emu: Emulator,
    make: Make,
    context: MakeContext,
    triggerer: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither the log nor the deferral shows the token."""
    emu.script_job(emu.job_id, seconds=60)
    deferred = triggerer.deferral(make(), context())
    assert emu.token not in f"{capsys.readouterr()} {deferred.kwargs} {deferred.trigger.serialize()}"
