"""Who started a run: a marker in its cause, and what a later try of the same task does with the run.

A task that lost its worker, or the answer to its trigger, finds its run again by the marker instead of
starting a second one. Pure: nothing here asks the API.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.client.checks import CAUSE_MAX_LENGTH
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus

_PATTERN = re.compile(r"\[af:(?P<work>[0-9a-f]{16})/(?P<epoch>\d{1,9})\]")


@dataclass(frozen=True)
class Marker:
    """Names the piece of work that a run was started for.

    Attributes:
        work: a digest of which task instance it is, 16 hexadecimal digits.
        epoch: rises when the task is cleared, not when it is retried.
    """

    work: str
    epoch: int

    def __str__(self) -> str:
        return f"[af:{self.work}/{self.epoch}]"

    @classmethod
    def for_task(
        cls,
        *,
        deployment: str,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int,
        epoch: int,
    ) -> Marker:
        """The marker of a task instance.

        Args:
            deployment: which Airflow, when several run the same DAGs; may be empty. Nothing of the DAG run
                that a clear changes (its start) may tell them apart: the run is to be found again.
            dag_id: the DAG.
            run_id: the DAG run.
            task_id: the task.
            map_index: of a mapped task, else -1.
            epoch: ``ti.max_tries``.
        """
        parts = (deployment, dag_id, run_id, task_id, str(map_index))
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8)
        return cls(digest.hexdigest(), epoch)

    @classmethod
    def of(cls, run: Run) -> Marker | None:
        """The marker in a run's cause; ``None`` when there is none, or the run's trigger was not included."""
        match = _PATTERN.match((run.trigger and run.trigger.cause) or "")
        return cls(match["work"], int(match["epoch"])) if match else None

    def cause(self, reason: str) -> str:
        """The cause to start a run with: the marker, then as much of the reason as fits."""
        return f"{self} {reason}"[:CAUSE_MAX_LENGTH].rstrip()

    @property
    def reason_length(self) -> int:
        """The most characters that a reason may have beside this marker."""
        return CAUSE_MAX_LENGTH - len(f"{self} ")


@dataclass(frozen=True)
class Start:
    """Start a run.

    Attributes:
        cancel: the active runs of this work, to be cancelled first: an older epoch left them behind.
        no_retry: why none is retried although that was asked for, as a sentence; empty when it was not.
    """

    cancel: tuple[Run, ...] = ()
    no_retry: str = ""


@dataclass(frozen=True)
class Adopt:
    """Go on with this run: it is still active, or its result was never delivered.

    Attributes:
        run: the run.
        cancel: the other active runs of this work: twins, which a trigger that was sent twice has started,
            and what an older epoch left behind. One is enough.
    """

    run: Run
    cancel: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Retry:
    """Let dbt Cloud take up this failed run at its point of failure.

    Attributes:
        run: the run.
        cancel: as of `Start`.
    """

    run: Run
    cancel: tuple[Run, ...] = ()


Decision = Start | Adopt | Retry


def runs_of(marker: Marker, runs: Iterable[Run]) -> list[tuple[int, Run]]:
    """The runs started for this work, each with its epoch, newest first.

    A run made by ``/runs/{id}/retry/`` bears no marker of its own: it belongs to the run that it retries.
    """
    by_id = {run.id: run for run in runs}
    found = []
    for run in by_id.values():
        root, seen = run, {run.id}
        while Marker.of(root) is None and root.retrying_run_id in by_id and root.retrying_run_id not in seen:
            root = by_id[root.retrying_run_id]
            seen.add(root.id)
        theirs = Marker.of(root)
        if theirs is not None and theirs.work == marker.work:
            found.append((theirs.epoch, run))
    return sorted(found, key=lambda item: item[1].id, reverse=True)


def best_of(runs: Sequence[Run]) -> Run:
    """Of one epoch's runs, newest first, the one to go on with: whoever looks decides the same.

    Ordinarily there is one. Of active twins it is the oldest; of ended ones, one that succeeded.
    """
    succeeded = [run for run in runs if run.status is RunStatus.SUCCESS]
    return [*reversed(_active(runs)), *succeeded, *runs][0]


def decide(
    marker: Marker, runs: Iterable[Run], *, wait: bool = True, retry_from_failure: bool = False
) -> Decision:
    """What a try does about the runs that earlier tries of the same work may have started.

    Args:
        marker: of this try.
        runs: what is known of the job's runs, with their triggers.
        wait: whether the task waits for the run's end; if not, any run of this epoch is its result.
        retry_from_failure: take up a failed run at its point of failure, where the API says it can be.

    Returns:
        What to do; see the table in docs/faults.md. Whatever it is, no other run of this work
        goes on beside it.
    """
    ours = runs_of(marker, runs)
    active = _active([run for _, run in ours])

    def adopt(run: Run) -> Adopt:
        return Adopt(run, cancel=tuple(one for one in active if one is not run))

    if current := [run for epoch, run in ours if epoch == marker.epoch]:
        best = best_of(current)
        if not wait or not best.is_terminal or best.status is RunStatus.SUCCESS:
            return adopt(best)
    if not retry_from_failure:
        return Start(tuple(active))
    if ours:
        # A retry bears the epoch of the run that it retries, but may well be this epoch's.
        if retries := [run for run in active if run.retrying_run_id is not None]:
            return adopt(retries[0])
        newest = ours[0][1]
        if newest.is_terminal and newest.can_retry:
            return Retry(newest, cancel=tuple(active))
    return Start(tuple(active), _no_retry(ours))


def _no_retry(ours: Sequence[tuple[int, Run]]) -> str:
    if not ours:
        return "This task has no earlier job run that could be retried."
    newest = ours[0][1]
    if newest.is_terminal:
        reason = newest.retry_not_supported_reason or "dbt Cloud does not say why"
    else:
        reason = "it had not ended when this task was cleared"
    return f"Job run {newest.id} ({newest.status.humanized}) can't be retried: {reason}."


def _active(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not run.is_terminal]
