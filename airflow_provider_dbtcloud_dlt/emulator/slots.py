"""Which runs wait, for what, and which of them begins next.

A run waits while the account's run slots are taken or an older run of its job is not finished
(https://docs.getdbt.com/docs/deploy/job-scheduler). Runs that are scripted as concurrent wait for nothing and
take no slot.
"""

from collections.abc import Iterable, Iterator

from airflow_provider_dbtcloud_dlt.emulator.store import Run


class Slots:
    """The runs that have not ended, by what they wait for. Ten thousand cost no more than ten.

    Args:
        number: How many runs execute at once.
        job_ids: The jobs.
    """

    def __init__(self, number: int, job_ids: Iterable[int]) -> None:
        self._number = number
        self._waiting: dict[int, Run] = {}
        self._unhindered: dict[int, Run] = {}
        # Those that wait for others, in the order in which they came.
        self._lines: dict[int, dict[int, Run]] = {job_id: {} for job_id in job_ids}
        self._active: dict[int, Run] = {}
        # Those of the active ones that take a slot and keep other runs of their job waiting.
        self._counted: dict[int, Run] = {}

    def find(self, run_id: int) -> Run | None:
        """Return the very record of a run that waits or is active."""
        return self._active.get(run_id) or self._waiting.get(run_id)

    def active(self, run_id: int) -> Run | None:
        """Return the very record of a run that is active."""
        return self._active.get(run_id)

    def wait(self, run: Run) -> None:
        """Let a run wait for its turn."""
        self._waiting[run.id] = run
        (self._unhindered if run.is_concurrent else self._lines[run.job_id])[run.id] = run

    def enter(self, run: Run) -> None:
        """Let a run be active."""
        self.leave(run)
        self._active[run.id] = run
        if not run.is_concurrent:
            self._counted[run.id] = run

    def leave(self, run: Run) -> None:
        """Forget a run, wherever it was."""
        line = self._lines.get(run.job_id, {})
        for place in (self._waiting, self._unhindered, line, self._active, self._counted):
            place.pop(run.id, None)

    def next(self) -> Iterator[Run]:
        """Yield the runs whose turn it is, oldest first; each has to `enter` before the next is asked for."""
        yield from list(self._unhindered.values())
        while len(self._counted) < self._number:
            busy = {run.job_id for run in self._counted.values()}
            heads = [next(iter(line)) for job_id, line in self._lines.items() if line and job_id not in busy]
            if not heads:
                return
            yield self._waiting[min(heads)]

    def blockers(self, run: Run) -> list[int]:
        """Return the ids of the runs that a run waits for; none if it does not wait."""
        if run.id not in self._waiting or run.is_concurrent:
            return []
        same = [one.id for one in self._counted.values() if one.job_id == run.job_id]
        first = next(iter(self._lines[run.job_id]))
        return same or ([first] if first != run.id else list(self._counted))
