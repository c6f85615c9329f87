"""The poller: few requests for many waits, and none of them lost."""

import asyncio
import contextlib
import contextvars
import gc
import itertools
import logging
import re
import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import RateLimitError, habits
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, Wait
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks import connection
from airflow_provider_dbtcloud_dlt.triggers import poller as poller_module
from airflow_provider_dbtcloud_dlt.triggers.poller import FIRST_LOOK_SECONDS, Poller

SOON = 0.05
LISTS = r"GET .*/runs/\?"


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop of its own; whatever hangs, ends the test."""
    return asyncio.run(asyncio.wait_for(main, 20))


async def wait(
    run_id: int,
    interval: float | None = SOON,
    *,
    conn_id: str = "dbt_cloud_default",
    first_look: float = FIRST_LOOK_SECONDS,
    **limits: Any,
) -> Ending:
    """Wait as a trigger does."""
    poller = Poller.shared(conn_id, None, {})
    async with poller.subscribed(Wait(run_id, **limits), interval, first_look) as waiter:
        return await waiter.ended


def asked(emu: Emulator, pattern: str) -> list[str]:
    """The requests that match a pattern, such as the looks at many runs."""
    return [path for method, path in emu.requests if re.search(pattern, f"{method} {path}")]


def poller_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("dbt-cloud-poller")]


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something that other tasks or threads do has happened."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


# --- few requests ----------------------------------------------------------------------------------------


def test_250_waits_cost_three_requests(emu: Emulator) -> None:
    """One look at 250 runs is three requests."""
    run_ids = [emu.trigger() for _ in range(250)]

    async def main() -> list[Ending]:
        return await asyncio.gather(*map(wait, run_ids))

    assert {ending.status for ending in run(main())} == {"success"}
    assert len(emu.requests) == 3


def test_many_waits_share_few_connections(emu: Emulator) -> None:
    """As many as requests are made at once, however many runs and looks there are."""
    emu.script_job(emu.job_id, seconds=0.5)
    run_ids = [emu.trigger() for _ in range(600)]
    before = emu.connections

    async def main() -> list[Ending]:
        return await asyncio.gather(*map(wait, run_ids))

    run(main())
    assert emu.connections - before <= poller_module.FEWEST_REQUESTS_AT_ONCE


def test_each_waiter_gets_its_own_runs_ending(emu: Emulator) -> None:
    """Of runs that end differently each waiter hears its own."""
    run_ids = {}
    for outcome in ("success", "error", "cancelled"):
        emu.script_job(emu.job_id, outcome=outcome)
        run_ids[outcome] = emu.trigger()

    async def main() -> list[Ending]:
        return await asyncio.gather(*map(wait, run_ids.values()))

    assert [ending.status for ending in run(main())] == list(run_ids)


def test_waits_for_one_run_share_it(emu: Emulator) -> None:
    """Two waits for the same run cost one request, and both end."""
    run_id = emu.trigger()

    async def main() -> list[Ending]:
        return await asyncio.gather(wait(run_id), wait(run_id))

    assert [ending.status for ending in run(main())] == ["success", "success"]
    assert len(emu.requests) == 1


def test_late_joiner_is_asked_for(emu: Emulator) -> None:
    """A wait that begins while the poller sleeps for another one is not put off until then."""
    emu.script_job(emu.job_id, seconds=60)
    slow = emu.trigger()
    emu.script_job(emu.job_id)
    ended = emu.trigger()

    async def main() -> Ending:
        sleeper = asyncio.create_task(wait(slow, 100))
        await asyncio.sleep(0.1)
        ending = await asyncio.wait_for(wait(ended), 2)
        sleeper.cancel()
        return ending

    assert run(main()).status == "success"


def test_free_places_go_to_those_due_next(emu: Emulator) -> None:
    """A request for one run takes along another that would be due later."""
    emu.script_job(emu.job_id, seconds=0.3)
    often, seldom = emu.trigger(), emu.trigger()

    async def main() -> list[Ending]:
        began = time.monotonic()
        endings = await asyncio.gather(wait(often), wait(seldom, 100, first_look=SOON))
        assert time.monotonic() - began < 3, "the seldom one waited for its own interval"
        return endings

    assert [ending.status for ending in run(main())] == ["success", "success"]
    assert not asked(emu, rf"/runs/{seldom}/")


def test_seldom_looks_alone_are_seldom(emu: Emulator) -> None:
    """A wait's interval is kept: between its looks nothing is asked."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wait(run_id, 0.4), 0.95)

    run(main())
    assert len(emu.requests) == 2


