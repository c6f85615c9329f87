"""One poller for all the waits on one dbt Cloud account: up to 100 runs a request.

A trigger does not ask for its own run. It subscribes here, and one task of the event loop sees to it that
each run is asked for when it is due, in threads of its own, and that each waiter hears when its wait is over.
Every look reads the current state, so a late joiner, a restart or a second triggerer loses nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    NotFoundError,
    RateLimitError,
)
from airflow_provider_dbtcloud_dlt.client.cadence import PAUSE_AFTER_FAILURE, pause_for
from airflow_provider_dbtcloud_dlt.client.habits import Habits, earlier_runs
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.progress import INCLUDED
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, Outage, Wait, pause_after
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudConnectionError, DbtCloudHook
from airflow_provider_dbtcloud_dlt.triggers.budget import Budget
from airflow_provider_dbtcloud_dlt.triggers.ladder import Ladder, Question, Seen
from airflow_provider_dbtcloud_dlt.triggers.progress import Sight, TriggerGlances
from airflow_provider_dbtcloud_dlt.triggers.schedule import Schedule

log = logging.getLogger(__name__)

FEWEST_REQUESTS_AT_ONCE = 4
MOST_REQUESTS_AT_ONCE = 10
"""Of one poller; with ten, 10,000 runs are seen every five seconds although each answer takes half of one."""

PACE_SECONDS = 0.015
"""Between the starts of two requests. Python's threads take turns: ten answers that come at once, and are
read at once, would keep the event loop from its turn for as long as all of that takes.
"""

GATHERING_SECONDS = 0.05
"""How long the first look is put off, so that triggers which start together are asked for together."""

FIRST_LOOK_SECONDS = 5.0
"""Airflow may fail a task whose trigger fires within seconds of its deferral: the first look comes later."""
FIRST_LOOK_LEEWAY = 0.8
"""So much of that time must have passed before a request that has places left takes a new run along."""


TIME_OUT_SLACK = 2.0
"""Seconds that a time-out leaves to the last look, which may show that the run has ended in time."""
LONGEST_ALARM = 300.0
"""A clock that is put right meanwhile moves a time-out: it is looked at again after so many seconds."""

LOOKS_A_HISTORY = 10
"""Where there is always a run to be asked for, so many requests bring one job's history, which saves some."""

ASIDES_AT_ONCE = 4
"""So many other questions, beside the looks, are asked at once."""
GLANCES_AT_ONCE = 1
"""Of those that tell how far a run has come."""

T = TypeVar("T")


@dataclass(frozen=True)
class PollerKey:
    """What waits must have in common to share a poller."""

    conn_id: str
    account_id: int | None
    hook_params: str

    @classmethod
    def of(cls, conn_id: str, account_id: int | None, hook_params: Mapping[str, Any]) -> PollerKey:
        """The key; `hook_params` as JSON, so that equal ones are equal keys."""
        return cls(conn_id, account_id, json.dumps(hook_params, sort_keys=True, default=repr))


@dataclass(eq=False, slots=True)
class Subscription:
    """One waiter: what it waits for, how often it wants to look, and where its ending goes.

    Attributes:
        poller: asks for the run.
        wait: decides when the wait is over.
        interval: seconds between two looks; ``None`` leaves it to us.
        first_look: seconds until the first look at most.
        earliest: before that it is told nothing, by the event loop's clock.
        due: when it wants to look next, by the event loop's clock.
        ended: gets the ending.
        alarm: ends the wait when its time is up, should the last look take too long or not be possible.
    """

    poller: Poller
    wait: Wait
    interval: float | None
    first_look: float
    earliest: float = 0.0
    due: float = 0.0
    ended: asyncio.Future[Ending] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._set_alarm()
        self.poller.join(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
        self.poller.leave(self)

    def _set_alarm(self) -> None:
        if self.wait.deadline is not None:
            left = self.wait.deadline + TIME_OUT_SLACK - self.poller.now()
            self.alarm = asyncio.get_running_loop().call_later(
                # A wait whose time was up before it began gets its look as well.
                min(max(left, GATHERING_SECONDS + TIME_OUT_SLACK), LONGEST_ALARM),
                self._ring,
            )

    def _ring(self) -> None:
        if self.ended.done():
            return
        ending = self.wait.time_is_up(self.poller.now() - TIME_OUT_SLACK)
        if ending is not None:
            self.ended.set_result(ending)
        else:
            self._set_alarm()

    def saw(self, seen: Seen, now: float, since: float, pause: float) -> None:
        """Take in what a look showed.

        Args:
            seen: the run, or why it could not be seen.
            now: seconds since the epoch.
            since: from when the pause until the next look counts, by the event loop's clock.
            pause: seconds until the next look, where no interval was given.
        """
        pause = self.interval or pause
        if isinstance(seen, DbtCloudError):
            ending, pause = self.wait.failed(seen, now), pause_after(seen, pause)
        else:
            ending = self.wait.answered(seen, now)
        if ending is not None:
            self.ended.set_result(ending)
        else:
            self.due = since + self.wait.next_look(pause, now)


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, Poller]]
_pollers = weakref.WeakKeyDictionary()


