"""Waiting for one run in the calling thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from airflow_provider_dbtcloud_dlt.client.cadence import PAUSE_AFTER_FAILURE
from airflow_provider_dbtcloud_dlt.client.checks import check_id
from airflow_provider_dbtcloud_dlt.client.cool_down import through_cool_down
from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    PermissionDeniedError,
    RejectedRequestError,
    RunTimeoutError,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.glances import Glances
from airflow_provider_dbtcloud_dlt.client.habits import Habits, ListsRuns
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.waiting import Outage, Wait, pause_after

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 5.0
"""Seconds between two looks at least, where no interval is given: here each wait has its own requests."""


class ShowsRuns(ListsRuns, Protocol):
    """What is needed of the client."""

    host: str

    def get_run(self, run_id: int | str) -> Run:
        """Return a run."""

    def cancel_run(self, run_id: int | str) -> Run:
        """Cancel a run."""


def wait_for_run(
    client: ShowsRuns,
    run_id: int | str,
    *,
    poll_interval: float | None,
    timeout: float | None,
    outage_tolerance: float,
    cancel_on_timeout: bool,
    on_answer: Callable[[Run], object] | None,
    on_refusal: Callable[[], ShowsRuns] | None,
    glances: Glances | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Run:
    """See `DBTCloudClientV2.wait_for_run`."""
    if poll_interval is not None and not poll_interval > 0:
        raise InvalidRequestError(f"poll_interval must be more than 0 seconds, got {poll_interval!r}.")
    wait = Wait(
        run_id=check_id("run_id", run_id),
        end_time=None if timeout is None else clock() + timeout,
        outage_tolerance=outage_tolerance,
    )
    outage = Outage(log, f"dbt Cloud ({client.host})")
    habits = Habits()
    run: Run | None = None
    status: RunStatus | None = None
    while True:
        pause = poll_interval or PAUSE_AFTER_FAILURE
        try:
            run = client.get_run(run_id)
        except DbtCloudError as error:
            if run is None and _is_lasting(error):
                raise
            if isinstance(error, InvalidCredentialsException) and on_refusal is not None:
                client = on_refusal()
            pause = pause_after(error, pause)
            outage.failed(error, clock())
            ending = wait.failed(error, clock())
            if ending is not None and ending.status != "timeout":
                raise
        else:
            if run.status != status and not run.status.is_known:
                log.warning("Job run %s has a status that is not known: %d.", run.id, run.status)
            status = run.status
            outage.answered(clock())
            ending = wait.answered(run, clock())
            if on_answer is not None and on_answer(run):
                return run
            if ending is None and poll_interval is None:
                pause = habits.pause(client, run, clock(), SHORTEST_PAUSE, wait.left(clock()))
        if ending is not None and ending.status == "timeout":
            cancelled = f" {_cancel_late(client, run_id, sleep)}" if cancel_on_timeout else ""
            raise RunTimeoutError(f"{ending.message}{cancelled}", run=run)
        if ending is not None and run is not None:
            return run
        now = clock()
        if glances is None or run is None:
            sleep(wait.next_look(pause, now))
        else:
            glances.rest(
                run.id,
                wait.next_look(pause, now),
                left=wait.left(now),
                habit=habits.known(run),
                clock=clock,
                sleep=sleep,
            )


def _cancel_late(client: ShowsRuns, run_id: int | str, sleep: Callable[[float], None]) -> str:
    """Cancel a run whose waiter's time is up, and say how that went."""
    try:
        through_cool_down(lambda: client.cancel_run(run_id), log, sleep)
    except DbtCloudError as error:
        return f"It could not be cancelled and may go on: {error}"
    return "It was cancelled."


def _is_lasting(error: DbtCloudError) -> bool:
    """Whether a failure that is the first thing seen will not pass by waiting."""
    if isinstance(error, UnreachableError):
        return not error.passing
    return isinstance(
        error,
        InvalidCredentialsException | InvalidRequestError | PermissionDeniedError | RejectedRequestError,
    )
