"""When the jobs of an account usually end: read once per job, for the waits that leave the interval to us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from airflow_provider_dbtcloud_dlt.client.cadence import HISTORY_LENGTH, Habit, pause_for
from airflow_provider_dbtcloud_dlt.client.errors import DbtCloudError
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus

_WORTH_ASKING_SECONDS = 20.0
"""A run that ends sooner needs no history."""
_LASTS_SECONDS = 6 * 3600.0
_AGAIN_AFTER_FAILURE_SECONDS = 300.0


class ListsRuns(Protocol):
    """What is needed of the client."""

    retry_budget: float

    @property
    def clock_skew(self) -> float:
        """Seconds by which dbt Cloud's clock is ahead of this machine's."""

    def list_runs(self, *, limit: int | None = None, **filters: Any) -> Iterator[Run]:
        """Iterate over runs."""


class Habits:
    """What is known of each job's habit, and of which jobs it is to be learnt."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Habit | None, float]] = {}
        self._wanted: dict[int, None] = {}

    def of(self, run: SeenRun, now: float, skew: float = 0.0) -> Habit | None:
        """The habit of the run's job, as far as it is known; if it is not, it will be asked for.

        Args:
            run: one that goes on.
            now: seconds since the epoch, here.
            skew: seconds by which dbt Cloud's clock is ahead.
        """
        job_id = run.job_definition_id
        if job_id is None:
            return None
        habit, expires = self._known.get(job_id, (None, 0.0))
        if now >= expires and _age(run, now + skew) >= _WORTH_ASKING_SECONDS:
            self._wanted[job_id] = None
        return habit

    def known(self, run: Run) -> Habit | None:
        """The habit of the run's job, as far as it is known; nothing is asked for."""
        habit, _ = self._known.get(run.job_definition_id or 0, (None, 0.0))
        return habit

    def pause(self, client: ListsRuns, run: SeenRun, now: float, shortest: float, left: float) -> float:
        """Seconds until the next look at a run that goes on, for one who waits alone; may ask, and blocks.

        Args:
            client: to ask for the job's earlier runs.
            run: as it was seen now.
            now: seconds since the epoch, here.
            shortest: seconds between two looks at least.
            left: seconds until the wait's time is up: asking may take its time, and must not outlast it.
        """
        skew = client.clock_skew
        self.of(run, now, skew)
        if left > 2 * client.retry_budget and (job_id := self.next_wanted(now)):
            try:
                self.learn(job_id, earlier_runs(client, job_id), now)
            except DbtCloudError as error:
                self.learn(job_id, error, now)
        return pause_for(run, now + skew, self.of(run, now, skew), shortest)

    @property
    def are_wanted(self) -> bool:
        """Whether there is a job whose history is to be asked for."""
        return bool(self._wanted)

    def next_wanted(self, now: float) -> int | None:
        """A job whose history is to be asked for now; None when there is none."""
        if not self._wanted:
            return None
        job_id = next(iter(self._wanted))
        del self._wanted[job_id]
        habit, _ = self._known.get(job_id, (None, 0.0))
        self._known[job_id] = (habit, now + _AGAIN_AFTER_FAILURE_SECONDS)  # it is being asked for
        return job_id

    def learn(self, job_id: int, answer: Sequence[Run] | DbtCloudError, now: float) -> None:
        """Take in a job's earlier runs; after a failure it is asked for again in some minutes."""
        if not isinstance(answer, DbtCloudError):
            self._known[job_id] = (Habit.of(answer), now + _LASTS_SECONDS)


def earlier_runs(client: ListsRuns, job_id: int) -> list[Run]:
    """A job's latest successful runs, in one request; blocks.

    Raises:
        DbtCloudError: the request failed.
    """
    return list(
        client.list_runs(
            job_definition_id=job_id, status=int(RunStatus.SUCCESS), order_by="-id", limit=HISTORY_LENGTH
        )
    )


def _age(run: SeenRun, now: float) -> float:
    since = run.started_at or run.created_at
    return 0.0 if since is None else now - since.timestamp()
