"""Looks at a run's steps now and then, while one rests who waits for it in the calling thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from airflow_provider_dbtcloud_dlt.client.cadence import Habit
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.models import Run
from airflow_provider_dbtcloud_dlt.client.progress import (
    FIRST_GLANCE_SECONDS,
    GLANCE_PAUSE_SECONDS,
    INCLUDED,
    Progress,
)

log = logging.getLogger(__name__)


class ShowsRun(Protocol):
    """What is needed of the client."""

    @property
    def clock_skew(self) -> float:
        """Seconds by which dbt Cloud's clock is ahead of this machine's."""

    def get_run(self, run_id: int | str, include_related: Sequence[str] = ()) -> Run:
        """Return a run."""

    def close(self) -> None:
        """Close the connections."""


class Glances:
    """Tells of a run's steps while one rests who waits for it alone.

    Args:
        connect: returns a client that asks once and not for long, for the wait goes on only after that.
        logger: where to tell.
        leeway: seconds that a glance may take: there is none when less is left of the wait's time.
    """

    def __init__(self, connect: Callable[[], ShowsRun], logger: Logger, leeway: float) -> None:
        self._connect = connect
        self._log = logger
        self._leeway = leeway
        self._progress = Progress()
        self._due: float | None = None

    def rest(
        self,
        run_id: int,
        seconds: float,
        *,
        left: float,
        habit: Habit | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Rest for so many seconds, and glance at the run whenever that is due. Raises nothing of a glance's.

        Args:
            run_id: the run.
            seconds: how long; a glance that takes longer than what is left of that makes it longer.
            left: seconds until the wait's time is up.
            habit: when runs of its job usually end, if that is known.
            clock: tells the seconds since the epoch.
            sleep: waits so many seconds.
        """
        now = clock()
        end, last = now + seconds, now + left - self._leeway
        if self._due is None:
            self._due = now + FIRST_GLANCE_SECONDS
        while (due := max(self._due, now)) < end and due < last:
            sleep(due - now)
            self._glance(run_id, habit, clock)
            now = clock()
            self._due = now + GLANCE_PAUSE_SECONDS
        sleep(max(0.0, end - now))

    def _glance(self, run_id: int, habit: Habit | None, clock: Callable[[], float]) -> None:
        try:
            with closing(self._connect()) as client:
                run = client.get_run(run_id, INCLUDED)
            for line in self._progress.lines(run, clock() + client.clock_skew, habit):
                self._log.info("%s", line)
        except Exception as error:  # noqa: BLE001 - what it tells is nothing that the wait may fail by
            log.debug("The steps of job run %s could not be told. %s", run_id, error)