def test_interval_counts_from_look_to_look(emu: Emulator) -> None:
    """The time that an answer takes does not make the looks fewer."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.inject("slow", seconds=0.4)

    async def main() -> list[float]:
        waits = asyncio.create_task(wait(run_id, 0.5))
        looks = []
        for number in range(4):
            await until(lambda count=number: len(emu.requests) > count)
            looks.append(time.monotonic())
        waits.cancel()
        return looks

    gaps = [after - look for look, after in itertools.pairwise(run(main()))]
    assert min(gaps) < 0.8  # from the answer it would be 0.9


def test_burst_is_gathered(emu: Emulator) -> None:
    """Waits that begin one after the other, within seconds, are asked for together at the first look."""
    emu.script_job(emu.job_id, seconds=60)
    run_ids = [emu.trigger() for _ in range(100)]

    async def main() -> None:
        waits = []
        for run_id in run_ids:
            waits.append(asyncio.create_task(wait(run_id, 1.0)))
            await asyncio.sleep(0.001)
        await until(lambda: bool(emu.requests))
        await asyncio.sleep(0.3)
        for waiter in waits:
            waiter.cancel()

    run(main())
    assert len(emu.requests) <= 2


def test_new_run_is_not_taken_along_worthwhile(emu: Emulator) -> None:
    """Airflow may fail a task whose trigger fires within seconds of its deferral."""
    emu.script_job(emu.job_id, seconds=60)
    old, new = emu.trigger(), emu.trigger()

    async def main() -> None:
        waits = [asyncio.create_task(wait(old)), asyncio.create_task(wait(new, 100))]
        await until(lambda: len(emu.requests) >= 5)
        for waiter in waits:
            waiter.cancel()

    run(main())
    assert not asked(emu, str(new))


def test_second_waiter_of_a_run_that_has_ended_is_told(emu: Emulator) -> None:
    """Also while the first one, who knows, is still there."""
    run_id = emu.trigger()

    async def main() -> Ending:
        poller = Poller.shared("dbt_cloud_default", None, {})
        async with poller.subscribed(Wait(run_id), SOON) as first:
            await first.ended
            return await wait(run_id)

    assert run(main()).status == "success"


# --- without an interval ---------------------------------------------------------------------------------


def test_history_is_asked_for_once_a_job(emu: Emulator, worthwhile: None) -> None:
    """Two waits that leave the interval to us cost one request for the job's earlier runs."""
    emu.script_job(emu.job_id, seconds=3600)
    run_ids = [emu.trigger(), emu.trigger()]

    async def main() -> None:
        waits = [asyncio.create_task(wait(run_id, None, first_look=SOON)) for run_id in run_ids]
        await until(lambda: bool(asked(emu, "job_definition_id")))
        await asyncio.sleep(0.3)
        for waiter in waits:
            waiter.cancel()

    run(main())
    assert len(asked(emu, "job_definition_id")) == 1


def test_wait_ends_without_an_interval(emu: Emulator, worthwhile: None) -> None:
    """It is seen soon, whatever is known of the job."""
    assert run(wait(emu.trigger(), None, first_look=SOON)).status == "success"


