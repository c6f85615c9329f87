"""Tells in the tasks' logs how far their runs have come, for all that wait through one poller."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple, Self

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.client.cadence import Habit
from airflow_provider_dbtcloud_dlt.client.progress import (
    FIRST_GLANCE_SECONDS,
    GLANCE_PAUSE_SECONDS,
    Progress,
)

log = logging.getLogger(__name__)


class Sight(NamedTuple):
    """What a glance showed: the run with its steps and trigger, dbt Cloud's time, and its job's habit."""

    run: Run
    now: float
    habit: Habit | None


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody in whose log a run's progress is told, inside of a ``with``. There are thousands of these."""

    glances: TriggerGlances
    run_id: int
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    progress: Progress = field(default_factory=Progress)
    due: float = 0.0
    has_left: bool = False

    def __lt__(self, other: Listener) -> bool:
        return self.due < other.due

    def __enter__(self) -> Self:
        self.glances.join(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.has_left = True
        self.glances.leave()


class TriggerGlances:
    """Glances at one run after the other, as each is due: one task for all, and one request at a time.

    Args:
        see: glances at a run, as soon as that takes nothing from those who wait; may raise anything.
    """

    def __init__(self, see: Callable[[int], Awaitable[Sight]]) -> None:
        self._see = see
        self._queue: list[Listener] = []
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None

    def of(self, run_id: int) -> Listener:
        """Tell of a run, in the log of whoever calls this."""
        return Listener(self, run_id)

    def join(self, listener: Listener) -> None:
        """Somebody listens from now on."""
        loop = asyncio.get_running_loop()
        listener.due = loop.time() + FIRST_GLANCE_SECONDS
        heappush(self._queue, listener)
        self._listeners += 1
        if self._task is None:  # an empty context: what goes wrong here belongs into no task's log
            self._task = loop.create_task(self._glance_in_turn(), context=contextvars.Context())

    def leave(self) -> None:
        """Somebody, who has said so, listens no longer; with the last one everything ends."""
        self._listeners -= 1
        if self._listeners == 0 and self._task is not None:
            self._task.cancel()
            self._task = None
            self._queue.clear()

    async def _glance_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if (pause := self._queue[0].due - loop.time()) > 0:
                # Who joins meanwhile is due later than that.
                await asyncio.sleep(min(pause, FIRST_GLANCE_SECONDS))
                continue
            listener = heappop(self._queue)
            if not listener.has_left:
                await self._glance(listener)
                listener.due = loop.time() + GLANCE_PAUSE_SECONDS
                heappush(self._queue, listener)

    async def _glance(self, listener: Listener) -> None:
        try:
            run, now, habit = await self._see(listener.run_id)
            if not listener.has_left:
                for line in listener.progress.lines(run, now, habit):
                    listener.context.run(log.info, "%s", line)
        except Exception as error:  # noqa: BLE001 - what it tells is nothing that a wait may fail by
            log.debug("The steps of job run %s could not be told. %s", listener.run_id, error)
