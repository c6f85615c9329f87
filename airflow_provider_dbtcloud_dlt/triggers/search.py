"""One look at a job's runs for all who wait for a next run of it."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_provider_dbtcloud_dlt.client import DbtCloudError, Run
from airflow_provider_dbtcloud_dlt.client.next_run import First, NextRunWait, find_next_runs
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, pause_after
from airflow_provider_dbtcloud_dlt.triggers.poller import FIRST_LOOK_SECONDS, Poller

SEARCH_SECONDS = 30.0
"""Between two looks, where no interval is given: a request each, for all who wait for a run of the job."""


@dataclass(eq=False, slots=True)
class Seeker:
    """One who waits for a run that is not there yet.

    Attributes:
        wait: for which run, and how long.
        interval: seconds between two looks.
        due: when to look next, by the event loop's clock.
        over: gets the run, or why the wait ended without one.
    """

    wait: NextRunWait
    interval: float
    due: float = 0.0
    over: asyncio.Future[Run | Ending] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def saw(self, seen: Run | DbtCloudError | None, now: float) -> None:
        """Take in what a look showed; `now` in seconds since the epoch."""
        if self.over.done():
            return
        pause = self.interval
        outcome: Run | Ending | None
        if isinstance(seen, DbtCloudError):
            pause = pause_after(seen, pause)
            outcome = self.wait.failed(seen, now)
        else:
            outcome = seen or self.wait.was_not_there(now)
        if outcome is not None:
            self.over.set_result(outcome)
        else:
            self.due = asyncio.get_running_loop().time() + self.wait.next_look(pause, now)


_searches: weakref.WeakKeyDictionary[Poller, dict[tuple[int, First], Search]] = weakref.WeakKeyDictionary()


class Search:
    """Looks for next runs of one job, as long as there are seekers.

    Args:
        poller: of the job's account; asks.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._seekers: dict[Seeker, None] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    @contextmanager
    def joined(cls, poller: Poller, seeker: Seeker) -> Iterator[None]:
        """Search until the end of the ``with``, together with all who wait for a run of the same job."""
        searches = _searches.setdefault(poller, {})
        key = (seeker.wait.next_run.job_id, seeker.wait.next_run.first)
        search = searches.setdefault(key, cls(poller))
        with poller.in_use():
            search._join(seeker)
            try:
                yield
            finally:
                if search._leave(seeker):
                    del searches[key]

    def _join(self, seeker: Seeker) -> None:
        loop = asyncio.get_running_loop()
        first = seeker.wait.next_look(min(seeker.interval, FIRST_LOOK_SECONDS), self._poller.now())
        seeker.due = loop.time() + first
        self._seekers[seeker] = None
        self._changed.set()
        if self._task is None:
            # An empty context: what is logged here belongs to no task's log.
            self._task = loop.create_task(self._look_when_due(), context=contextvars.Context())
            self._task.add_done_callback(self._fail_loudly)

    def _leave(self, seeker: Seeker) -> bool:
        """Whether that was the last one."""
        del self._seekers[seeker]
        if self._seekers:
            return False
        if self._task is not None:
            self._task.cancel()
        return True

    def _fail_loudly(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        for seeker in self._seekers if error else ():
            if not seeker.over.done():
                seeker.over.set_exception(RuntimeError(f"the search for next runs broke down: {error!r}"))

    async def _look_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            seeking = [one for one in self._seekers if not one.over.done()]
            due = min((one.due for one in seeking), default=None)
            if due is not None and due <= loop.time():
                await self._look(seeking)
                continue
            timer = None if due is None else loop.call_at(due, self._changed.set)
            await self._changed.wait()
            if timer is not None:
                timer.cancel()

    async def _look(self, seeking: list[Seeker]) -> None:
        wanted = {one.wait.next_run for one in seeking}
        try:
            found = await self._poller.ask(lambda client: find_next_runs(client, wanted))
        except DbtCloudError as error:
            for one in seeking:
                one.saw(error, self._poller.now())
        else:
            for one in seeking:
                one.saw(found.get(one.wait.next_run), self._poller.now())