def test_history_that_is_refused_does_not_matter(emu: Emulator, worthwhile: None) -> None:
    """The wait goes on with what is known."""
    emu.fail_next(1000, status=403, path="job_definition_id", body="{}")
    emu.script_job(emu.job_id, seconds=1)
    run_id = emu.trigger()

    assert run(wait(run_id, None, first_look=SOON)).status == "success"
    assert asked(emu, "job_definition_id")


@pytest.fixture
def worthwhile(mocker: MockerFixture) -> None:
    """A job's history is of use from the first look on."""
    mocker.patch.object(habits, "_WORTH_ASKING_SECONDS", 0.0)


# --- the account's budget --------------------------------------------------------------------------------


def test_waits_beyond_the_budget_look_less_often(emu: Emulator, connect: Callable[..., None]) -> None:
    """Nothing fails; there are only so many requests."""
    connect(host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": 30})
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wait(run_id), 1.0)

    run(main())
    assert 5 <= len(emu.requests) <= 7  # ten seconds' worth at once, then one every two seconds


def test_run_is_not_asked_for_again_while_it_is_being_asked_for(emu: Emulator) -> None:
    """However long the answer takes, and whoever joins meanwhile."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.inject("slow", seconds=0.8)

    async def main() -> None:
        waits = [asyncio.create_task(wait(run_id))]
        await asyncio.sleep(0.3)
        waits.append(asyncio.create_task(wait(run_id)))
        await asyncio.sleep(0.4)
        for waiter in waits:
            waiter.cancel()

    run(main())
    assert len(emu.requests) <= 1


def test_nobody_asks_while_the_limit_is_hit(emu: Emulator) -> None:
    """After a 429 the whole account rests for as long as the server says."""
    emu.script_job(emu.job_id, seconds=60)
    run_ids = [emu.trigger(), emu.trigger()]
    emu.inject("status", status=429, retry_after=60, times=1, path="/runs/")

    async def main() -> None:
        waits = [asyncio.create_task(wait(run_ids[0]))]
        await until(lambda: bool(emu.requests))
        waits.append(asyncio.create_task(wait(run_ids[1])))
        await asyncio.sleep(0.6)
        for waiter in waits:
            waiter.cancel()

    run(main())
    assert len(emu.requests) == 1


def test_time_out_is_told_while_the_limit_is_hit(emu: Emulator, mocker: MockerFixture) -> None:
    """A wait whose time is up needs no look to end."""
    mocker.patch.object(poller_module, "TIME_OUT_SLACK", 0.1)
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.inject("status", status=429, retry_after=60, times=1, path="/runs/")
    assert run(wait(run_id, end_time=time.time() + 0.5)).status == "timeout"


def test_other_questions_are_within_the_budget(emu: Emulator, connect: Callable[..., None]) -> None:
    """What is asked of a run that has ended comes in its turn, as looks do."""
    connect(host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": 60})
    run_id = emu.trigger()

    async def main() -> None:
        poller = Poller.shared("dbt_cloud_default", None, {})
        async with poller.subscribed(Wait(run_id), 100):
            asking = [poller.ask(lambda client: client.get_run(run_id), requests=5) for _ in range(100)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*asking), 1.0)

    run(main())
    assert len(emu.requests) == 2  # each is reckoned with five of ten seconds' worth


def test_other_questions_leave_the_looks_alone(emu: Emulator) -> None:
    """However long their answers take."""
    run_id = emu.trigger()
    released = threading.Event()

    async def main() -> Ending:
        poller = Poller.shared("dbt_cloud_default", None, {})
        async with poller.subscribed(Wait(999), 100):
            asking = [asyncio.create_task(poller.ask(lambda client: released.wait(10))) for _ in range(50)]
            ending = await asyncio.wait_for(wait(run_id), 3)
            released.set()
            for one in asking:
                one.cancel()
            return ending

    assert run(main()).status == "success"


def test_second_waiter_is_not_told_before_its_first_look(emu: Emulator) -> None:
    """Also where another wait for the same run is looked after already."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> None:
        first = asyncio.create_task(wait(run_id))
        await until(lambda: bool(emu.requests))
        second = asyncio.create_task(wait(run_id, 60, first_look=2.0))
        emu.clock.advance(100)
        await first
        assert not second.done()
        second.cancel()

    run(main())


