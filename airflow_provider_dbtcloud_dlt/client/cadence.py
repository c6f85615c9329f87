"""How long to leave a run alone between two looks, when nobody has said so.

Pure, with the time passed in. Looks are dense around the time at which the job's earlier runs ended, and
sparse before. Without a history that tells, a run's end is seen late by no more than a hundredth of the time
that it took.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus

SHORTEST_PAUSE = 2.0
"""Seconds between two looks at least, where one request serves many waits."""
LOOK_SECONDS = 30.0
"""Between two looks at a list for what is not there yet, where no interval is given."""
PAUSE_AFTER_FAILURE = 10.0
"""Seconds until the next look after a failed one."""
HISTORY_LENGTH = 10
"""How many of a job's latest successful runs tell its habit."""

_FEWEST_RUNS = 3
_LARGEST_SPREAD = 0.4
"""Of the latest usual end. With a larger one an early end is no surprise, and would be seen late."""
_LATENESS = 0.01
_DENSE_LOOKS = 32
_SPARSE_LOOKS = 18


@dataclass(frozen=True)
class Habit:
    """When a job's runs usually end.

    Attributes:
        earliest: seconds after a run's start, before which its end would be a surprise.
        latest: likewise, after which.
    """

    earliest: float
    latest: float

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Habit | None:
        """Read it off a job's earlier runs; ``None`` when they are too few, or too different.

        Only successes count that ran all of the job: a failed run ends anywhere, one that was taken up at its
        point of failure ends early.
        """
        lasted = sorted(seconds for run in runs if (seconds := _lasted(run)) is not None)
        if len(lasted) < _FEWEST_RUNS:
            return None
        if len(lasted) > 2 * _FEWEST_RUNS:  # the one that found nothing new, the one that was held up
            lasted = lasted[1:-1]
        earliest, latest = lasted[0], lasted[-1]
        margin = max((latest - earliest) / 2, _LATENESS * latest, SHORTEST_PAUSE)
        earliest, latest = max(0.0, earliest - margin), latest + margin
        return cls(earliest, latest) if latest - earliest <= _LARGEST_SPREAD * latest else None


def pause_for(
    run: SeenRun, now: float, habit: Habit | None = None, shortest: float = SHORTEST_PAUSE
) -> float:
    """Seconds until the next look at a run that goes on.

    Args:
        run: as it was seen now.
        now: seconds since the epoch.
        habit: when runs of its job usually end, if that is known.
        shortest: seconds between two looks at least.
    """
    if run.started_at is None:
        return max(shortest, _while_queued(run, now, habit))
    elapsed = max(0.0, now - run.started_at.timestamp())
    unhurried = _LATENESS * elapsed
    if habit is None or elapsed >= habit.latest:
        return max(shortest, unhurried)
    if elapsed >= habit.earliest:
        return max(shortest, min(unhurried, (habit.latest - habit.earliest) / _DENSE_LOOKS))
    # Before that an end is most likely a failure: seen in time to matter, but not at once.
    sparse = min(max(elapsed / 5, _LATENESS * habit.earliest), habit.earliest / _SPARSE_LOOKS)
    return max(shortest, min(sparse, habit.earliest - elapsed))


def _while_queued(run: SeenRun, now: float, habit: Habit | None) -> float:
    """It can't end before it has started, and then not for as long as its job takes."""
    queued = 0.0 if run.created_at is None else now - run.created_at.timestamp()
    if habit is None:
        return _LATENESS * queued
    return min(_LATENESS * max(queued, habit.earliest), habit.earliest)


def _lasted(run: Run) -> float | None:
    if run.status is not RunStatus.SUCCESS or run.retrying_run_id is not None:
        return None
    if run.started_at is None or run.finished_at is None:
        return None
    return (run.finished_at - run.started_at).total_seconds()
