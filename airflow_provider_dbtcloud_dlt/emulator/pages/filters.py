"""Which runs the list at `/` shows: what its address says, and the addresses of other choices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from airflow_provider_dbtcloud_dlt.emulator.store import Selection, Status

PAGE = 100


@dataclass(frozen=True)
class Filter:
    """What somebody chose to see.

    Attributes:
        status: Only runs with this status.
        job_id: Only runs of this job.
        before: Only runs that are older than the one with this id: a page that stays the same when runs come.
        reload: Whether the page may load itself anew.
    """

    status: Status | None = None
    job_id: int | None = None
    before: int | None = None
    reload: bool = True

    @classmethod
    def of(cls, params: Mapping[str, str]) -> tuple[Self, list[str]]:
        """Read the query parameters of an address.

        Returns:
            The choice, and a sentence for each value that makes no sense and is therefore passed over.
        """
        problems = []
        status = None
        if wanted := params.get("status"):
            status = {one.name: one for one in Status}.get(wanted.upper())
            if status is None:
                known = ", ".join(one.name.capitalize() for one in Status)
                problems.append(f"“{_short(wanted)}” is not a status. A run is one of: {known}.")
        numbers: dict[str, int | None] = {}
        for name, what in (("job", "the id of a job"), ("before", "the id of a run")):
            wanted = params.get(name)
            numbers[name] = _id(wanted) if wanted else None
            if wanted and numbers[name] is None:
                problems.append(f"“{_short(wanted)}” is not {what}.")
        return cls(status, numbers["job"], numbers["before"], params.get("reload") != "off"), problems

    def link(self, **changes: Any) -> str:
        """Return the address of the list with something chosen differently, from the newest run on."""
        other = replace(self, **{"before": None, **changes})
        chosen = {
            "status": other.status and other.status.name.capitalize(),
            "job": other.job_id,
            "before": other.before,
            "reload": None if other.reload else "off",
        }
        query = urlencode({name: value for name, value in chosen.items() if value is not None})
        return f"/?{query}" if query else "/"

    def selection(self) -> Selection:
        """Return the page of runs that is shown, for the store."""
        return self._selection("<", "id DESC", PAGE)

    def count(self) -> Selection:
        """Return what asks the store for no run, only for how many there are on all pages."""
        return replace(self, before=None)._selection("<", "id", 0)

    def newer(self) -> Selection:
        """Return the runs between this page and the newest one, nearest first: a page and one."""
        return self._selection(">=", "id", PAGE + 1)

    def _selection(self, comparison: str, order: str, limit: int) -> Selection:
        given = {"status = ?": self.status, "job_id = ?": self.job_id, f"id {comparison} ?": self.before}
        chosen = {condition: value for condition, value in given.items() if value is not None}
        return Selection(list(chosen), list(chosen.values()), order, limit)


def _id(text: str) -> int | None:
    """Return a number that the database takes, or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
