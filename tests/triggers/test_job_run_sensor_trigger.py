"""The trigger that is a sensor's whole life: what it shows in XComs, and the event that ends the task."""

import asyncio
import inspect
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.execution_time.comms import DeleteXCom, GetXCom, SetXCom, XComResult
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from dbt_artifacts import result, run_results
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.compat import STARTS_IN_TRIGGERER
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import DbtCloudRunSensorTrigger

pytestmark = pytest.mark.skipif(not STARTS_IN_TRIGGERER, reason="here, sensors begin on a worker")

FAILING = [("Invoke dbt with `dbt build`", "error", "ok\nDatabase Error in model daily_delays")]


class FakeAirflow:
    """What a triggerer answers its triggers; `xcoms` by task and key."""

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.takes_xcoms = True

    async def asend(self, message: Any) -> Any:
        if isinstance(message, GetXCom):
            return XComResult(key=message.key, value=self.xcoms.get((message.task_id, message.key)))
        if isinstance(message, SetXCom):
            if not self.takes_xcoms:
                raise ConnectionError("Airflow's database is locked")
            self.xcoms[message.task_id, message.key] = message.value
        elif isinstance(message, DeleteXCom):
            self.xcoms.pop((message.task_id, message.key), None)
        else:
            raise NotImplementedError(message)
        return None


@pytest.fixture
def airflow(mocker: MockerFixture) -> FakeAirflow:
    """The Airflow around the trigger; logs of failing steps need no time to come."""
    mocker.patch("airflow_provider_dbtcloud_dlt.triggers.job_run_sensor.SETTLING_SECONDS", 0.0)
    fake = FakeAirflow()
    comms = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    comms.asend = fake.asend
    return fake


def trigger(run_id: Any = None, **more: Any) -> DbtCloudRunSensorTrigger:
    arguments = {
        "dbt_cloud_conn_id": "dbt_cloud_default",
        "run_id": run_id,
        "poll_interval": 0.05,
        "log_results": False,
        "emit_lineage": False,
        **more,
    }
    return DbtCloudRunSensorTrigger(**arguments)


def as_airflow_starts(
    one: DbtCloudRunSensorTrigger, try_number: int = 1, begun: float = 0.0
) -> DbtCloudRunSensorTrigger:
    """The trigger, built again from what is stored, for a try that began some seconds ago."""
    again = DbtCloudRunSensorTrigger(**json.loads(json.dumps(one.serialize()[1])))
    again.task_instance = SimpleNamespace(
        dag_id="elt", run_id="manual__1", task_id="wait", map_index=-1, try_number=try_number
    )
    again.timeout_after = datetime.fromtimestamp(time.time() - begun + again.airflow_limit, UTC)
    return again


def event_of(one: DbtCloudRunSensorTrigger, **how: Any) -> Any:
    """Run a trigger to its one event."""
    return events_of([as_airflow_starts(one, **how)])[0]


def events_of(triggers: list[DbtCloudRunSensorTrigger]) -> list[Any]:
    async def event(one: DbtCloudRunSensorTrigger) -> Any:
        (found,) = [event async for event in one.run()]
        return found

    async def all_of_them() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*map(event, triggers)), 20)

    return asyncio.run(all_of_them())


# --- what is stored -----------------------------------------------------------------------------------------


def test_every_argument_is_stored() -> None:
    """None of the arguments is forgotten."""
    arguments = set(inspect.signature(DbtCloudRunSensorTrigger.__init__).parameters) - {"self"}
    assert set(trigger(7).serialize()[1]) == arguments


def test_class_path_leads_to_the_class() -> None:
    """Airflow finds the class again by the stored path."""
    expected = "airflow_provider_dbtcloud_dlt.triggers.job_run_sensor.DbtCloudRunSensorTrigger"
    assert trigger(7).serialize()[0] == expected


def test_no_secret_is_stored(emu: Emulator, airflow: FakeAirflow) -> None:
    """The token stays in the connection, also after the trigger has run."""
    one = as_airflow_starts(trigger(emu.trigger()))
    events_of([one])
    assert emu.token not in json.dumps(one.serialize()) + json.dumps(str(airflow.xcoms))


