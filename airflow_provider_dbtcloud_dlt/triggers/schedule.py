"""Which runs are to be asked for, and when. Pure: times are passed in."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterator
from itertools import islice

_FAR_ENOUGH = 4
"""How far beyond the free places those are looked for who may be asked for already: so many times."""


class Schedule:
    """Runs in the order in which they are due. A run that is taken is on it no more, until it is put back."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int]] = []
        self._dues: dict[int, float] = {}
        self._not_before: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._dues

    def put(self, run_id: int, due: float, not_before: float | None = None) -> None:
        """Put a run on, or elsewhere.

        Args:
            run_id: the run.
            due: when it has to be asked for.
            not_before: from when it may be, where that costs nothing; default: at any time.
        """
        self.remove(run_id)
        self._dues[run_id] = due
        if not_before is not None:
            self._not_before[run_id] = not_before
        insort(self._queue, (due, run_id))

    def remove(self, run_id: int) -> None:
        """Take a run off, if it is on."""
        due = self._dues.pop(run_id, None)
        if due is not None:
            self._not_before.pop(run_id, None)
            del self._queue[bisect_left(self._queue, (due, run_id))]

    @property
    def next_due(self) -> float:
        """When the first is due; infinity when there is none."""
        return self._queue[0][0] if self._queue else float("inf")

    def due(self, now: float) -> list[int]:
        """All runs that are due, the longest overdue first."""
        return [run_id for _, run_id in self._queue[: self._end_of_due(now)]]

    def candidates(self, now: float, places: int, leave: Container[int] = ()) -> Iterator[int]:
        """Who may be asked for now: those who are due, then those due next; nobody when none is due.

        Args:
            now: the time.
            places: how many are wanted: that many times a few are looked for beyond those who are due.
            leave: runs that don't count.
        """
        end = self._end_of_due(now)
        due = [run_id for _, run_id in islice(self._queue, end) if run_id not in leave]
        yield from due
        if due:
            for _, run_id in islice(self._queue, end, end + _FAR_ENOUGH * places):
                if self._not_before.get(run_id, now) <= now and run_id not in leave:
                    yield run_id

    def take(self, now: float, places: int, leave: Container[int] = ()) -> list[int]:
        """Take the first of the `candidates`, as many as there are places."""
        taken = list(islice(self.candidates(now, places, leave), places))
        for run_id in taken:
            self.remove(run_id)
        return taken

    def _end_of_due(self, now: float) -> int:
        return bisect_left(self._queue, (now, float("inf")))
