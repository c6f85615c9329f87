"""The trigger: what Airflow stores of it, and the one event that it yields."""

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import TaskStatesResult
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import InvalidCredentialsException
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger
from airflow_provider_dbtcloud_dlt.triggers.event import RunEvent


def trigger(run_id: int = 7, **more: Any) -> DbtCloudRunJobTrigger:
    return DbtCloudRunJobTrigger(
        **{
            "conn_id": "dbt_cloud_default",
            "run_id": run_id,
            "end_time": time.time() + 60,
            "poll_interval": 0.05,
            **more,
        }
    )


def test_class_path_leads_to_the_class() -> None:
    """Airflow finds the class again by the stored path."""
    path, _ = trigger().serialize()
    assert path == "airflow_provider_dbtcloud_dlt.triggers.dbt_cloud.DbtCloudRunJobTrigger"


def test_stored_arguments_build_the_same_trigger() -> None:
    """What is stored, as JSON, builds a trigger that stores the same."""
    more = {"hook_params": {"timeout": 5}, "execution_deadline": 9.5, "owner": {"dag_id": "d"}}
    first = trigger(account_id=1, outage_tolerance=3.0, **more).serialize()
    assert DbtCloudRunJobTrigger(**json.loads(json.dumps(first[1]))).serialize() == first


def test_every_argument_is_stored() -> None:
    """None of the arguments is forgotten."""
    arguments = set(inspect.signature(DbtCloudRunJobTrigger.__init__).parameters) - {"self"}
    assert set(trigger().serialize()[1]) == arguments


def test_no_secret_is_stored(emu: Emulator, triggerer: Any) -> None:
    """The token stays in the connection, also after the trigger has run."""
    one = trigger(emu.trigger())
    triggerer.event(one)
    assert emu.token not in json.dumps(one.serialize())


def test_official_triggers_arguments_are_accepted() -> None:
    """A trigger that the official provider's operator stored can be built, by name and by position."""
    official = {
        "conn_id": "dbt_cloud_default",
        "run_id": 7,
        "end_time": 1.0,
        "poll_interval": 60.0,
        "account_id": None,
        "hook_params": {"retry_limit": 3},
        "execution_deadline": None,
    }
    by_name = DbtCloudRunJobTrigger(**official)
    assert by_name.serialize() == DbtCloudRunJobTrigger(*official.values()).serialize()


def test_arguments_of_an_earlier_release_are_enough() -> None:
    """Triggers stored before an argument was added are built without it."""
    assert DbtCloudRunJobTrigger(conn_id="c", run_id=7, end_time=1.0, poll_interval=1).outage_tolerance > 0


def test_run_id_that_is_none_is_refused() -> None:
    """A run id that is no number fails where the trigger is made."""
    with pytest.raises(InvalidCredentialsException, match="run_id must be a positive whole number"):
        trigger("None of them")  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", ["success", "error", "cancelled"])
def test_runs_ending_is_the_events_status(emu: Emulator, triggerer: Any, outcome: Any) -> None:
    """However the run ends: the event says so, with the run and a sentence."""
    emu.script_job(emu.job_id, seconds=0.1, outcome=outcome)
    run_id = emu.trigger()
    event = triggerer.event(trigger(run_id))
    assert (event["status"], event["run_id"]) == (outcome, run_id)
    assert str(run_id) in event["message"]


def test_event_has_three_fields_of_json(emu: Emulator, triggerer: Any) -> None:
    """The event survives Airflow's database."""
    event = triggerer.event(trigger(emu.trigger()))
    assert set(event) == {"status", "run_id", "message"}
    assert json.loads(json.dumps(event)) == event


@pytest.mark.parametrize("limit", ["end_time", "execution_deadline"])
def test_time_is_up(emu: Emulator, triggerer: Any, limit: str) -> None:
    """A run that goes on after either time limit is a timeout, and is not cancelled by the trigger."""
    emu.script_job(emu.job_id, seconds=60)
    event = triggerer.event(trigger(emu.trigger(), **{limit: time.time() + 0.1}))
    assert event["status"] == "timeout"
    assert not emu.runs()[-1]["is_complete"]


def test_api_that_is_gone(emu: Emulator, triggerer: Any) -> None:
    """No usable answer for longer than outage_tolerance is an ending of its own."""
    run_id = emu.trigger()
    emu.fail_next(1000)
    assert triggerer.event(trigger(run_id, outage_tolerance=0.1))["status"] == "unreachable"


def test_account_argument_is_used(emu: Emulator, triggerer: Any) -> None:
    """The trigger asks the account that it was given."""
    triggerer.event(trigger(emu.trigger(), account_id=2, end_time=time.time() + 0.1))
    assert {path.split("/")[4] for _, path in emu.requests} == {"2"}