@pytest.mark.parametrize("value", [None, "", "last", -1, "{{ broken"])
def test_building_it_never_fails(value: Any) -> None:
    """An error there would end the triggerer with all of its triggers."""
    DbtCloudRunSensorTrigger(dbt_cloud_conn_id=value, run_id=value, account_id=value)


# --- how it ends --------------------------------------------------------------------------------------------


def test_success(emu: Emulator, airflow: FakeAirflow) -> None:
    """The task succeeds."""
    emu.script_job(emu.job_id, seconds=0.2)
    assert isinstance(event_of(trigger(emu.trigger())), TaskSuccessEvent)


def test_xcoms(emu: Emulator, airflow: FakeAirflow) -> None:
    """They are those that a worker leaves behind, the run's id a number."""
    run_id = emu.trigger()
    event_of(trigger(str(run_id)))
    page = emu.runs()[-1]["href"]
    assert airflow.xcoms == {
        ("wait", "return_value"): run_id,
        ("wait", "job_run_id"): run_id,
        ("wait", "job_run_url"): page,
        ("wait", "_link_DbtCloudRunLink"): page,
    }


def test_result_is_not_pushed(emu: Emulator, airflow: FakeAirflow) -> None:
    """With do_xcom_push=False there is no result."""
    event_of(trigger(emu.trigger(), pushes_result=False))
    assert ("wait", "return_value") not in airflow.xcoms


def test_run_is_shown_while_it_goes_on(emu: Emulator, airflow: FakeAirflow) -> None:
    """The link is there while the task waits."""
    emu.script_job(emu.job_id, seconds=60)
    one = as_airflow_starts(trigger(emu.trigger()))

    async def until_shown() -> None:
        waiting = asyncio.create_task(anext(one.run()))
        while ("wait", "job_run_id") not in airflow.xcoms:
            await asyncio.sleep(0.02)
        waiting.cancel()

    asyncio.run(asyncio.wait_for(until_shown(), 20))
    assert airflow.xcoms["wait", "job_run_url"] == emu.runs()[-1]["href"]


def test_result_of_an_earlier_try_is_forgotten(emu: Emulator, airflow: FakeAirflow) -> None:
    """A task that was cleared has no result until it has a new one."""
    forgotten = {("wait", key) for key in ("return_value", "dbt_cloud_run_results", "dbt_cloud_run_picture")}
    airflow.xcoms.update(dict.fromkeys(forgotten, 6))
    emu.script_job(emu.job_id, outcome="error")
    event_of(trigger(emu.trigger()), try_number=2)
    assert forgotten.isdisjoint(airflow.xcoms)


@pytest.mark.parametrize("outcome", ["error", "cancelled"])
def test_failure(emu: Emulator, airflow: FakeAirflow, outcome: Any) -> None:
    """A run that failed or was cancelled fails the task."""
    emu.script_job(emu.job_id, seconds=0.2, outcome=outcome)
    assert isinstance(event_of(trigger(emu.trigger())), TaskFailedEvent)


