"""A task that is killed on its worker cancels its run, unless a later try goes on with it."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import responses
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt import ownership
from airflow_provider_dbtcloud_dlt.compat import AirflowTaskTimeout
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

Make = Callable[..., DbtCloudRunJobOperator]
MakeContext = Callable[..., Any]
AirflowSays = Callable[..., Any]


def airflow_error(status: int) -> AirflowRuntimeError:
    """What a question raises that Airflow's API has answered with a status."""
    return AirflowRuntimeError(
        ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status})
    )


def becomes(emu: Emulator) -> list[str]:
    """What has become of the runs, oldest first."""
    return [run["status_humanized"] for run in emu.runs()]


def test_kill_cancels_the_run(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> None:
    """A task that is killed cancels the run that it started."""
    emu.script_job(emu.job_id, seconds=60)
    operator = make()
    triggerer.deferral(operator, context())
    operator.on_kill()
    assert becomes(emu) == ["Cancelled"]


def test_kill_needs_no_connection_lookup(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler must not ask Airflow: the connection is known from before."""
    emu.script_job(emu.job_id, seconds=60)
    operator = make()
    triggerer.deferral(operator, context())
    monkeypatch.delenv("AIRFLOW_CONN_DBT_CLOUD_DEFAULT")
    operator.on_kill()
    assert becomes(emu) == ["Cancelled"]


def test_kill_asks_once(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cancel that fails is told in the log: the run may go on."""
    emu.script_job(emu.job_id, seconds=60)
    operator = make()
    triggerer.deferral(operator, context())
    emu.fail_next(1000)
    emu.requests.clear()
    operator.on_kill()
    assert [method for method, _ in emu.requests] == ["POST"]
    assert "could not be cancelled and may go on" in capsys.readouterr().out


def test_kill_is_quick(
    make: Make, context: MakeContext, triggerer: Any, connect: Callable[..., None]
) -> None:
    """A host that is gone is not tried again and again while the worker is about to be killed."""
    operator = make()
    with emulator() as emu:
        connect(host=emu.host, login="1", password=emu.token)
        triggerer.deferral(operator, context())
    began = time.monotonic()
    operator.on_kill()
    assert time.monotonic() - began < 2


def test_kill_before_there_is_a_run(emu: Emulator, make: Make) -> None:
    """A task that is killed before it started anything has nothing to do."""
    make().on_kill()
    assert not emu.requests


# --- whose the run is by now -------------------------------------------------------------------------


@pytest.fixture
def first_try(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> DbtCloudRunJobOperator:
    """A task's first try, whose run goes on."""
    emu.script_job(emu.job_id, seconds=600)
    operator = make()
    triggerer.deferral(operator, context(max_tries=2))
    return operator


@pytest.mark.parametrize(("state", "later_try"), [("running", False), ("restarting", True)])
def test_kill_of_the_try_that_works_cancels_its_run(
    emu: Emulator,
    first_try: DbtCloudRunJobOperator,
    airflow_says: AirflowSays,
    state: str,
    later_try: bool,
) -> None:
    """A worker that shuts down, an execution_timeout; a clear, at which Airflow gives the try another id."""
    airflow_says(state, later_try=later_try, job_run_id=first_try.run_id)
    first_try.on_kill()
    assert becomes(emu) == ["Cancelled"]


def test_task_that_a_person_has_ended_cancels_its_run(
    emu: Emulator, first_try: DbtCloudRunJobOperator, airflow_says: AirflowSays
) -> None:
    """The ordinary kill."""
    airflow_says("failed")
    first_try.on_kill()
    assert becomes(emu) == ["Cancelled"]


@pytest.mark.parametrize("state", ["up_for_retry", "queued", "deferred", None])
def test_run_is_left_to_the_try_that_comes(
    emu: Emulator, first_try: DbtCloudRunJobOperator, airflow_says: AirflowSays, state: str | None
) -> None:
    """Airflow has given this worker up, and a later try finds the run."""
    airflow_says(state)
    first_try.on_kill()
    assert becomes(emu) == ["Running"]


def test_worker_that_was_frozen_leaves_the_run_to_its_successor(
    emu: Emulator,
    first_try: DbtCloudRunJobOperator,
    airflow_says: AirflowSays,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second try waits for the same run on another worker; the log says so."""
    airflow_says("running", later_try=True, job_run_id=first_try.run_id)
    first_try.on_kill()
    assert becomes(emu) == ["Running"]
    words = f"Job run {first_try.run_id} goes on: it is left to a later try of its task, which is running."
    assert words in capsys.readouterr().out


def test_successor_that_has_only_begun_keeps_the_run(
    emu: Emulator, first_try: DbtCloudRunJobOperator, airflow_says: AirflowSays
) -> None:
    """What the first try has shown is gone: the second is about to look for the run."""
    airflow_says("running", later_try=True)
    first_try.on_kill()
    assert becomes(emu) == ["Running"]


def test_run_beside_the_successors_is_cancelled(
    emu: Emulator, first_try: DbtCloudRunJobOperator, airflow_says: AirflowSays
) -> None:
    """The second try has started another run: nobody waits for the first one's."""
    airflow_says("running", later_try=True, job_run_id=emu.trigger())
    first_try.on_kill()
    assert becomes(emu) == ["Cancelled", "Running"]


@pytest.mark.parametrize("status", [401, 403])
def test_worker_whose_token_is_refused_leaves_the_run(
    emu: Emulator, first_try: DbtCloudRunJobOperator, airflow_says: AirflowSays, status: int
) -> None:
    """A worker renews its token while it lives: this one was away for long."""
    airflow_says(None).side_effect = airflow_error(status)
    first_try.on_kill()
    assert becomes(emu) == ["Running"]


@pytest.mark.parametrize(
    "error",
    [
        OSError("gone"),
        airflow_error(500),
        AirflowRuntimeError(ErrorResponse()),
    ],
)
def test_kill_that_learns_nothing_cancels_the_run(
    emu: Emulator,
    first_try: DbtCloudRunJobOperator,
    airflow_says: AirflowSays,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    """Killed tasks are more common than frozen workers; the log says what was taken for granted."""
    airflow_says(None).side_effect = error
    first_try.on_kill()
    assert becomes(emu) == ["Cancelled"]


def test_kill_does_not_wait_for_a_lock_of_the_code_that_it_interrupted(
    emu: Emulator,
    first_try: DbtCloudRunJobOperator,
    airflow_says: AirflowSays,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That code goes on only when the signal's handler has returned."""
    monkeypatch.setattr(ownership, "ASK_TIMEOUT", 0.05)
    lock = threading.Lock()
    airflow_says(None).side_effect = lambda message: lock.acquire()
    with lock:
        first_try.on_kill()
    assert becomes(emu) == ["Cancelled"]


def test_mapped_task_is_asked_for_by_its_index(
    emu: Emulator, make: Make, context: MakeContext, triggerer: Any, airflow_says: AirflowSays
) -> None:
    """Its siblings' states and runs do not count."""
    emu.script_job(emu.job_id, seconds=600)
    its_context = context()
    its_context["ti"].map_index = 3
    operator = make()
    triggerer.deferral(operator, its_context)
    sent = airflow_says("running", key="transform_3", later_try=True, job_run_id=operator.run_id)
    sent.reset_mock()
    operator.on_kill()
    asked = [call.args[0] for call in sent.call_args_list]
    assert {message.map_index for message in asked if hasattr(message, "map_index")} == {3}
    assert becomes(emu) == ["Running"]


def test_frozen_worker_leaves_the_run_when_its_own_time_is_up(
    emu: Emulator,
    first_try: DbtCloudRunJobOperator,
    make: Make,
    context: MakeContext,
    airflow_says: AirflowSays,
) -> None:
    """The successor has a time-out of its own."""
    airflow_says("running", later_try_after=1, job_run_id=first_try.run_id)
    frozen = make(deferrable=False, timeout=0.2)
    with pytest.raises(DbtCloudJobRunException, match=r"It was left running: it is left to a later try"):
        frozen.execute(context(try_number=2, max_tries=2))
    assert becomes(emu) == ["Running"]


@pytest.fixture
def resume_late(emu: Emulator, make: Make, context: MakeContext, triggerer: Any) -> Callable[[], None]:
    """Resume a deferred task, whose run goes on, since its time is up."""
    emu.script_job(emu.job_id, seconds=600)
    its_context = context()
    deferred = triggerer.deferral(make(), its_context)
    event = {"status": "timeout", "run_id": deferred.trigger.run_id, "message": "The time is up."}
    return lambda: triggerer.resume(make(), deferred, its_context, event)


def test_frozen_worker_of_a_resumed_task_leaves_the_run(
    emu: Emulator, resume_late: Callable[[], None], airflow_says: AirflowSays
) -> None:
    """The time-out that it was resumed for is its successor's concern."""
    airflow_says("running", later_try=True)
    with pytest.raises(DbtCloudJobRunException, match="left running: it is left to a later try"):
        resume_late()
    assert becomes(emu) == ["Running"]


def test_task_that_is_given_up_in_a_cool_down_leaves_the_run(
    emu: Emulator, resume_late: Callable[[], None], airflow_says: AirflowSays, mocker: MockerFixture
) -> None:
    """Whose the run is is asked again after the rate limit has refused the cancellation."""
    airflow_says("running", later_try_after=1)
    emu.fail_next(1, status=429, path="/cancel/", headers={"Retry-After": "300"})
    mocker.patch("time.sleep")
    with pytest.raises(DbtCloudJobRunException, match="left running: it is left to a later try"):
        resume_late()
    assert becomes(emu) == ["Running"]


def test_frozen_worker_starts_nothing(
    emu: Emulator, make: Make, context: MakeContext, airflow_says: AirflowSays
) -> None:
    """One that was frozen before it could start a run leaves that to its successor."""
    airflow_says("running", later_try=True)
    with pytest.raises(
        DbtCloudJobRunException, match=r"given this try of the task up.*: it starts no job run"
    ):
        make().execute(context())
    assert emu.runs() == []


@pytest.mark.parametrize("status", [401, 403])
def test_worker_whose_token_is_refused_starts_nothing(
    emu: Emulator, make: Make, context: MakeContext, airflow_says: AirflowSays, status: int
) -> None:
    """It was away for longer than a token is valid: Airflow has given it up."""
    airflow_says(None).side_effect = airflow_error(status)
    with pytest.raises(DbtCloudJobRunException, match="starts no job run"):
        make().execute(context())
    assert emu.runs() == []


@pytest.mark.parametrize(("theirs", "end"), [(False, "Running"), (True, "Cancelled")])
def test_worker_that_was_frozen_in_its_trigger_takes_nobodys_place(
    emu: Emulator, make: Make, context: MakeContext, airflow_says: AirflowSays, theirs: bool, end: str
) -> None:
    """Its run is left to a later try, unless that has another, whose XComs it must not replace."""
    emu.script_job(emu.job_id, seconds=600)
    shown = {"job_run_id": 999} if theirs else {}
    airflow_says("deferred", later_try_after=1, **shown)
    its_context = context()
    with pytest.raises(DbtCloudJobRunException, match=r"given this try of the task up.* with job run \d+"):
        make().execute(its_context)
    assert (becomes(emu), its_context["ti"].xcoms) == ([end], {})


def test_task_that_does_not_wait_leaves_its_run(emu: Emulator, make: Make, context: MakeContext) -> None:
    """Whatever becomes of it once it has its result."""
    emu.script_job(emu.job_id, seconds=600)
    operator = make(wait_for_termination=False)
    operator.execute(context())
    operator.on_kill()
    assert becomes(emu) == ["Running"]


def test_run_is_started_although_airflow_does_not_answer(
    emu: Emulator, make: Make, context: MakeContext, airflow_says: AirflowSays
) -> None:
    """Whether there is a later try is asked for safety's sake only."""
    airflow_says(None).side_effect = airflow_error(500)
    make(wait_for_termination=False).execute(context())
    assert len(emu.runs()) == 1


# --- killed while the run is being started -----------------------------------------------------------


def test_task_that_was_killed_starts_nothing(emu: Emulator, make: Make, context: MakeContext) -> None:
    """Airflow lets it go on for some seconds after the kill."""
    operator = make()
    operator.on_kill()
    with pytest.raises(DbtCloudJobRunException, match="killed before it had started a job run"):
        operator.execute(context())
    assert emu.runs() == []


@pytest.mark.parametrize(("cancel", "end"), [(True, "Cancelled"), (False, "Running")])
def test_execution_timeout_while_the_trigger_is_on_its_way(
    emu: Emulator, make: Make, context: MakeContext, cancel: bool, end: str
) -> None:
    """The run is found by its marker, and cancelled where that is wanted."""
    emu.script_job(emu.job_id, seconds=600)

    def interrupt(request: Any) -> Any:
        emu.trigger(**json.loads(request.body))
        raise AirflowTaskTimeout

    with responses.RequestsMock() as wire:
        wire.add_passthru(emu.url)
        wire.add_callback("POST", re.compile(f"{emu.url}/api/.*/run/$"), interrupt)
        with pytest.raises(AirflowTaskTimeout):
            make(cancel_on_timeout=cancel).execute(context())
    assert becomes(emu) == [end]


@pytest.fixture
def kill_in_between(emu: Emulator, make: Make, context: MakeContext) -> Callable[[], None]:
    """Kill a task after its trigger was carried out and before that is answered."""
    emu.script_job(emu.job_id, seconds=600)
    operator = make()

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        emu.trigger(**json.loads(request.body))
        operator.on_kill()
        return 200, {}, json.dumps({"data": emu.runs()[-1]})

    def execute() -> None:
        with responses.RequestsMock() as wire:
            wire.add_passthru(emu.url)
            wire.add_callback("POST", re.compile(f"{emu.url}/api/.*/run/$"), answer)
            with pytest.raises(DbtCloudJobRunException, match="killed while a job run was being started"):
                operator.execute(context())

    return execute


def test_kill_while_the_trigger_is_on_its_way_cancels_the_run(
    emu: Emulator, kill_in_between: Callable[[], None]
) -> None:
    """As soon as the run is known."""
    kill_in_between()
    assert becomes(emu) == ["Cancelled"]


def test_frozen_worker_that_is_killed_in_its_trigger_leaves_the_run(
    emu: Emulator, kill_in_between: Callable[[], None], airflow_says: AirflowSays
) -> None:
    """A later try is about to find it, or has found it."""
    airflow_says("running", later_try_after=1)
    kill_in_between()
    assert becomes(emu) == ["Running"]


@contextmanager
def interrupted_cool_down(emu: Emulator, handler: Callable[..., None]) -> Iterator[None]:
    """Let the rate limit refuse the trigger for five minutes, and a signal come right after that."""

    def refuse(request: Any) -> tuple[int, dict[str, str], str]:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return 429, {"Retry-After": "300"}, ""

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with responses.RequestsMock() as wire:
            wire.add_passthru(emu.url)
            wire.add_callback("POST", re.compile(f"{emu.url}/api/.*/run/$"), refuse)
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_kill_ends_the_wait_for_the_rate_limit(emu: Emulator, make: Make, context: MakeContext) -> None:
    """Nothing was started, and nothing is."""
    operator = make()
    killed = pytest.raises(DbtCloudJobRunException, match="killed while a job run was being started")
    with killed, interrupted_cool_down(emu, lambda *_: operator.on_kill()):
        operator.execute(context())
    assert emu.runs() == []


def test_execution_timeout_ends_the_wait_for_the_rate_limit(
    emu: Emulator, make: Make, context: MakeContext
) -> None:
    """Likewise."""

    def interrupt(*_: object) -> None:
        raise AirflowTaskTimeout

    with pytest.raises(AirflowTaskTimeout), interrupted_cool_down(emu, interrupt):
        make().execute(context())
    assert emu.runs() == []