async def changed_or_due(changed: asyncio.Event, due: float) -> None:
    """Wait until something has changed, or until a time by the event loop's clock; infinity for none."""
    timer = None if due == float("inf") else asyncio.get_running_loop().call_at(due, changed.set)
    await changed.wait()
    if timer is not None:
        timer.cancel()


class Poller:
    """Polls one account through one connection, for as long as somebody waits.

    Args:
        hook: looks the connection up, and makes the client.
        key: under which it is found.
        clock: tells the seconds since the epoch.

    Attributes:
        progress: tells in the logs of those who wait how far their runs have come.
    """

    def __init__(self, hook: DbtCloudHook, key: PollerKey, clock: Callable[[], float] = time.time) -> None:
        self._hook = hook
        self._key = key
        self._clock = clock
        self._waiters: dict[int, tuple[Subscription, ...]] = {}
        self._users = 0
        self._schedule = Schedule()
        self._ladder = Ladder(f"connection {key.conn_id!r}")
        self._habits = Habits()
        self._outage = Outage(log, f"dbt Cloud (connection {key.conn_id!r})")
        self._unseen: set[int] = set()
        self._budget: Budget | None = None
        self._reserved: float | None = None
        self._next_start = 0.0
        self._sent = 0
        self._changed = asyncio.Event()
        self._aside_threads = ThreadPoolExecutor(ASIDES_AT_ONCE, thread_name_prefix="dbt-cloud-asides")
        self.progress = TriggerGlances(self._glance)
        self._threads = ThreadPoolExecutor(
            MOST_REQUESTS_AT_ONCE + GLANCES_AT_ONCE, thread_name_prefix="dbt-cloud-poller"
        )
        self._requests: set[asyncio.Task[None]] = set()
        self._asked: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def shared(cls, conn_id: str, account_id: int | None, hook_params: Mapping[str, Any]) -> Poller:
        """The poller of this connection and account in the running loop, made when there is none."""
        pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
        key = PollerKey.of(conn_id, account_id, hook_params)
        if key not in pollers:
            # Passing failures are the waits' concern here: a retry within a look would only block a thread.
            hook = DbtCloudHook(conn_id, account_id, **{**hook_params, "retry_budget": 0})
            pollers[key] = cls(hook, key)
        return pollers[key]

    def now(self) -> float:
        """The seconds since the epoch."""
        return self._clock()

    # --- who waits -----------------------------------------------------------------------------------------

    def subscribed(self, wait: Wait, interval: float | None, first_look: float | None = None) -> Subscription:
        """Wait for a run's ending: ``await subscription.ended`` inside of an ``async with``.

        Args:
            wait: for which run, and how long.
            interval: seconds between two looks; ``None``: as the job's habit suggests.
            first_look: seconds until the first look at most; default: enough for a task that was deferred.
        """
        return Subscription(self, wait, interval, FIRST_LOOK_SECONDS if first_look is None else first_look)

    def join(self, subscription: Subscription) -> None:
        """Somebody waits from now on."""
        wait, loop_now = subscription.wait, asyncio.get_running_loop().time()
        pause = min(subscription.interval or subscription.first_look, subscription.first_look)
        pause = max(wait.next_look(pause, self._clock()), GATHERING_SECONDS)
        subscription.due = loop_now + pause
        subscription.earliest = loop_now + FIRST_LOOK_LEEWAY * pause
        others = self._waiters.get(wait.run_id, ())
        self._waiters[wait.run_id] = (*others, subscription)
        self._reschedule(wait.run_id, None if others else subscription.earliest)
        self._start()
        self._changed.set()

    def leave(self, subscription: Subscription) -> None:
        """Somebody waits no longer; with the last one, when nobody else uses it, everything ends."""
        run_id = subscription.wait.run_id
        others = tuple(item for item in self._waiters[run_id] if item is not subscription)
        if others:
            self._waiters[run_id] = others
            return
        del self._waiters[run_id]
        self._schedule.remove(run_id)
        self._ladder.forget([run_id])
        self._stop_when_unused()

    @contextmanager
    def in_use(self) -> Iterator[Self]:
        """Keep the poller going for somebody who only asks by `ask`."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._stop_when_unused()

    def _stop_when_unused(self) -> None:
        if not self._waiters and not self._users:
            self._stop()

    def _reschedule(self, run_id: int, not_before: float | None = None) -> None:
        """Put a run where those who wait for it want it; while it is being asked for, the answer will."""
        dues = [item.due for item in self._waiters.get(run_id, ()) if not item.ended.done()]
        if run_id in self._asked or not dues:
            self._schedule.remove(run_id)
        else:
            self._schedule.put(run_id, min(dues), not_before)

    # --- beginning and end ---------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is not None and not self._task.done():
            return
        # An empty context: the poller's log lines belong to no task's log.
        self._task = asyncio.get_running_loop().create_task(
            self._ask_when_due(), context=contextvars.Context()
        )
        self._task.add_done_callback(self._fail_loudly)

    def _stop(self) -> None:
        _pollers.get(asyncio.get_running_loop(), {}).pop(self._key, None)
        for task in [self._task, *self._requests]:
            if task is not None:
                task.cancel()
        self._task = None
        for threads in (self._threads, self._aside_threads):
            threads.shutdown(wait=False, cancel_futures=True)
        self._hook.forget()

    def _fail_loudly(self, task: asyncio.Task[None]) -> None:
        """A defect here must not leave waiters waiting for ever: it becomes theirs."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        broken = RuntimeError(f"the poller of dbt Cloud runs broke down: {error!r}")
        for item in [one for waiters in self._waiters.values() for one in waiters]:
            if not item.ended.done():
                item.ended.set_exception(broken)

    # --- requests ------------------------------------------------------------------------------------------

    async def _ask_when_due(self) -> None:
        while True:
            self._changed.clear()
            await changed_or_due(self._changed, await self._ask_now())

    async def _ask_now(self) -> float:
        """Send what may be sent now; return when there is more to send, by the loop's clock."""
        loop = asyncio.get_running_loop()
        at_once = min(max(FEWEST_REQUESTS_AT_ONCE, len(self._waiters) // 1000), MOST_REQUESTS_AT_ONCE)
        while len(self._requests) < at_once:
            if self._schedule.next_due > loop.time() and not self._habits.are_wanted:
                return self._schedule.next_due
            if self._next_start > loop.time():
                return self._next_start
            if (client := await self._client()) is None:
                return self._schedule.next_due
            if self._reserved is None:
                self._reserved = self._account_budget().reserve(loop.time())
            if (opens := self._account_budget().opens(self._reserved)) > loop.time():
                return opens
            self._sent += 1
            if self._sent % LOOKS_A_HISTORY == 0 and (job_id := self._habits.next_wanted(self._clock())):
                self._send(self._learn(client, job_id))
            elif question := self._ladder.next_question(self._schedule, loop.time()):
                self._asked.update(question.run_ids)
                self._send(self._look(client, question))
            elif job_id := self._habits.next_wanted(self._clock()):
                self._send(self._learn(client, job_id))
        return float("inf")  # the next answer is the next change

    async def ask(
        self, ask: Callable[[DBTCloudClientV2], T], *, requests: int = 1, retry_seconds: float = 0.0
    ) -> T:
        """Ask something else, for somebody who has joined: in turn, and in a thread.

        Args:
            ask: is given the client, and may block, but not for long: there are few threads. Its log lines
                are the caller's.
            requests: how many it is about to make, for the account's budget.
            retry_seconds: within which one that fails is repeated; default: it is not.

        Raises:
            DbtCloudError: the connection can't be used; or whatever `ask` raises.
        """
        loop = asyncio.get_running_loop()
        client = await self._connected()
        budget = self._account_budget()
        reserved = max(budget.reserve(loop.time()) for _ in range(requests))
        while (pause := budget.opens(reserved) - loop.time()) > 0:
            await asyncio.sleep(pause)
        client = await self._connected()  # it may have been read anew meanwhile
        if retry_seconds:
            client = self._hook.settings.client(self._key.account_id, retry_budget=retry_seconds)
        try:
            return await loop.run_in_executor(
                self._aside_threads, contextvars.copy_context().run, ask, client
            )
        except RateLimitError as error:
            budget.refused(error, loop.time())
            raise
        except InvalidCredentialsException:
            self._reconnect_after(client)
            raise
        finally:
            if retry_seconds:
                client.close()

    async def _glance(self, run_id: int) -> Sight:
        """Look at a run's steps, as soon as that takes nothing from those who wait.

        Raises:
            DbtCloudError: the connection can't be used, or the run could not be read.
        """
        loop = asyncio.get_running_loop()
        client = await self._hook.aget_conn()
        while (pause := self._account_budget().spare_in(loop.time())) > 0:
            await asyncio.sleep(pause)
        answer = await self._answer(client.get_run, run_id, INCLUDED)
        if isinstance(answer, DbtCloudError):
            raise answer
        return Sight(answer, self._clock() + client.clock_skew, self._habits.known(answer))

    def _account_budget(self) -> Budget:
        """The budget of the account; the connection has been looked up."""
        if self._budget is None:
            settings, client = self._hook.settings, self._hook.get_conn()
            self._budget = Budget.shared(
                client.host, str(client.account_id), self._key.conn_id, settings.requests_per_minute
            )
        return self._budget

    def _send(self, request: Coroutine[Any, Any, None]) -> None:
        self._reserved = None
        self._next_start = asyncio.get_running_loop().time() + PACE_SECONDS
        task = asyncio.get_running_loop().create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        task.add_done_callback(self._fail_loudly)
        task.add_done_callback(lambda _: self._changed.set())

    async def _look(self, client: DBTCloudClientV2, question: Question) -> None:
        """Ask for runs and hand each waiter what was seen of its run."""
        asked_at = asyncio.get_running_loop().time()
        try:
            answer = await self._answer(question.ask, client)
        finally:
            self._asked.difference_update(question.run_ids)
        seen = self._ladder.read(question, answer, asyncio.get_running_loop().time())
        self._ladder.forget(run_id for run_id in question.run_ids if run_id not in self._waiters)
        if seen:  # else the question was not understood, and is asked otherwise
            self._judge(client, question, answer)
        self._deliver(seen, asked_at, client.clock_skew)
        for run_id in question.run_ids:
            if run_id not in seen:  # still due, and the ladder knows how to ask for it now
                self._reschedule(run_id)

    async def _learn(self, client: DBTCloudClientV2, job_id: int) -> None:
        """Ask for a job's earlier runs."""
        answer = await self._answer(earlier_runs, client, job_id)
        self._habits.learn(job_id, answer, self._clock())

    async def _answer(self, ask: Callable[..., T], *args: Any) -> T | DbtCloudError:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, ask, *args)
        except DbtCloudError as error:
            if self._budget is not None and isinstance(error, RateLimitError):
                self._budget.refused(error, loop.time())
            return error
        if self._budget is not None:
            self._budget.answered(loop.time())
        return answer

    def _deliver(self, seen: Mapping[int, Seen], asked_at: float, skew: float = 0.0) -> None:
        now, answered_at = self._clock(), asyncio.get_running_loop().time()
        for run_id, one in seen.items():
            waiting = [
                item
                for item in self._waiters.get(run_id, ())
                if not item.ended.done() and item.earliest <= answered_at
            ]
            pause = self._pause(one, now, skew) if any(item.interval is None for item in waiting) else 0.0
            for item in waiting:
                # An interval is from look to look; after a failure, which may have taken long, it is a rest.
                since = answered_at if isinstance(one, DbtCloudError) else asked_at
                try:
                    item.saw(one, now, since, pause)
                except Exception as error:  # noqa: BLE001 - what is wrong with one wait must not end the others
                    item.ended.set_exception(error)
            self._reschedule(run_id)

    def _pause(self, seen: Seen, now: float, skew: float) -> float:
        if isinstance(seen, DbtCloudError):
            return PAUSE_AFTER_FAILURE
        return 0.0 if seen.is_terminal else pause_for(seen, now + skew, self._habits.of(seen, now, skew))

    def _judge(
        self, client: DBTCloudClientV2, question: Question, answer: Sequence[SeenRun] | DbtCloudError
    ) -> None:
        """It is an outage when nothing could be learnt of any run; one run's trouble is its waiters'."""
        if not isinstance(answer, DbtCloudError) or isinstance(answer, NotFoundError):
            self._unseen.clear()
            self._outage.answered(self._clock())
            return
        if isinstance(answer, InvalidCredentialsException):
            self._reconnect_after(client)
        self._unseen.update(question.run_ids)
        # Of a limit that was hit the budget tells.
        if len(self._unseen) >= len(self._waiters) and not isinstance(answer, RateLimitError):
            self._outage.failed(answer, self._clock())

    async def _client(self) -> DBTCloudClientV2 | None:
        """The client; if the connection can't be used, the waiters who are due hear of that."""
        try:
            return await self._connected()
        except DbtCloudError as error:
            self._outage.failed(error, self._clock())
            loop_now = asyncio.get_running_loop().time()
            self._deliver(dict.fromkeys(self._schedule.due(loop_now), error), loop_now)
            return None

    async def _connected(self) -> DBTCloudClientV2:
        try:
            return await self._hook.aget_conn()
        except DbtCloudError:
            self._reconnect()
            raise
        except Exception as error:  # Airflow could not be asked: that passes, like an outage
            self._reconnect()
            raise DbtCloudConnectionError(
                f"Airflow connection {self._key.conn_id!r} could not be looked up: {error}"
            ) from error

    def _reconnect_after(self, refused: DBTCloudClientV2) -> None:
        """The token may have been rotated, unless that has been read already."""
        if self._hook.is_present(refused):
            self._reconnect()

    def _reconnect(self) -> None:
        """Read the connection again: token, host or budget may have been changed."""
        self._hook.forget()
        self._budget = self._reserved = None
