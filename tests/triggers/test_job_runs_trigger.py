"""The event trigger for asset watchers: what it tells of, also over a restart, and how it shares looks."""

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.triggers import poller
from airflow_provider_dbtcloud_dlt.triggers.job_runs import DbtCloudJobRunsTrigger


class Store:
    """An asset's store of Airflow 3.3."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.fails = 0

    async def aget(self, key: str) -> Any:
        return json.loads(self.values[key]) if key in self.values else None

    async def aset(self, key: str, value: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("Airflow is not there")
        self.values[key] = json.dumps(value)


class StoreOfTwo(Store):
    """What Airflow says when a trigger is several assets'."""

    async def aget(self, key: str) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")


def trigger(**more: Any) -> DbtCloudJobRunsTrigger:
    return DbtCloudJobRunsTrigger(**{"poll_interval": 0.1, **more})


class Life:
    """A trigger that runs in a triggerer; `told` has its events."""

    def __init__(self, store: Store | None = None, **arguments: Any) -> None:
        self.told: list[Any] = []
        _, stored = trigger(**arguments).serialize()
        self.trigger = DbtCloudJobRunsTrigger(**json.loads(json.dumps(stored)))
        self.trigger.asset_state_store = store  # type: ignore[assignment]
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for event in self.trigger.run():
            self.told.append(json.loads(json.dumps(event.payload)))

    async def end(self) -> list[Any]:
        """Stop it; return the runs that it has told of."""
        self._task.cancel()
        await asyncio.wait([self._task])
        return [event["run_id"] for event in self.told]

    async def seen(self, number: int = 1) -> None:
        """Wait until it has told of so many."""
        async with asyncio.timeout(10):
            while len(self.told) < number:
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.02)


def live(main: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 30))


LOOKS = 0.6
"""Seconds in which several looks are made."""


def test_run_that_ends(emu: Emulator) -> None:
    """Whoever has started it: the event says which run it was, and how it ended."""
    emu.script_job(emu.job_id, seconds=0, outcome="error")

    async def main() -> Any:
        one = Life()
        await asyncio.sleep(LOOKS)
        run_id = emu.trigger(cause="scheduled")
        await one.seen()
        await asyncio.sleep(LOOKS)
        assert await one.end() == [run_id]
        return one.told[0]

    event, run = live(main), emu.runs()[0]
    assert event["status"] == "error"
    assert (event["job_id"], event["href"]) == (emu.job_id, run["href"])
    assert event["project_id"] == run["project_id"]
    assert event["environment_id"] == run["environment_id"]
    assert event["finished_at"].startswith(run["finished_at"][:10])


def test_run_of_before_is_not_told_of(emu: Emulator) -> None:
    """A new watcher begins now."""
    emu.script_job(emu.job_id, seconds=0)
    emu.trigger()

    async def main() -> Any:
        await asyncio.sleep(0.1)
        one = Life()
        await asyncio.sleep(LOOKS)
        return await one.end()

    assert live(main) == []


@pytest.mark.parametrize("pause", [0.0, LOOKS], ids=["at once", "later"])
def test_restart(emu: Emulator, pause: float) -> None:
    """What ends while no triggerer is up is told of afterwards, and what was told of is not repeated."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        store = Store()
        first = Life(store)
        await asyncio.sleep(LOOKS)
        before = emu.trigger()
        await first.seen()
        await asyncio.sleep(LOOKS)
        assert await first.end() == [before]
        meanwhile = [emu.trigger(), emu.trigger()]
        await asyncio.sleep(pause)
        second = Life(store)
        await second.seen(2)
        await asyncio.sleep(LOOKS)
        return meanwhile, await second.end()

    meanwhile, told = live(main)
    assert told == meanwhile


def test_crash_just_after_an_event(emu: Emulator) -> None:
    """It is not known whether Airflow has stored the event: it is repeated rather than lost."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        store = Store()
        first = Life(store, poll_interval=0.4)
        await asyncio.sleep(LOOKS)
        run_id = emu.trigger()
        await first.seen()
        await first.end()
        second = Life(store, poll_interval=0.4)
        await second.seen()
        return run_id, await second.end()

    run_id, told = live(main)
    assert told == [run_id]


