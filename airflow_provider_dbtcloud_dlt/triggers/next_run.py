"""The trigger that waits until a job has a next run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError, JobLookupError, Run
from airflow_provider_dbtcloud_dlt.client.cadence import LOOK_SECONDS
from airflow_provider_dbtcloud_dlt.client.next_run import First, NextRun, NextRunWait, find_next_runs
from airflow_provider_dbtcloud_dlt.client.waiting import DEFAULT_OUTAGE_TOLERANCE, Ending, pause_after
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import storable_params
from airflow_provider_dbtcloud_dlt.triggers.poller import FIRST_LOOK_SECONDS, Poller
from airflow_provider_dbtcloud_dlt.triggers.shared_look import Looker, SharedLook
from airflow_provider_dbtcloud_dlt.triggers.stored import stored


class Seeker(Looker):
    """One who waits for a run that is not there yet; `over` gets it, or why the wait ended without one.

    Args:
        wait: for which run, and how long.
        interval: seconds between two looks.
        poller: tells the time.
    """

    over: asyncio.Future[Run | Ending]

    def __init__(self, wait: NextRunWait, interval: float, poller: Poller) -> None:
        self.wish: NextRun = wait.next_run
        self._wait = wait
        self._interval = interval
        self._poller = poller
        loop = asyncio.get_running_loop()
        self.over = loop.create_future()
        self.due = loop.time() + wait.next_look(min(interval, FIRST_LOOK_SECONDS), poller.now())

    @property
    def key(self) -> Hashable:
        """Of one job's runs a list can be had, in one order."""
        return (Seeker, self.wish.job, self.wish.first)

    @staticmethod
    def ask(client: DBTCloudClientV2, wishes: Sequence[NextRun]) -> dict[NextRun, Run]:
        """Find the runs that are there."""
        return find_next_runs(client, set(wishes))

    def saw(self, answer: Mapping[NextRun, Run] | DbtCloudError) -> None:
        """Take in what a look showed."""
        now, pause = self._poller.now(), self._interval
        outcome: Run | Ending | None
        if isinstance(answer, JobLookupError):  # the API answers: there is no such job
            outcome = Ending("error", str(answer))
        elif isinstance(answer, DbtCloudError):
            outcome, pause = self._wait.failed(answer, now), pause_after(answer, pause)
        else:
            outcome = answer.get(self.wish) or self._wait.was_not_there(now)
        if outcome is not None:
            self.over.set_result(outcome)
        else:
            self.due = asyncio.get_running_loop().time() + self._wait.next_look(pause, now)


class DbtCloudNextRunTrigger(BaseTrigger):
    """Waits until a job has a run of after a moment; all who wait for runs of that job share the looks.

    It yields one event: ``{"status": …, "message": …}`` with the status ``found``, ``timeout``,
    ``unreachable`` or ``error``. Which run it is the task reads again.

    Args:
        conn_id: the Airflow connection; it keeps the secret, nothing of which is among these arguments.
        job_id: the job; or its names, as of `NamedJob`, where they could not be looked up yet.
        after: the moment, in ISO format with a time zone.
        first: the first run ``created`` or ``finished`` after it.
        failed_before: leave out runs that ended without success before this moment, in ISO format.
        end_time: when to give up, in seconds since the epoch.
        poll_interval: seconds between two looks; default: 30.
        account_id: instead of the connection's account.
        hook_params: further arguments of `DbtCloudHook`; JSON values.
        execution_deadline: likewise `end_time`, by the task's ``execution_timeout``.
        outage_tolerance: seconds for which an API that does not answer is outlived.
    """

    def __init__(
        self,
        conn_id: str,
        job_id: int | Mapping[str, Any],
        after: str,
        first: First = "created",
        failed_before: str | None = None,
        end_time: float | None = None,
        poll_interval: float | None = None,
        account_id: int | None = None,
        hook_params: Mapping[str, Any] | None = None,
        execution_deadline: float | None = None,
        outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.job_id = job_id
        self.after = after
        self.first = first
        self.failed_before = failed_before
        self.end_time = end_time
        self.poll_interval = poll_interval
        self.account_id = account_id
        self.hook_params = storable_params(hook_params)
        self.execution_deadline = execution_deadline
        self.outage_tolerance = outage_tolerance

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow keeps in its database."""
        return stored(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, once there is a run or the wait has ended without one."""
        next_run = NextRun.restored(self.job_id, self.after, self.first, self.failed_before)
        wait = NextRunWait(self.end_time, self.execution_deadline, self.outage_tolerance, next_run=next_run)
        poller = Poller.shared(self.conn_id, self.account_id, self.hook_params)
        seeker = Seeker(wait, self.poll_interval or LOOK_SECONDS, poller)
        with SharedLook.joined(poller, seeker):
            over = await seeker.over
        if isinstance(over, Run):
            payload = {"status": "found", "message": f"Job run {over.id} is a {next_run}."}
        else:
            payload = {"status": over.status, "message": over.message}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
