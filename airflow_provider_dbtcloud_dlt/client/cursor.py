"""Which ended runs have been told of: each is told of once, in whatever order and how late lists show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_dbtcloud_dlt.client.models import Run

LATEST = timedelta(minutes=10)
"""So much later than its end a run may appear in a list, and is still told of."""


@dataclass(frozen=True)
class Cursor:
    """How far it has been looked. Times are dbt Cloud's.

    Attributes:
        start: what ended before is never told of.
        until: when the last look was.
        told: the runs that have been told of and may be listed again, each with its end.
    """

    start: datetime
    until: datetime
    told: frozenset[tuple[int, datetime]] = frozenset()

    @classmethod
    def at(cls, start: datetime) -> Cursor:
        """The cursor of who begins now."""
        return cls(start, start)

    @property
    def since(self) -> datetime:
        """From which end on runs have to be listed."""
        return max(self.start, self.until - LATEST)

    def after(self, listed: Iterable[Run], asked_at: datetime) -> tuple[Cursor, list[Run]]:
        """Return the cursor after a look, and the runs that are new, by their ends.

        Args:
            listed: ended runs from `since` on; more do no harm.
            asked_at: when the look began.
        """
        told_ids = {run_id for run_id, _ in self.told}
        ended = {run.id: (run.finished_at, run) for run in listed if run.finished_at is not None}
        new = sorted(
            (end, run_id, run)
            for run_id, (end, run) in ended.items()
            if end >= self.since and run_id not in told_ids
        )
        moved = Cursor(self.start, max(self.until, asked_at))
        told = self.told | {(run_id, end) for end, run_id, _ in new}
        kept = frozenset((run_id, end) for run_id, end in told if end >= moved.since)
        return Cursor(moved.start, moved.until, kept), [run for _, _, run in new]

    def stored(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        told = [[run_id, end.astimezone(UTC).isoformat()] for run_id, end in sorted(self.told)]
        return {"start": self.start.isoformat(), "until": self.until.isoformat(), "told": told}

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Cursor:
        """Return what `stored` has told.

        Raises:
            KeyError, TypeError, ValueError: it is no such thing.
        """
        told = frozenset((int(run_id), datetime.fromisoformat(end)) for run_id, end in stored["told"])
        return cls(datetime.fromisoformat(stored["start"]), datetime.fromisoformat(stored["until"]), told)