def test_log_says_why(emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    """The failing step, and the end of its log."""
    emu.script_job(emu.job_id, seconds=0.1, steps=FAILING)
    event_of(trigger(emu.trigger()))
    log = capsys.readouterr().out
    assert "has failed at step 3, 'Invoke dbt with `dbt build`'" in log
    assert "Database Error in model daily_delays" in log


def _fails_with_results(emu: Emulator) -> None:
    results = run_results(result("model.shop.a", "error", message="no table x"), result("model.shop.b"))
    emu.script_job(emu.job_id, seconds=0.1, steps=FAILING, artifacts={"run_results.json": results})


def test_failed_nodes_are_told(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log and in an XCom; no manifest is read for it, which is large."""
    _fails_with_results(emu)
    event_of(trigger(emu.trigger(), log_results=True))
    assert "1 of 2 nodes failed: model.shop.a (no table x)" in capsys.readouterr().out
    assert airflow.xcoms["wait", "dbt_cloud_run_results"]["counts"] == {"error": 1, "success": 1}
    picture = airflow.xcoms["wait", "dbt_cloud_run_picture"]
    assert (picture["nodes"]["name"], picture["critical"]) == (["a", "b"], None)
    assert not [path for _, path in emu.requests if "manifest" in path]


def test_summary_that_cannot_be_stored(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    """It hides nothing of the run's own result."""
    _fails_with_results(emu)
    aset = DbtCloudRunSensorTrigger.run.__globals__["XCom"].aset

    async def refuse(key: str, *more: Any, **place: Any) -> None:
        if key == "dbt_cloud_run_results":
            raise ConnectionError("Airflow's database is locked")
        await aset(key, *more, **place)

    mocker.patch("airflow.sdk.execution_time.xcom.XCom.aset", refuse)
    assert isinstance(event_of(trigger(emu.trigger(), log_results=True)), TaskFailedEvent)
    assert "could not be stored. Airflow's database is locked" in capsys.readouterr().out


def test_soft_failure(emu: Emulator, airflow: FakeAirflow) -> None:
    """With soft_fail or never_fail the task is skipped."""
    emu.script_job(emu.job_id, outcome="error")
    assert isinstance(event_of(trigger(emu.trigger(), is_soft=True)), TaskSkippedEvent)


def test_run_that_does_not_exist(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time-out says that the run was never seen."""
    assert isinstance(event_of(trigger(999, timeout=0.3)), TaskFailedEvent)
    assert "Job run 999 has not ended within the timeout; it was never seen" in capsys.readouterr().out


def test_api_that_is_gone(emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    """No usable answer for longer than outage_tolerance fails the task."""
    run_id = emu.trigger()
    emu.fail_next(1000)
    assert isinstance(event_of(trigger(run_id, outage_tolerance=0.1)), TaskFailedEvent)
    assert "longer than outage_tolerance" in capsys.readouterr().out


# --- time-outs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
def test_time_is_up(emu: Emulator, airflow: FakeAirflow, limit: str) -> None:
    """Either limit fails the task, and the run goes on."""
    emu.script_job(emu.job_id, seconds=60)
    assert isinstance(event_of(trigger(emu.trigger(), **{limit: 0.3})), TaskFailedEvent)
    assert not emu.runs()[-1]["is_complete"]


@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
def test_time_counts_from_the_trys_beginning(emu: Emulator, airflow: FakeAirflow, limit: str) -> None:
    """A triggerer that starts again does not give the sensor its time anew."""
    emu.script_job(emu.job_id, seconds=60)
    assert isinstance(event_of(trigger(emu.trigger(), **{limit: 100}), begun=101), TaskFailedEvent)


def test_run_that_ended_while_no_triggerer_was_there(emu: Emulator, airflow: FakeAirflow) -> None:
    """It is looked at once, whatever the time: it may have ended well before the time was up."""
    run_id = emu.trigger()
    assert isinstance(event_of(trigger(run_id, timeout=60), begun=3600), TaskSuccessEvent)


def test_execution_timeout_is_no_time_out_of_the_sensor(emu: Emulator, airflow: FakeAirflow) -> None:
    """A sensor's own is final and may need a worker; execution_timeout is an ordinary failure."""
    emu.script_job(emu.job_id, seconds=60)
    one = trigger(emu.trigger(), execution_timeout=0.3, on_worker=["timeout"])
    assert isinstance(event_of(one), TaskFailedEvent)


def test_run_that_ends_in_time_is_no_time_out(emu: Emulator, airflow: FakeAirflow) -> None:
    """The last look is at the limit itself."""
    emu.script_job(emu.job_id, seconds=0.1)
    assert isinstance(event_of(trigger(emu.trigger(), timeout=0.5, poll_interval=60)), TaskSuccessEvent)


# --- which run ----------------------------------------------------------------------------------------------


def test_run_of_another_task(emu: Emulator, airflow: FakeAirflow) -> None:
    """Its XCom is the run's id."""
    airflow.xcoms["start", "job_run_id"] = emu.trigger()
    assert isinstance(event_of(trigger(upstream=("start", "job_run_id"))), TaskSuccessEvent)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "run_id is empty: task 'start' has left nothing under the XCom key 'return_value'."),
        ("", "run_id must be a whole number, but task 'start' has left ''"),
        ("last", "run_id must be a whole number, but task 'start' has left 'last'"),
        ([1, 2], "run_id must be a whole number, but task 'start' has left '[1, 2]'"),
    ],
)
def test_xcom_that_is_no_run(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str], value: Any, sentence: str
) -> None:
    """The log names the argument, the task and the key; the task fails, soft_fail or not."""
    airflow.xcoms["start", "return_value"] = value
    event = event_of(trigger(upstream=("start", "return_value"), is_soft=True))
    assert isinstance(event, TaskFailedEvent)
    assert sentence in capsys.readouterr().out