def test_connections_to_one_account_share_its_budget(emu: Emulator, connect: Callable[..., None]) -> None:
    """And each gets its share."""
    connect(host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": 240})
    connect("other", host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": 240})
    emu.script_job(emu.job_id, seconds=60)
    mine, others = emu.trigger(), emu.trigger()

    async def main() -> None:
        both = asyncio.gather(wait(mine, 0.01), wait(others, 0.01, conn_id="other"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(both, 3.0)

    run(main())
    assert len(emu.requests) <= 54
    assert abs(len(asked(emu, str(mine))) - len(asked(emu, str(others)))) <= 8


# --- apart -----------------------------------------------------------------------------------------------


def test_hosts_that_hang_hold_up_nobody_else(emu: Emulator, connect: Callable[..., None]) -> None:
    """However many requests wait for answers that do not come, the waits on another connection go on."""
    run_id = emu.trigger()

    async def main() -> Ending:
        stuck = [
            asyncio.create_task(wait(number, conn_id=f"hangs{host}"))
            for host in range(4)
            for number in range(1, 401)
        ]
        await asyncio.sleep(0.5)  # by now each of them asks as much as it may
        ending = await asyncio.wait_for(wait(run_id), 2)
        for waiter in stuck:
            assert not waiter.done()
            waiter.cancel()
        return ending

    with socket.create_server(("127.0.0.1", 0), backlog=64) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for host in range(4):
            connect(f"hangs{host}", host=address, login="1", password="token")
        assert run(main()).status == "success"


def test_accounts_are_apart(emu: Emulator) -> None:
    """Waits on two accounts of one connection do not share requests."""

    async def main() -> bool:
        return Poller.shared("dbt_cloud_default", 1, {}) is Poller.shared("dbt_cloud_default", 2, {})

    assert not run(main())


def test_hook_params_that_are_equal_share(emu: Emulator) -> None:
    """The order of hook_params does not matter."""

    async def main() -> bool:
        first = Poller.shared("dbt_cloud_default", 1, {"timeout": 5, "verify": True})
        return first is Poller.shared("dbt_cloud_default", 1, {"verify": True, "timeout": 5})

    assert run(main())


def test_loops_are_apart(emu: Emulator) -> None:
    """Each event loop has pollers of its own: `dag.test()` makes a loop for every trigger."""
    assert run(wait(emu.trigger())).status == "success"
    assert run(wait(emu.trigger())).status == "success"


# --- beginning and end -----------------------------------------------------------------------------------


def test_stops_when_nobody_waits(emu: Emulator) -> None:
    """After the last wait there is no task, no thread and no entry left."""
    run_id = emu.trigger()

    async def main() -> None:
        await wait(run_id)
        await until(lambda: len(asyncio.all_tasks()) == 1 + is_wrapped())
        await until(lambda: not poller_threads())
        assert not poller_module._pollers[asyncio.get_running_loop()]

    def is_wrapped() -> int:
        """Whether `asyncio.wait_for` runs `main` in a task of its own, as it does before Python 3.12."""
        return sum(task.get_coro().__name__ == "wait_for" for task in asyncio.all_tasks())

    run(main())


def test_no_connection_is_left_open(emu: Emulator, open_connections: Callable[[], int]) -> None:
    """The next wait makes one of its own."""
    run_id = emu.trigger()

    async def main() -> None:
        await wait(run_id)
        await until(lambda: not poller_threads())
        await until(lambda: open_connections() == 0)

    run(main())


def test_closed_loops_leave_nothing(emu: Emulator) -> None:
    """The registry does not keep a loop that is gone."""
    run_id = emu.trigger()

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await wait(run_id)
        return weakref.ref(asyncio.get_running_loop())

    gone = run(main())
    run(main())  # the libraries' own thread-locals keep the latest loop
    gc.collect()
    assert gone() is None


def test_starts_again(emu: Emulator) -> None:
    """In a loop in which a poller has stopped, the next wait starts one."""
    first, second = emu.trigger(), emu.trigger()

    async def main() -> list[str]:
        return [(await wait(first)).status, (await wait(second)).status]

    assert run(main()) == ["success", "success"]


def test_cancelled_waiter_is_not_asked_for_any_more(emu: Emulator) -> None:
    """A trigger that Airflow cancels leaves; the others' waits go on."""
    emu.script_job(emu.job_id, seconds=60)
    gone = emu.trigger()
    emu.script_job(emu.job_id, seconds=0.4)
    stays = emu.trigger()

    async def main() -> Ending:
        leaver = asyncio.create_task(wait(gone))
        stayer = asyncio.create_task(wait(stays))
        await until(lambda: bool(asked(emu, LISTS)))
        leaver.cancel()
        await asyncio.sleep(0.1)
        emu.requests.clear()
        return await stayer

    assert run(main()).status == "success"
    assert not asked(emu, str(gone))


def test_cancellation_during_a_request(emu: Emulator) -> None:
    """The last waiter may leave while a request is on its way."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> None:
        waiter = asyncio.create_task(wait(run_id))
        await until(lambda: bool(emu.requests))
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await until(lambda: not poller_threads())

    run(main())


def test_time_is_up_although_the_interval_is_long(emu: Emulator) -> None:
    """The last look is at the deadline."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> tuple[Ending, float]:
        began = time.time()
        ending = await wait(run_id, 100, end_time=began + 0.3)
        return ending, time.time() - began

    ending, seconds = run(main())
    assert ending.status == "timeout"
    assert 0.3 <= seconds < 1.5


def test_time_is_up_between_two_looks(emu: Emulator) -> None:
    """Also after a look that came earlier, in another wait's company."""
    emu.script_job(emu.job_id, seconds=60)
    slow = emu.trigger()
    emu.script_job(emu.job_id)
    ended = emu.trigger()

    async def main() -> Ending:
        waiter = asyncio.create_task(wait(slow, 100, end_time=time.time() + 0.4))
        await wait(ended)
        return await asyncio.wait_for(waiter, 3)

    assert run(main()).status == "timeout"


def test_time_is_up_while_an_answer_is_awaited(emu: Emulator, mocker: MockerFixture) -> None:
    """The last look may take as long as it takes: the wait is over."""
    mocker.patch.object(poller_module, "TIME_OUT_SLACK", 0.1)
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.inject("slow", seconds=5)
    began = time.monotonic()
    assert run(wait(run_id, end_time=time.time() + 0.3)).status == "timeout"
    assert time.monotonic() - began < 2


def test_time_is_up_while_the_connection_is_looked_up(emu: Emulator, mocker: MockerFixture) -> None:
    """Airflow may not answer for a while."""
    mocker.patch.object(poller_module, "TIME_OUT_SLACK", 0.1)

    async def hang(conn_id: str) -> None:
        await asyncio.sleep(5)

    mocker.patch("airflow.sdk.BaseHook.aget_connection", side_effect=hang)
    assert run(asyncio.wait_for(wait(7, end_time=time.time() + 0.3), 2)).status == "timeout"


def test_run_that_has_ended_in_time_is_seen_at_the_last_look(emu: Emulator) -> None:
    """The time-out leaves the last look some time to be answered."""
    emu.script_job(emu.job_id, seconds=0.2)
    run_id = emu.trigger()
    emu.inject("slow", seconds=0.5)
    assert run(wait(run_id, 100, first_look=100, end_time=time.time() + 0.4)).status == "success"


def test_clock_that_is_put_back_puts_the_time_out_off(emu: Emulator, mocker: MockerFixture) -> None:
    """A time-out is a time of the clock: no other machine knows when the event loop began."""
    mocker.patch.object(poller_module, "TIME_OUT_SLACK", 0.05)
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()

    async def main() -> None:
        waiter = asyncio.create_task(wait(run_id, 100, end_time=time.time() + 0.3))
        await asyncio.sleep(0.1)
        past = time.time() - 1000
        mocker.patch.object(
            poller_module._pollers[asyncio.get_running_loop()].popitem()[1], "_clock", return_value=past
        )
        await asyncio.sleep(0.8)
        assert not waiter.done()
        waiter.cancel()

    run(main())


# --- trouble ---------------------------------------------------------------------------------------------


@pytest.fixture
def outage(emu: Emulator) -> Callable[[Callable[[], None]], str]:
    """Let faults hit the looks at a run, then wait for its end; return the ending."""

    def go(fault: Callable[[], None]) -> str:
        run_id = emu.trigger()
        fault()
        return str(run(wait(run_id)).status)

    return go


def test_server_errors_are_outlived(emu: Emulator, outage: Callable[..., str]) -> None:
    """502s with a proxy's page pass."""
    assert outage(lambda: emu.fail_next(3, status=502)) == "success"


def test_dropped_connections_are_outlived(emu: Emulator, outage: Callable[..., str]) -> None:
    """Connections that are cut pass."""
    assert outage(lambda: emu.drop_next(3)) == "success"


def test_html_is_outlived(emu: Emulator, outage: Callable[..., str]) -> None:
    """A login page in place of an answer passes."""
    assert outage(lambda: emu.fail_next(3, status=200, body="<html>Sign in</html>")) == "success"


def test_rate_limit_is_outlived(emu: Emulator, outage: Callable[..., str]) -> None:
    """429s pass."""
    assert outage(lambda: emu.fail_next(1, status=429, body="{}")) == "success"


def test_retry_after_stretches_the_interval() -> None:
    """A server that asks for a pause is not asked again before it is over."""

    async def main() -> float:
        waiter = Poller.shared("unused", None, {}).subscribed(Wait(1), 5.0)
        waiter.saw(RateLimitError("slow down", retry_after=300.0), now=100.0, since=100.0, pause=0.0)
        return waiter.due

    assert run(main()) == 400.0


def test_outage_is_logged_once(
    emu: Emulator, outage: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is logged when it begins and when it ends, not at every look."""
    caplog.set_level(logging.INFO)
    outage(lambda: emu.fail_next(5, status=502))
    said = [record.getMessage() for record in caplog.records if record.name == poller_module.__name__]
    assert len(said) == 2
    assert "connection 'dbt_cloud_default'" in said[0]
    assert "answers again" in said[1]


def test_outage_that_lasts_ends_the_wait(emu: Emulator) -> None:
    """After outage_tolerance the waiter hears that nothing could be learnt."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    emu.fail_next(1000)
    ending = run(wait(run_id, outage_tolerance=0.3))
    assert ending.status == "unreachable"
    assert "502" in ending.message


def test_unknown_run_concerns_its_waiter_alone(emu: Emulator) -> None:
    """A run that the list does not have is asked for singly, and the others' waits end meanwhile."""
    run_ids = [emu.trigger(), emu.trigger()]

    async def main() -> list[Ending]:
        unknown = asyncio.create_task(wait(999))
        endings = await asyncio.gather(*map(wait, run_ids))
        await until(lambda: bool(asked(emu, "/runs/999/")))
        assert not unknown.done()
        unknown.cancel()
        return endings

    assert [ending.status for ending in run(main())] == ["success", "success"]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_one_runs_trouble_concerns_its_waiter_alone(emu: Emulator, status: int) -> None:
    """A run that is not listed, and fails when it is asked for singly, spoils no other's look."""
    run_ids = [emu.trigger(), emu.trigger()]
    emu.fail_next(1000, status=status, path="/runs/999/", body="{}")

    async def main() -> list[Ending]:
        spoiler = asyncio.create_task(wait(999))
        endings = await asyncio.wait_for(asyncio.gather(*map(wait, run_ids)), 5)
        spoiler.cancel()
        return endings

    assert [ending.status for ending in run(main())] == ["success", "success"]


def test_one_runs_trouble_is_no_outage(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """While other runs are answered, the log does not speak of an outage at every look."""
    emu.script_job(emu.job_id, seconds=0.4)
    run_id = emu.trigger()
    emu.fail_next(1000, status=403, path="/runs/999/", body="{}")

    async def main() -> None:
        spoiler = asyncio.create_task(wait(999))
        await wait(run_id)
        spoiler.cancel()

    run(main())
    assert not [record for record in caplog.records if record.name == poller_module.__name__]


def test_missing_run_is_found_singly(emu: Emulator) -> None:
    """A run that the list leaves out (listing may lag) is asked for by itself."""
    run_ids = [emu.trigger(), emu.trigger()]
    emu.fail_next(1, status=200, path=LISTS, body='{"status": {"code": 200}, "data": []}')

    async def main() -> list[Ending]:
        return await asyncio.gather(*map(wait, run_ids))

    assert [ending.status for ending in run(main())] == ["success", "success"]
    assert len(asked(emu, r"/runs/\d+/$")) == 2


def test_passing_refusal_of_a_list_is_no_reason_to_give_it_up(
    emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a 400 means that the server does not know the question."""
    emu.fail_next(1, status=408, path=LISTS, body="{}")
    assert wait_for_two(emu) == ["success", "success"]
    assert warnings_of(caplog) == []


def wait_for_two(emu: Emulator) -> list[str]:
    emu.script_job(emu.job_id, seconds=0.5)
    run_ids = [emu.trigger(), emu.trigger()]
    emu.requests.clear()

    async def main() -> list[Ending]:
        return await asyncio.gather(*map(wait, run_ids))

    return [ending.status for ending in run(main())]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not list" in record.getMessage()]


def test_rotated_token_is_read_again(emu: Emulator, connect: Callable[..., None]) -> None:
    """After a 401 the connection is looked up again; the wait goes on with the new token."""
    connect(host=emu.host, login="1", password="an-old-token")
    run_id = emu.trigger()

    async def main() -> Ending:
        waiter = asyncio.create_task(wait(run_id))
        await until(lambda: len(emu.requests) >= 2)
        assert not waiter.done()
        connect(host=emu.host, login="1", password=emu.token)
        return await waiter

    assert run(main()).status == "success"


def test_connection_is_read_again_once_for_all_refusals(
    emu: Emulator, connect: Callable[..., None], mocker: MockerFixture
) -> None:
    """Of several requests with the old token, the first that is refused does it."""
    connect(host=emu.host, login="1", password="an-old-token")
    lookups = mocker.spy(connection, "read")
    run_ids = [emu.trigger() for _ in range(400)]
    emu.inject("slow", seconds=0.3, times=4)

    async def main() -> None:
        waits = [asyncio.create_task(wait(run_id)) for run_id in run_ids]
        await until(lambda: len(asked(emu, LISTS)) >= 4)
        connect(host=emu.host, login="1", password=emu.token)
        await asyncio.gather(*waits)

    run(main())
    assert lookups.call_count == 2


def test_failed_look_up_is_told_to_all_who_are_due(emu: Emulator, connect: Callable[..., None]) -> None:
    """None of them waits longer than its outage_tolerance."""
    connect(host="http://dbt.example.com", login="1", password=emu.token)  # plain http: refused

    async def main() -> list[Ending]:
        return await asyncio.gather(*(wait(run_id, outage_tolerance=0.2) for run_id in range(1, 251)))

    assert {ending.status for ending in run(main())} == {"unreachable"}


def test_corrected_connection_is_read_again(emu: Emulator, connect: Callable[..., None]) -> None:
    """A connection that can't be used is looked up again at the next look."""
    connect(host="http://dbt.example.com", login="1", password=emu.token)  # plain http: refused
    run_id = emu.trigger()

    async def main() -> Ending:
        waiter = asyncio.create_task(wait(run_id))
        await asyncio.sleep(0.2)
        connect(host=emu.host, login="1", password=emu.token)
        return await waiter

    assert run(main()).status == "success"


def test_one_connection_lookup_for_many_requests(emu: Emulator, mocker: MockerFixture) -> None:
    """However many requests a look takes, the connection is looked up once."""
    lookups = mocker.spy(connection, "read")
    run_ids = [emu.trigger() for _ in range(201)]

    async def main() -> None:
        await asyncio.gather(*map(wait, run_ids))

    run(main())
    assert lookups.call_count == 1


def break_down(emu: Emulator, mocker: MockerFixture) -> None:
    """A defect: what no error of the client stands for."""
    mocker.patch("requests.Session.request", side_effect=ZeroDivisionError("a defect"))


def test_defect_reaches_the_waiters(emu: Emulator, mocker: MockerFixture) -> None:
    """If the poller breaks down, the triggers fail instead of waiting for ever."""
    break_down(emu, mocker)
    with pytest.raises(RuntimeError, match=r"broke down.*a defect"):
        run(wait(emu.trigger()))


def test_defect_of_one_wait_is_its_own(emu: Emulator) -> None:
    """One that can't judge what was seen, of a tolerance that is no number, ends alone."""
    emu.script_job(emu.job_id, seconds=0.5)
    broken: Any = wait(emu.trigger(), outage_tolerance="600")
    sound = wait(emu.trigger())
    emu.fail_next(1, path=LISTS)

    async def main() -> Any:
        return await asyncio.gather(broken, sound, return_exceptions=True)

    failed, ended = run(main())
    assert isinstance(failed, TypeError)
    assert ended.status == "success"


def test_waiter_who_joins_a_broken_poller(emu: Emulator, mocker: MockerFixture) -> None:
    """Who joins between a breakdown and the leaving of its waiters does not wait in vain."""
    run_id = emu.trigger()
    break_down(emu, mocker)

    async def main() -> Ending:
        poller = Poller.shared("dbt_cloud_default", None, {})
        async with poller.subscribed(Wait(run_id), SOON) as first:
            with pytest.raises(RuntimeError):
                await first.ended
            mocker.stopall()
            async with poller.subscribed(Wait(run_id), SOON) as second:
                return await second.ended

    assert run(main()).status == "success"


def test_log_lines_belong_to_no_task(emu: Emulator) -> None:
    """What the poller logs is not written under the task whose trigger came first."""
    task: contextvars.ContextVar[str] = contextvars.ContextVar("task", default="none")
    seen: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(task.get())

    @contextlib.asynccontextmanager
    async def collected() -> AsyncIterator[None]:
        handler = Collector()
        poller_module.log.addHandler(handler)
        yield
        poller_module.log.removeHandler(handler)

    run_id = emu.trigger()
    emu.fail_next(1)

    async def main() -> None:
        task.set("transform")
        async with collected():
            await wait(run_id)

    run(main())
    assert seen
    assert set(seen) == {"none"}


def test_looks_do_not_block_the_loop(emu: Emulator) -> None:
    """While an answer takes its time, the triggerer's event loop goes on."""
    run_id = emu.trigger()

    async def main() -> float:
        longest = 0.0
        waiter = asyncio.create_task(wait(run_id))
        while not waiter.done():
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)
        await waiter
        return longest

    with slow_answers(emu, 0.6):
        assert run(main()) < 0.3


@contextlib.contextmanager
def slow_answers(emu: Emulator, seconds: float) -> Iterator[None]:
    """Keep the emulator's state locked for a while, so that its answers wait."""
    locked = threading.Event()

    def hold() -> None:
        with emu.engine.held():
            locked.set()
            time.sleep(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    yield
    holder.join()
