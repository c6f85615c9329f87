"""Telling of runs' steps from the triggerer: few requests, in the right logs, and nobody's wait suffers."""

import asyncio
import contextvars
import logging
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus, ServerError
from airflow_provider_dbtcloud_dlt.client.waiting import Wait
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.triggers import progress as progress_module
from airflow_provider_dbtcloud_dlt.triggers.budget import Budget
from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller
from airflow_provider_dbtcloud_dlt.triggers.progress import Sight, TriggerGlances

TASK: contextvars.ContextVar[str] = contextvars.ContextVar("TASK", default="nobody's")


# --- whom to look at, and when: by virtual time ----------------------------------------------------------


class VirtualSelector(selectors.DefaultSelector):
    """Waits for nothing: the time for which it would have waited has passed at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


def in_virtual_time(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop whose clock starts at nought, and passes only while everybody sleeps."""
    selector = VirtualSelector()

    class Loop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return selector.now

    with asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner:
        return runner.run(main)


class Seen:
    """Sees every run going on, within a budget, and remembers when it was asked for which."""

    def __init__(self, per_minute: float = 2000, takes: float = 0.2) -> None:
        self.budget = Budget("x", per_minute)
        self.asked: list[tuple[float, int]] = []
        self.takes = takes

    async def __call__(self, run_id: int) -> Sight:
        loop = asyncio.get_running_loop()
        while (pause := self.budget.spare_in(loop.time())) > 0:
            await asyncio.sleep(pause)
        self.asked.append((loop.time(), run_id))
        await asyncio.sleep(self.takes)
        return Sight(Run(id=run_id, status=RunStatus.RUNNING), loop.time(), None)


def listen(seen: Seen, runs: int, seconds: float) -> list[tuple[float, int]]:
    """Listen to so many runs for so long; return what was asked when."""

    async def main() -> None:
        glances = TriggerGlances(seen)
        listeners = [glances.of(run_id) for run_id in range(runs)]
        for one in listeners:
            one.__enter__()
        await asyncio.sleep(seconds)
        for one in listeners:
            one.__exit__()

    in_virtual_time(main())
    return seen.asked


def test_run_of_an_hour_costs_a_request_a_minute() -> None:
    """The first after half a minute."""
    asked = [at for at, _ in listen(Seen(takes=0.0), 1, 3599)]
    assert asked == [30 + 60 * number for number in range(60)]


def test_run_of_half_a_minute_costs_none() -> None:
    """However many there are."""
    assert listen(Seen(), 50, 29) == []


@pytest.mark.parametrize(("per_minute", "most"), [(2000, 100), (600, 60), (100, 10)])
def test_a_thousand_runs_cost_a_hundred_a_minute_or_a_tenth_of_the_budget(per_minute: int, most: int) -> None:
    """Whichever is less: each of them is then glanced at less often."""
    asked = [at for at, _ in listen(Seen(per_minute), 1000, 1800)]
    assert max(sum(at <= other < at + 59.99 for other in asked) for at in asked) <= most
    assert len(asked) >= 0.8 * most * 29


def test_all_get_their_turn() -> None:
    """Of more runs than can be glanced at in a minute none is forgotten."""
    asked = [run_id for _, run_id in listen(Seen(), 300, 30 + 4 * 60)]
    assert set(asked) == set(range(300))


def test_who_comes_later_is_not_put_off() -> None:
    """Until a run that was glanced at a moment ago is due again."""
    seen = Seen(takes=0.0)

    async def main() -> None:
        glances = TriggerGlances(seen)
        with glances.of(1):
            await asyncio.sleep(31)
            with glances.of(2):
                await asyncio.sleep(31)

    in_virtual_time(main())
    assert seen.asked == [(30, 1), (61, 2)]


def test_who_has_left_is_not_glanced_at() -> None:
    """Also while others stay."""
    seen = Seen(takes=0.0)

    async def main() -> None:
        glances = TriggerGlances(seen)
        with glances.of(1):
            with glances.of(2):
                await asyncio.sleep(1)
            await asyncio.sleep(200)

    in_virtual_time(main())
    assert {run_id for _, run_id in seen.asked} == {1}


def test_nothing_goes_on_when_nobody_listens() -> None:
    """And it begins anew with the next who does."""
    seen = Seen(takes=100.0)

    async def main() -> None:
        glances = TriggerGlances(seen)
        for _ in range(2):
            with glances.of(1):
                await asyncio.sleep(40)  # a glance is under way
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1

    in_virtual_time(main())
    assert [at for at, _ in seen.asked] == [30, 70]


