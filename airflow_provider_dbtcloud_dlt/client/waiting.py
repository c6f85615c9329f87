"""What a run's state means for somebody who waits for it.

Pure state machines, with the time passed in: the client's blocking wait, the poller in the triggerer and
the operators all decide here. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.models import RunStatus

DEFAULT_OUTAGE_TOLERANCE = 30 * 60.0
NOT_FOUND_TOLERANCE = 60.0
"""A run may be unknown for some seconds after it was started; one that stays so does not exist."""
MAX_RETRY_AFTER = 5 * 60.0
"""The most seconds that a ``Retry-After`` may put off the next look at a run: dbt documents a cool-down of
five minutes. With more (a gateway's maintenance page may say a day) nobody would see that the run has ended,
or that the API has been away for too long.
"""

EndingStatus = Literal["success", "error", "cancelled", "timeout", "unreachable"]

_ENDINGS: dict[RunStatus, tuple[EndingStatus, str]] = {
    RunStatus.SUCCESS: ("success", "has completed successfully"),
    RunStatus.ERROR: ("error", "has failed"),
    RunStatus.CANCELLED: ("cancelled", "has been cancelled"),
}


def pause_after(error: DbtCloudError, interval: float) -> float:
    """Seconds until the next look after a failed one: `interval`, or longer where the server asked for it."""
    asked = error.retry_after if isinstance(error, RateLimitError | ServerError) else None
    return max(interval, min(asked or 0.0, MAX_RETRY_AFTER))


@dataclass(frozen=True)
class Ending:
    """How a wait ended.

    Attributes:
        status: ``success``, ``error`` and ``cancelled`` are the run's own ends; ``timeout``: the waiter's
            time was up; ``unreachable``: the API gave no answer for too long.
        message: one sentence for a person.
    """

    status: EndingStatus
    message: str


def ending_of(run: SeenRun) -> Ending | None:
    """The run's own end, or ``None`` while it goes on."""
    if run.status not in _ENDINGS:
        return None
    status, words = _ENDINGS[run.status]
    reason = f": {run.status_message}" if run.status_message else "."
    return Ending(status, f"Job run {run.id} {words}{reason}")


def progress_of(run: SeenRun, now: float) -> str:
    """How far a run that goes on has come: its state, and how long it has run, or else was queued."""
    since = run.started_at or run.created_at
    return _progress(run.status, run.started_at is not None, since.timestamp() if since else None, now)


def _progress(status: RunStatus, started: bool, since: float | None, now: float) -> str:
    state = f"its last known state is {status.humanized}"
    if since is None:
        return state
    span = timedelta(seconds=max(0, round(now - since)))
    return f"{state}, it {'has run' if started else 'was queued'} for {span}"


@dataclass(slots=True)
class Wait:
    """One waiter's wait for one run: feed it what was seen, it says when it is over.

    Args:
        run_id: the run.
        end_time: when the waiter's time is up; ``None`` for never.
        execution_deadline: likewise, by Airflow's ``execution_timeout``; the earlier of the two counts.
        outage_tolerance: seconds without a usable answer after which the wait gives up.
    """

    run_id: int
    end_time: float | None = None
    execution_deadline: float | None = None
    outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE
    _last_seen: RunStatus | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)
    _since: float | None = field(default=None, init=False)
    _seen_at: float = field(default=0.0, init=False)
    _failing_since: float | None = field(default=None, init=False)
    _missing_since: float | None = field(default=None, init=False)

    @property
    def deadline(self) -> float | None:
        """The earlier of the two time limits."""
        limits = [limit for limit in (self.end_time, self.execution_deadline) if limit is not None]
        return min(limits, default=None)

    def answered(self, run: SeenRun, now: float) -> Ending | None:
        """The API showed the run."""
        self._failing_since = self._missing_since = None
        # Of thousands of runs only that is kept which a message may need one day.
        since = run.started_at or run.created_at
        self._last_seen, self._started = run.status, run.started_at is not None
        self._since = None if since is None else since.timestamp()
        self._seen_at = now
        return ending_of(run) or self.time_is_up(now)

    def failed(self, error: DbtCloudError, now: float) -> Ending | None:
        """The API failed to show the run: a passing failure, until it has lasted for too long."""
        if isinstance(error, RateLimitError):  # the API is there, and asks for patience
            self._failing_since = None
        elif isinstance(error, NotFoundError):
            self._failing_since = None
            if self._missing_since is None:
                self._missing_since = now
            if now - self._missing_since >= NOT_FOUND_TOLERANCE:
                return Ending("error", f"{self._subject.capitalize()} was not found. {error}")
        else:  # tells nothing of whether there is such a run
            if self._failing_since is None:
                self._failing_since = now
            if now - self._failing_since >= self.outage_tolerance:
                minutes = (now - self._failing_since) / 60
                return Ending(
                    "unreachable",
                    f"Nothing could be learnt of {self._subject} for {minutes:.0f} minutes, longer "
                    f"than outage_tolerance; the run itself may be going on. Last failure: {error}",
                )
        return self.time_is_up(now)

    def left(self, now: float) -> float:
        """Seconds until the time is up; infinity where there is no limit."""
        return float("inf") if self.deadline is None else max(0.0, self.deadline - now)

    def next_look(self, interval: float, now: float) -> float:
        """Seconds until the next look: `interval`, or less when the time is up before."""
        return min(interval, self.left(now))

    def time_is_up(self, now: float) -> Ending | None:
        """The wait's end, if its time is up and the run could not be seen once more."""
        if self.deadline is None or now < self.deadline:
            return None
        return Ending("timeout", self._missed())

    def _missed(self) -> str:
        return f"Job run {self.run_id} has not ended within the {self._limit}; {self._progress()}."

    @property
    def _subject(self) -> str:
        return f"job run {self.run_id}"

    @property
    def _limit(self) -> str:
        return "execution_timeout" if self.deadline == self.execution_deadline else "timeout"

    def _progress(self) -> str:
        if self._last_seen is None:
            return "it was never seen"
        return _progress(self._last_seen, self._started, self._since, self._seen_at)


class Outage:
    """Logs an outage once when it begins and once when it ends, instead of at every look.

    Args:
        logger: where to.
        whom: who does not answer, for the message.
    """

    def __init__(self, logger: Logger, whom: str) -> None:
        self._log = logger
        self._whom = whom
        self._since: float | None = None

    def failed(self, error: DbtCloudError, now: float) -> None:
        """A look failed."""
        if self._since is None:
            self._since = now
            self._log.warning("%s gives no usable answer; the wait goes on. %s", self._whom, error)

    def answered(self, now: float) -> None:
        """A look succeeded."""
        if self._since is not None:
            self._log.info("%s answers again after %.0f s.", self._whom, now - self._since)
            self._since = None