def test_store_that_fails(emu: Emulator) -> None:
    """The watcher goes on, and stores later."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        store = Store()
        store.fails = 3
        one = Life(store)
        await asyncio.sleep(LOOKS)
        run_id = emu.trigger()
        await one.seen()
        await asyncio.sleep(LOOKS)
        assert await one.end() == [run_id]
        return store.values

    assert len(live(main)) == 1


@pytest.mark.parametrize("store", [None, StoreOfTwo()], ids=["before 3.3", "two assets"])
def test_without_a_store(emu: Emulator, store: Store | None) -> None:
    """Nothing can be kept: a restart begins anew, and events come all the same."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        one = Life(store)
        await asyncio.sleep(LOOKS)
        run_id = emu.trigger()
        await one.seen()
        return run_id, await one.end()

    run_id, told = live(main)
    assert told == [run_id]


def test_stored_by_another_release(emu: Emulator) -> None:
    """What can't be read is no cursor."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        store = Store()
        store.values[trigger()._cursor_key] = '"nonsense"'
        one = Life(store)
        await asyncio.sleep(LOOKS)
        emu.trigger()
        await one.seen()
        return await one.end()

    assert len(live(main)) == 1


def test_filters(emu: Emulator) -> None:
    """Each watcher is told of the runs that it wants."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        run_of = {"job_id": emu.job_id}
        watchers = {
            name: Life(**arguments)
            for name, arguments in {
                "all": {},
                "job": {"job_ids": [run_of["job_id"], 5]},
                "other job": {"job_ids": 5},
                "success": {"statuses": "success"},
                "failures": {"statuses": ["error", "cancelled"]},
                "other project": {"project_id": 999},
                "other environment": {"environment_id": 999},
            }.items()
        }
        await asyncio.sleep(LOOKS)
        good = emu.trigger()
        await watchers["all"].seen()
        emu.script_job(emu.job_id, seconds=0, outcome="error")
        bad = emu.trigger()
        await watchers["all"].seen(2)
        await asyncio.sleep(LOOKS)
        return good, bad, {name: await one.end() for name, one in watchers.items()}

    good, bad, told = live(main)
    assert told == {
        "all": [good, bad],
        "job": [good, bad],
        "other job": [],
        "success": [good],
        "failures": [bad],
        "other project": [],
        "other environment": [],
    }


def test_watchers_share_their_looks(emu: Emulator) -> None:
    """Forty watchers ask as often as one."""

    async def main() -> None:
        watchers = [Life(job_ids=number + 1, poll_interval=0.3) for number in range(40)]
        await asyncio.sleep(1.5)
        for one in watchers:
            await one.end()
        assert not poller._pollers[asyncio.get_running_loop()]

    live(main)
    assert 2 <= len(emu.requests) <= 8


def test_outage_is_outlived(emu: Emulator) -> None:
    """Runs that end while dbt Cloud does not answer are told of afterwards."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> Any:
        one = Life()
        await asyncio.sleep(LOOKS)
        emu.fail_next(4, status=502, path=r"GET .*/runs/\?.*")
        run_id = emu.trigger()
        await one.seen()
        return run_id, await one.end()

    run_id, told = live(main)
    assert told == [run_id]


def test_every_argument_is_stored() -> None:
    """What is stored, as JSON, builds a trigger that stores the same; no argument is forgotten."""
    arguments: Any = {"job_ids": (3, 2), "statuses": {"error"}, "hook_params": {"timeout": 5}}
    path, stored = trigger(**arguments).serialize()
    assert path == "airflow_provider_dbtcloud_dlt.triggers.job_runs.DbtCloudJobRunsTrigger"
    assert DbtCloudJobRunsTrigger(**json.loads(json.dumps(stored))).serialize() == (path, stored)
    assert set(stored) == set(inspect.signature(DbtCloudJobRunsTrigger.__init__).parameters) - {"self"}


def test_airflow_takes_it_for_a_watcher() -> None:
    """It is of the kind that an asset can be watched by, and equal ones are one trigger."""
    AssetWatcher(name="w", trigger=trigger())
    assert Asset("a", watchers=[AssetWatcher(name="w", trigger=trigger())]).watchers
    hashes = {
        DbtCloudJobRunsTrigger.hash(*trigger(job_ids=ids).serialize()) for ids in ([2, 1], (1, 2), {"1", 2})
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statuses": ["failed"]}, "statuses must be of success, error, cancelled, got 'failed'"),
        ({"job_ids": []}, "job_ids or statuses is empty"),
        ({"job_ids": ["nightly"]}, "job_ids must be a whole number"),
        ({"project_id": "shop"}, "project_id must be a whole number"),
        ({"poll_interval": 0}, "poll_interval must be a positive number"),
    ],
)
def test_arguments_that_can_not_be_meant(arguments: dict[str, Any], message: str) -> None:
    """They are refused while the DAG file is parsed."""
    with pytest.raises(InvalidRequestError, match=message):
        trigger(**arguments)
