"""The first run of a job after a moment: which one that is, and what it means when there is none yet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.lookup import NamedJob
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, Wait

First = Literal["created", "finished"]

_END_OF_TIME = "2999-12-31 00:00:00+00:00"
"""The API's ranges have two ends."""


@dataclass(frozen=True)
class NextRun:
    """Which run is meant.

    Attributes:
        job: a run of that job; by its names where it has not been possible to look them up.
        after: the first one of this moment, or of later.
        first: by which of its times.
        failed_before: a run that has ended before that without success does not count.
    """

    job: int | NamedJob
    after: datetime
    first: First = "created"
    failed_before: datetime | None = None

    def __str__(self) -> str:
        return f"run of job {self.job} that was {self.first} after {self.after.isoformat(' ')}"

    @classmethod
    def restored(
        cls,
        job_id: int | Mapping[str, Any],
        after: str,
        first: First = "created",
        failed_before: str | None = None,
    ) -> NextRun:
        """Return what `stored` has told."""
        job = NamedJob(**job_id) if isinstance(job_id, Mapping) else job_id
        passed_over = None if failed_before is None else datetime.fromisoformat(failed_before)
        return cls(job, datetime.fromisoformat(after), first, passed_over)

    def stored(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "job_id": asdict(self.job) if isinstance(self.job, NamedJob) else self.job,
            "after": self.after.isoformat(),
            "first": self.first,
            "failed_before": self.failed_before and self.failed_before.isoformat(),
        }

    def is_met_by(self, run: Run) -> bool:
        """Whether a run counts; the first that does is the one."""
        at = run.created_at if self.first == "created" else run.finished_at
        if at is None or at < self.after:
            return False
        if isinstance(self.job, int) and run.job_definition_id not in (self.job, None):
            return False
        is_failed = run.is_terminal and run.status is not RunStatus.SUCCESS
        if not is_failed or self.failed_before is None or run.finished_at is None:
            return True
        return run.finished_at >= self.failed_before


def find_next_runs(client: DBTCloudClientV2, wanted: Collection[NextRun]) -> dict[NextRun, Run]:
    """Return those that there are already; blocks, for one request unless there are very many runs.

    A job that is given by its names is looked up first, with some more.

    Args:
        client: asks.
        wanted: of one job, by the same of its times.

    Raises:
        JobLookupError: no job, or more than one, answers to the names.
        DbtCloudError: a request failed.
    """
    found: dict[NextRun, Run] = {}
    missing = set(wanted)
    if not missing:
        return found
    earliest = min(missing, key=lambda one: one.after)
    job_id = earliest.job.find(client).id if isinstance(earliest.job, NamedJob) else earliest.job
    for run in _runs_since(client, earliest.first, earliest.after, job_definition_id=job_id):
        for one in [one for one in missing if one.is_met_by(run)]:
            found[one] = run
            missing.remove(one)
        if not missing:
            break
    return found


def find_next_run(client: DBTCloudClientV2, wanted: NextRun) -> Run | None:
    """Return the run if it is there already; blocks, mostly for one request.

    Raises:
        DbtCloudError: a request failed.
    """
    return find_next_runs(client, [wanted]).get(wanted)


def finished_since(client: DBTCloudClientV2, moment: datetime) -> Iterator[Run]:
    """Iterate over the account's runs that ended after a moment, or within its second; by their ends."""
    return _runs_since(client, "finished", moment)


def _runs_since(client: DBTCloudClientV2, what: First, moment: datetime, **filters: Any) -> Iterator[Run]:
    # Whole seconds: it is not known what the API makes of fractions. What counts is decided by who asks.
    start = moment.astimezone(UTC).replace(microsecond=0).isoformat(" ")
    filters[f"{what}_at__range"] = [start, _END_OF_TIME]
    return client.list_runs(order_by=f"{what}_at", **filters)


@dataclass(slots=True)
class NextRunWait(Wait):
    """A wait until there is such a run; it ends badly when the time is up or nothing can be learnt."""

    run_id: int = field(default=0, init=False)
    next_run: NextRun = field(kw_only=True)

    def was_not_there(self, now: float) -> Ending | None:
        """The API answered, and there is no such run yet."""
        self._failing_since = self._missing_since = None
        return self.time_is_up(now)

    def _missed(self) -> str:
        return f"No {self.next_run} has been seen within the {self._limit}."

    @property
    def _subject(self) -> str:
        return f"a {self.next_run}"