@pytest.mark.parametrize("error", [ServerError("no", status_code=500), KeyError("a defect")])
def test_glance_that_fails_is_repeated_later(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is told; the next one may succeed."""
    caplog.set_level(logging.INFO)
    times: list[float] = []

    async def fail(run_id: int) -> Sight:
        times.append(asyncio.get_running_loop().time())
        raise error

    async def main() -> None:
        with TriggerGlances(fail).of(1):
            await asyncio.sleep(100)

    in_virtual_time(main())
    assert times == [30, 90]
    assert caplog.messages == []


# --- at the wire -----------------------------------------------------------------------------------------


@pytest.fixture
def soon(mocker: MockerFixture) -> None:
    """Glances that come at once, as fast as they may."""
    mocker.patch.object(progress_module, "FIRST_GLANCE_SECONDS", 0.05)
    mocker.patch.object(progress_module, "GLANCE_PAUSE_SECONDS", 0.05)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, str]]]:
    """Whose log it was told in, and what."""
    lines: list[tuple[str, str]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((TASK.get(), record.getMessage()))

    logger, handler = logging.getLogger(progress_module.__name__), Collector()
    caplog.set_level(logging.DEBUG, logger.name)
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def trigger(run_id: int, **more: Any) -> DbtCloudRunJobTrigger:
    limits = {"end_time": time.time() + 60, "poll_interval": 0.5}
    return DbtCloudRunJobTrigger("dbt_cloud_default", run_id, **{**limits, "log_progress": True, **more})


async def status_of(one: DbtCloudRunJobTrigger) -> Any:
    """The status that a trigger ends with; what it logs is the log of the task that is called as its run."""
    TASK.set(f"task {one.run_id}")
    (status,) = [event.payload["status"] async for event in one.run()]
    return status


def with_steps(emu: Emulator) -> list[str]:
    return [path for _, path in emu.requests if "run_steps" in path]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop of its own; whatever hangs, ends the test."""
    return asyncio.run(asyncio.wait_for(main, 20))


@pytest.mark.usefixtures("soon")
def test_steps_are_told_in_their_tasks_log(emu: Emulator, told: list[tuple[str, str]]) -> None:
    """Each run's in the log of the task that waits for it."""
    emu.script_job(emu.job_id, seconds=1.5)
    run_ids = [emu.trigger(), emu.trigger()]

    async def main() -> list[str]:
        return await asyncio.gather(*(status_of(trigger(run_id)) for run_id in run_ids))

    assert run(main()) == ["success", "success"]
    for run_id in run_ids:
        theirs = [line for whose, line in told if whose == f"task {run_id}"]
        assert any("Invoke dbt with `dbt build`', is running" in line for line in theirs)
        assert all(str(run_id) in line for line in theirs)


@pytest.mark.usefixtures("soon")
def test_without_log_progress_there_is_no_request_more(emu: Emulator, told: list[tuple[str, str]]) -> None:
    """Nor a line."""
    emu.script_job(emu.job_id, seconds=1)
    assert run(status_of(trigger(emu.trigger(), log_progress=False))) == "success"
    assert (with_steps(emu), told) == ([], [])


@pytest.mark.usefixtures("soon")
def test_250_waits_glance_no_more_than_a_hundred_times_a_minute(emu: Emulator) -> None:
    """The looks at them are as many as ever: three requests each time."""
    emu.script_job(emu.job_id, seconds=2.5)
    triggers = [trigger(emu.trigger(), poll_interval=100) for _ in range(250)]

    async def main() -> None:
        waits = [asyncio.create_task(status_of(one)) for one in triggers]
        await asyncio.sleep(2)
        for one in waits:
            one.cancel()

    run(main())
    assert 2 <= len(with_steps(emu)) <= 4  # one each 0.6 seconds


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "fault",
    [
        lambda emu: emu.fail_next(1000, status=502, path="run_steps"),
        lambda emu: emu.fail_next(1000, status=200, body="<html>Sign in</html>", path="run_steps"),
        lambda emu: emu.fail_next(1000, status=404, path="run_steps", body="{}"),
    ],
)
def test_wait_goes_on_when_the_steps_cannot_be_seen(
    emu: Emulator, caplog: pytest.LogCaptureFixture, fault: Callable[[Emulator], Any]
) -> None:
    """And nobody is alarmed."""
    caplog.set_level(logging.INFO)
    emu.script_job(emu.job_id, seconds=1)
    run_id = emu.trigger()
    fault(emu)
    assert run(status_of(trigger(run_id))) == "success"
    assert with_steps(emu)
    assert caplog.messages == []


@pytest.mark.usefixtures("soon")
def test_glance_that_hangs_holds_up_no_look(emu: Emulator) -> None:
    """It has a thread of its own, and ends with the wait."""
    emu.script_job(emu.job_id, seconds=1)
    run_ids = [emu.trigger() for _ in range(20)]
    emu.inject("slow", seconds=10, path="run_steps")
    began = time.monotonic()

    async def main() -> list[str]:
        return await asyncio.gather(*(status_of(trigger(run_id)) for run_id in run_ids))

    assert set(run(main())) == {"success"}
    assert time.monotonic() - began < 4


@pytest.mark.usefixtures("soon")
def test_limit_that_is_hit_by_a_glance_is_kept(emu: Emulator) -> None:
    """A 429 is the account's: the looks wait as well."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.inject("status", status=429, retry_after=60, times=1, path="run_steps")

    async def main() -> None:
        poller = Poller.shared("dbt_cloud_default", None, {})
        async with poller.subscribed(Wait(run_id), 0.5):
            with poller.progress.of(run_id):
                await asyncio.sleep(1.5)

    run(main())
    assert len(emu.requests) == 1
