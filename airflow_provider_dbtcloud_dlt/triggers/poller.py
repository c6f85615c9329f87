"""One poller for all the waits on one dbt Cloud account: up to 100 runs a request.

A trigger does not ask for its own run. It subscribes here, and one task of the event loop asks for all the
runs that are due, in threads of its own, and tells each waiter when its wait is over. Every look reads the
current state, so a late joiner, a restart or a second triggerer loses nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    NotFoundError,
    PermissionDeniedError,
    RejectedRequestError,
    Run,
)
from airflow_provider_dbtcloud_dlt.client.protocol import PAGE_SIZE
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, Outage, Wait, pause_after
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudConnectionError, DbtCloudHook

log = logging.getLogger(__name__)

CONCURRENT_REQUESTS = 4
GATHERING_SECONDS = 0.05
"""How long the first look is put off, so that triggers which start together are asked for together."""

FIRST_LOOK_SECONDS = 5.0
"""Airflow may fail a task whose trigger fires within seconds of its deferral: the first look comes later."""

Seen = Run | DbtCloudError


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


@dataclass(eq=False)
class Subscription:
    """One waiter: what it waits for, when it wants to look next, and where its ending goes."""

    wait: Wait
    interval: float
    due: float
    ended: asyncio.Future[Ending] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def saw(self, seen: Seen, now: float) -> None:
        """Take in what a look showed."""
        if self.ended.done():
            return
        ending = (
            self.wait.failed(seen, now) if isinstance(seen, DbtCloudError) else self.wait.answered(seen, now)
        )
        if ending is not None:
            self.ended.set_result(ending)
        else:
            pause = pause_after(seen, self.interval) if isinstance(seen, DbtCloudError) else self.interval
            self.due = now + self.wait.next_look(pause, now)


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, Poller]]
_pollers = weakref.WeakKeyDictionary()


class Poller:
    """Polls one account through one connection, for as long as somebody waits.

    Args:
        hook: looks the connection up, and makes the client.
        key: under which it is found.
        clock: tells the seconds since the epoch.
    """

    def __init__(self, hook: DbtCloudHook, key: PollerKey, clock: Callable[[], float] = time.time) -> None:
        self._hook = hook
        self._key = key
        self._clock = clock
        self._subscriptions: set[Subscription] = set()
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(CONCURRENT_REQUESTS, thread_name_prefix="dbt-cloud-poller")
        self._outage = Outage(log, f"dbt Cloud (connection {key.conn_id!r})")
        self._lists_by_id = True
        self._unlisted: set[int] = set()
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

    @asynccontextmanager
    async def subscribed(self, wait: Wait, interval: float) -> AsyncIterator[Subscription]:
        """Wait for a run's ending: ``await subscription.ended`` inside the block."""
        now = self._clock()
        first_look = wait.next_look(min(interval, FIRST_LOOK_SECONDS), now)
        subscription = Subscription(wait, interval, now + max(first_look, GATHERING_SECONDS))
        self._subscriptions.add(subscription)
        self._changed.set()
        if self._task is None or self._task.done():  # done: it broke down, see _fail_loudly
            # An empty context: the poller's log lines belong to no task's log.
            self._task = asyncio.get_running_loop().create_task(
                self._poll_until_nobody_waits(), context=contextvars.Context()
            )
            self._task.add_done_callback(self._fail_loudly)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                self._stop()

    def _stop(self) -> None:
        _pollers.get(asyncio.get_running_loop(), {}).pop(self._key, None)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fail_loudly(self, task: asyncio.Task[None]) -> None:
        """A defect here must not leave waiters waiting for ever: it becomes theirs."""
        error = None if task.cancelled() else task.exception()
        for item in self._subscriptions if error else ():
            if not item.ended.done():
                item.ended.set_exception(RuntimeError(f"the poller of dbt Cloud runs broke down: {error!r}"))

    async def _poll_until_nobody_waits(self) -> None:
        while True:
            waiting = [item for item in self._subscriptions if not item.ended.done()]
            now = self._clock()
            pause = min((item.due for item in waiting), default=float("inf")) - now
            if pause > 0:
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), None if pause == float("inf") else pause)
                except TimeoutError:
                    pass
                continue
            await self._look(self._due(waiting, now))

    def _due(self, waiting: Iterable[Subscription], now: float) -> list[Subscription]:
        """Who is due now, and in the last request's free places those who are due next."""
        queue = sorted(waiting, key=lambda item: item.due)
        due = sum(item.due <= now for item in queue)
        filled = -(-due // PAGE_SIZE) * PAGE_SIZE if self._lists_by_id else due
        return queue[:filled]

    async def _look(self, subscriptions: Sequence[Subscription]) -> None:
        """Ask for these waiters' runs and hand each what was seen of its run."""
        by_run: dict[int, list[Subscription]] = {}
        for item in subscriptions:
            by_run.setdefault(item.wait.run_id, []).append(item)
        everything: list[Seen] = []
        async for answers in self._ask(list(by_run)):
            now = self._clock()
            for run_id, seen in answers.items():
                for item in by_run[run_id]:
                    item.saw(seen, now)
            everything += answers.values()
        if everything:
            self._judge(everything)

    async def _ask(self, run_ids: Sequence[int]) -> AsyncIterator[dict[int, Seen]]:
        """What is seen of the runs, request by request as the answers come."""
        try:
            client = await self._client()
        except DbtCloudError as error:
            yield dict.fromkeys(run_ids, error)
            return
        size = PAGE_SIZE if self._lists_by_id else 1
        batches = [run_ids[start : start + size] for start in range(0, len(run_ids), size)]
        loop = asyncio.get_running_loop()
        asked = [loop.run_in_executor(self._threads, self._fetch, client, batch) for batch in batches]
        for answers in asyncio.as_completed(asked):
            yield await answers

    def _judge(self, seen: Sequence[Seen]) -> None:
        """After a look: it is an outage when no run could be learnt of; one run's trouble is its waiter's."""
        failures = [
            one for one in seen if isinstance(one, DbtCloudError) and not isinstance(one, NotFoundError)
        ]
        if len(failures) < len(seen):
            self._outage.answered(self._clock())
        else:
            self._outage.failed(failures[0], self._clock())
        if any(isinstance(one, InvalidCredentialsException | DbtCloudConnectionError) for one in failures):
            self._hook.forget()  # token or host may have been changed: read the connection again

    async def _client(self) -> DBTCloudClientV2:
        try:
            return await self._hook.aget_conn()
        except DbtCloudError:
            raise
        except Exception as error:
            raise DbtCloudConnectionError(
                f"Airflow connection {self._key.conn_id!r} could not be looked up: {error}"
            ) from error

    def _fetch(self, client: DBTCloudClientV2, run_ids: Sequence[int]) -> dict[int, Seen]:
        """In a thread: the runs by id, in one request where the server can do that."""
        found: dict[int, Seen] = {}
        try:
            if self._lists_by_id and len(run_ids) > 1:
                found.update(self._list(client, run_ids))
            unlisted = [run_id for run_id in run_ids if run_id not in found]
            for run_id in unlisted:
                try:
                    found[run_id] = client.get_run(run_id)
                except (NotFoundError, PermissionDeniedError, RejectedRequestError) as error:
                    found[run_id] = error
            self._note_unlisted(run_ids, {one for one in unlisted if isinstance(found[one], Run)})
        except DbtCloudError as error:  # the server's trouble: ask no more now, and keep what is known
            return {**dict.fromkeys(run_ids, error), **found}
        return found

    def _list(self, client: DBTCloudClientV2, run_ids: Sequence[int]) -> dict[int, Seen]:
        try:
            runs = {run.id: run for run in client.list_runs(pk__in=list(run_ids), limit=len(run_ids))}
        except RejectedRequestError as error:
            if error.status_code != 400:
                raise  # the server's passing trouble, no refusal of the question
            self._ask_singly(str(error))
            return {}
        if not runs.keys() <= set(run_ids):
            self._ask_singly("It answered with runs that were not asked for.")
        return {run_id: run for run_id, run in runs.items() if run_id in set(run_ids)}

    def _note_unlisted(self, run_ids: Sequence[int], unlisted: set[int]) -> None:
        """A new run may be listed a little late; a list that leaves out a run twice is none by id."""
        if self._unlisted & unlisted:
            self._ask_singly("It leaves out runs that exist.")
        self._unlisted = (self._unlisted - set(run_ids)) | unlisted

    def _ask_singly(self, reason: str) -> None:
        if self._lists_by_id:
            self._lists_by_id = False
            log.warning(
                "dbt Cloud (connection %r) does not list runs by id; asking for each run singly. %s",
                self._key.conn_id,
                reason,
            )