@pytest.mark.parametrize("status", ["success", "error", "cancelled", "timeout", "unreachable"])
def test_own_events_are_read(status: str) -> None:
    """Every status of the trigger is known to the task."""
    event = RunEvent.read({"status": status, "run_id": 7, "message": "so it was"})
    assert (event.status, event.run_id, event.message) == (status, 7, "so it was")


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "success",
        ["success"],
        {"status": "success"},
        {"run_id": 7},
        {"status": "finished", "run_id": 7},
        {"status": None, "run_id": 7},
        {"status": ["success"], "run_id": 7},
        {"status": "success", "run_id": None},
        {"status": "success", "run_id": "7"},
    ],
)
def test_strange_events_fail_loudly(event: Any) -> None:
    """A missing or unknown event is never taken for a success."""
    with pytest.raises(DbtCloudJobRunException, match="not one of its own"):
        RunEvent.read(event)


# --- killed while it waits ----------------------------------------------------------------------------------

OWNER = {"dag_id": "elt", "run_id": "manual__1", "task_id": "transform", "map_index": -1}


@pytest.fixture
def killed(emu: Emulator, mocker: MockerFixture) -> Callable[..., str]:
    """Kill a trigger while its run goes on, with the task in some state; return what the run is then."""
    emu.script_job(emu.job_id, seconds=600)

    def kill(state: str | None, owner: dict[str, Any] | None = OWNER, key: str = "transform") -> str:
        supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
        supervisor.send.return_value = TaskStatesResult(task_states={"manual__1": {key: state}})
        one = trigger(emu.trigger(), owner=owner)
        asyncio.run(one.on_kill())
        return emu.runs()[-1]["status_humanized"]

    return kill


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", None])
def test_killed_task_cancels_its_run(killed: Callable[..., str], state: str | None) -> None:
    """Marked as ended by a person or with its DAG run, or cleared."""
    assert killed(state) == "Cancelled"


def test_cancellation_leaves_no_connection_open(
    killed: Callable[..., str], open_connections: Callable[[], int]
) -> None:
    """There may be many, in the long life of a triggerer."""
    killed("failed")
    assert open_connections() == 0


@pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running", "restarting"])
def test_task_that_goes_on_keeps_its_run(killed: Callable[..., str], state: str) -> None:
    """The trigger moved to another triggerer, or the next try is about to find the run."""
    assert killed(state) == "Running"


def test_mapped_task_is_found_by_its_index(killed: Callable[..., str]) -> None:
    """Its siblings' states do not count."""
    assert killed("failed", {**OWNER, "map_index": 3}, key="transform_3") == "Cancelled"


def test_run_of_somebody_else_is_left_alone(killed: Callable[..., str]) -> None:
    """A run that was joined belongs to nobody here."""
    assert killed("failed", owner=None) == "Running"


def test_run_goes_on_when_the_tasks_state_cannot_be_learnt(
    killed: Callable[..., str], mocker: MockerFixture, emu: Emulator
) -> None:
    """A trigger that only moves must not cancel what its successor waits for."""
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    supervisor.send.side_effect = OSError("gone")
    asyncio.run(trigger(emu.trigger(), owner=OWNER).on_kill())
    assert emu.runs()[-1]["status_humanized"] == "Running"


def test_api_that_fails_does_not_fail_the_kill(killed: Callable[..., str], emu: Emulator) -> None:
    """Airflow goes on; the log says that the run may."""
    emu.fail_next(5, path="/cancel/")
    assert killed("failed") == "Running"


def test_kill_does_not_wait_for_other_peoples_threads(emu: Emulator, mocker: MockerFixture) -> None:
    """The event loop's own may all be busy."""
    emu.script_job(emu.job_id, seconds=600)
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    supervisor.send.return_value = TaskStatesResult(task_states={"manual__1": {"transform": "failed"}})
    released = threading.Event()

    async def kill() -> None:
        busy = [asyncio.create_task(asyncio.to_thread(released.wait, 10)) for _ in range(64)]
        await asyncio.wait_for(trigger(emu.trigger(), owner=OWNER).on_kill(), 3)
        released.set()
        await asyncio.gather(*busy)

    asyncio.run(kill())
    assert emu.runs()[-1]["status_humanized"] == "Cancelled"


def test_trigger_that_has_fired_cancels_nothing(emu: Emulator, mocker: MockerFixture) -> None:
    """Airflow may call this after a normal end as well."""
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)
    one = trigger(emu.trigger(), owner=OWNER)

    async def fire_and_kill() -> None:
        async for _ in one.run():
            await one.on_kill()

    asyncio.run(fire_and_kill())
    # Airflow 3.1 is told what of a connection is to be masked; the task's state was not asked.
    asked = [call for call in supervisor.send.call_args_list if "GetTaskStates" in str(call)]
    assert asked == []