def test_run_of_the_connection(emu: Emulator, airflow: FakeAirflow, connect: Callable[..., None]) -> None:
    """A sensor that names no run waits for the connection's."""
    run_id = emu.trigger()
    connect(host=emu.host, login="1", password=emu.token, extra={"run_id": run_id})
    event_of(trigger())
    assert airflow.xcoms["wait", "return_value"] == run_id


def test_no_run_at_all(emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any run all the places where it can be named are told."""
    assert isinstance(event_of(trigger()), TaskFailedEvent)
    assert "'wait' names no run: give run_id, such as the output" in capsys.readouterr().out


@pytest.mark.parametrize("field", ["run_id", "account_id"])
def test_template_that_rendered_to_nothing(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    """The argument is named."""
    assert isinstance(event_of(trigger(**{"run_id": 7, field: "None"})), TaskFailedEvent)
    assert f"{field} is empty: its template rendered to nothing" in capsys.readouterr().out


def test_account_argument_is_used(emu: Emulator, airflow: FakeAirflow) -> None:
    """The account that was given is asked, also when a template gave it."""
    event_of(trigger(emu.trigger(), account_id="2", timeout=0.2))
    assert {path.split("/")[4] for _, path in emu.requests} == {"2"}


# --- the connection -----------------------------------------------------------------------------------------


def test_connection_that_does_not_exist(
    airflow: FakeAirflow, connect: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails at once, with the worker's sentence."""
    connect("broken", password="")
    assert isinstance(event_of(trigger(7, dbt_cloud_conn_id="broken")), TaskFailedEvent)
    assert "the API token is empty" in capsys.readouterr().out


def test_refused_token_fails_at_once(
    emu: Emulator, airflow: FakeAirflow, connect: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that is wrong from the start is told before anybody waits."""
    connect(host=emu.host, login="1", password="wrong-token")
    assert isinstance(event_of(trigger(emu.trigger())), TaskFailedEvent)
    assert "401" in capsys.readouterr().out


def test_token_that_was_rotated_while_the_triggerer_was_away(
    emu: Emulator, airflow: FakeAirflow, connect: Callable[..., None]
) -> None:
    """A wait that began a while ago reads the connection again."""
    connect(host=emu.host, login="1", password="the-old-one")
    fields = {"host": emu.host, "login": "1", "password": emu.token}
    renew = threading.Timer(0.3, connect, kwargs=fields)
    renew.start()
    assert isinstance(event_of(trigger(emu.trigger()), begun=3600), TaskSuccessEvent)


def test_token_that_was_rotated_just_before(
    emu: Emulator, airflow: FakeAirflow, connect: Callable[..., None]
) -> None:
    """The poller that others share may still have the old token at a new sensor's first look."""
    emu.script_job(emu.job_id, seconds=60)
    others = emu.trigger()
    emu.script_job(emu.job_id)
    mine = emu.trigger()

    async def main() -> Any:
        waits = asyncio.create_task(anext(as_airflow_starts(trigger(others, poll_interval=100)).run()))
        while not emu.requests:
            await asyncio.sleep(0.01)
        emu.rotate_token("another-token")
        connect(host=emu.host, login="1", password="another-token")
        event = await anext(as_airflow_starts(trigger(mine)).run())
        waits.cancel()
        return event

    assert isinstance(asyncio.run(asyncio.wait_for(main(), 20)), TaskSuccessEvent)


def test_connection_is_looked_up_once_for_many(
    emu: Emulator, airflow: FakeAirflow, mocker: MockerFixture
) -> None:
    """Triggers that begin together share the look-up, and the poller has one of its own."""
    looked_up = mocker.spy(BaseHook, "aget_connection")
    one = trigger(emu.trigger())
    events_of([as_airflow_starts(one) for _ in range(20)])
    assert looked_up.call_count == 2


def test_steps_are_read_although_a_request_fails(
    emu: Emulator, airflow: FakeAirflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """A passing failure costs nobody the reason."""
    emu.script_job(emu.job_id, outcome="error", steps=FAILING)
    run_id = emu.trigger()
    emu.fail_next(1, status=502, path="include_related=run_steps")
    event_of(trigger(run_id))
    assert "Database Error in model daily_delays" in capsys.readouterr().out


def test_thousands_that_fail_do_not_wait_for_each_others_logs(emu: Emulator, airflow: FakeAirflow) -> None:
    """A run that leaves neither log nor artifacts takes no longer than one that does."""
    emu.script_job(emu.job_id, outcome="cancelled", seconds=0.2)
    triggers = [as_airflow_starts(trigger(emu.trigger())) for _ in range(20)]
    began = time.monotonic()
    events_of(triggers)
    assert time.monotonic() - began < 5


def test_failures_cost_few_requests_at_once(
    emu: Emulator, airflow: FakeAirflow, connect: Callable[..., None]
) -> None:
    """A hundred runs that fail together are read one after the other, within the account's budget."""
    connect(host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": 600})
    emu.script_job(emu.job_id, outcome="error", steps=FAILING)
    triggers = [as_airflow_starts(trigger(emu.trigger())) for _ in range(24)]
    began = time.monotonic()
    assert {type(event) for event in events_of(triggers)} == {TaskFailedEvent}
    assert time.monotonic() - began >= 1.0  # a hundred requests at once, then ten a second


# --- what a worker does -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "script", "more"),
    [
        ("success", {}, {}),
        ("failure", {"outcome": "error"}, {}),
        ("skip", {"outcome": "error"}, {"is_soft": True}),
        ("timeout", {"seconds": 60}, {"timeout": 0.2}),
    ],
)
def test_outcomes_for_a_worker(
    emu: Emulator, airflow: FakeAirflow, outcome: Any, script: dict[str, Any], more: dict[str, Any]
) -> None:
    """The task goes on on a worker, which is told how the wait ended and until when it might have lasted."""
    emu.script_job(emu.job_id, **script)
    run_id = emu.trigger()
    event = event_of(trigger(run_id, on_worker=[outcome], **more))
    assert type(event) is TriggerEvent
    assert json.loads(json.dumps(event.payload)).keys() == {
        "status",
        "run_id",
        "message",
        "end_time",
        "execution_deadline",
    }
    assert ("wait", "return_value") not in airflow.xcoms


@pytest.mark.parametrize(("emit_lineage", "kind"), [(True, TriggerEvent), (False, TaskSuccessEvent)])
def test_task_of_which_openlineage_is_told(
    emu: Emulator, airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch, emit_lineage: bool, kind: type
) -> None:
    """It ends on a worker: Airflow's listeners are told of tasks there only."""
    if not os.environ.get("CI"):
        pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage is not installed")
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "console"}')
    run_id = emu.trigger()
    event = event_of(trigger(run_id, emit_lineage=emit_lineage))
    assert type(event) is kind
    if emit_lineage:
        assert (event.payload["status"], event.payload["run_id"]) == ("success", run_id)


def test_openlineage_that_is_off(emu: Emulator, airflow: FakeAirflow) -> None:
    """Nothing speaks against ending in the triggerer."""
    assert isinstance(event_of(trigger(emu.trigger(), emit_lineage=True)), TaskSuccessEvent)


def test_mistake_for_a_worker(emu: Emulator, airflow: FakeAirflow) -> None:
    """Where failures are a worker's, it begins anew, and comes upon the mistake itself."""
    event = event_of(trigger(run_id="last", on_worker=["failure"]))
    assert type(event) is TriggerEvent
    assert event.payload.keys() == {"begun"}


def test_airflow_that_takes_no_xcom(emu: Emulator, airflow: FakeAirflow) -> None:
    """Whatever goes wrong here: a worker does it, in what is left of the time."""
    airflow.takes_xcoms = False
    event = event_of(trigger(emu.trigger()), begun=100)
    assert type(event) is TriggerEvent
    assert event.payload == {"begun": pytest.approx(time.time() - 100, abs=15)}
