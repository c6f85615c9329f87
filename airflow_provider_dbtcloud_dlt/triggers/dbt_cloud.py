"""The trigger that waits for the end of a dbt Cloud run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_dbtcloud_dlt.client import checks
from airflow_provider_dbtcloud_dlt.client.waiting import DEFAULT_OUTAGE_TOLERANCE, Wait
from airflow_provider_dbtcloud_dlt.compat import task_state
from airflow_provider_dbtcloud_dlt.hooks.connection import Settings
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import storable_params
from airflow_provider_dbtcloud_dlt.ownership import KILLED_STATES
from airflow_provider_dbtcloud_dlt.triggers.lookup import settings_of
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller
from airflow_provider_dbtcloud_dlt.triggers.stored import stored

_cancellations: set[asyncio.Task[None]] = set()
# Threads of their own: the event loop's are everybody's, and what is killed has a second.
_killers = ThreadPoolExecutor(16, thread_name_prefix="dbt-cloud-cancellations")


class DbtCloudRunJobTrigger(BaseTrigger):
    """Waits until a run has ended, by the poller that all waits on its account share.

    It yields one event: ``{"status": …, "run_id": …, "message": …}`` with the status ``success``, ``error``,
    ``cancelled``, ``timeout`` (the time is up, the run goes on) or ``unreachable`` (the API gave no answer
    for longer than `outage_tolerance`). An event may be delivered twice: who gets it reads the run again.

    Args:
        conn_id: the Airflow connection; it keeps the secret, nothing of which is among these arguments.
        run_id: the run.
        end_time: when to give up, in seconds since the epoch.
        poll_interval: seconds between two looks at the run; ``None``: as the job's earlier runs suggest.
        account_id: instead of the connection's account.
        hook_params: further arguments of `DbtCloudHook`; JSON values.
        execution_deadline: likewise `end_time`, by the task's ``execution_timeout``.
        outage_tolerance: seconds for which an API that does not answer is outlived.
        owner: the task instance that started the run (`dag_id`, `run_id`, `task_id`, `map_index`): when it
            is killed while it waits, the run is cancelled. Default: nobody; the run is left alone.
        log_progress: tell in the task's log of the run's steps as they begin and end.
    """

    def __init__(
        self,
        conn_id: str,
        run_id: int,
        end_time: float,
        poll_interval: float | None,
        account_id: int | None = None,
        hook_params: Mapping[str, Any] | None = None,
        execution_deadline: float | None = None,
        outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE,
        owner: Mapping[str, Any] | None = None,
        log_progress: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.run_id = checks.check_id("run_id", run_id)
        self.end_time = end_time
        self.poll_interval = poll_interval
        self.account_id = account_id
        self.hook_params = storable_params(hook_params)
        self.execution_deadline = execution_deadline
        self.outage_tolerance = outage_tolerance
        self.owner = None if owner is None else dict(owner)
        self.log_progress = log_progress
        self._has_ended = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow keeps in its database."""
        return stored(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, once the wait has ended."""
        wait = Wait(self.run_id, self.end_time, self.execution_deadline, self.outage_tolerance)
        poller = Poller.shared(self.conn_id, self.account_id, self.hook_params)
        async with poller.subscribed(wait, self.poll_interval) as subscription:
            with poller.progress.of(self.run_id) if self.log_progress else nullcontext():
                ending = await subscription.ended
        self._has_ended = True
        payload = {"status": ending.status, "run_id": self.run_id, "message": ending.message}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the run, if its task was killed while it waited (Airflow 3.3 and newer).

        Airflow gives this about a second, and calls it as well when a trigger moves to another triggerer.
        """
        if self.owner is None or self._has_ended:
            return
        cancellation = asyncio.get_running_loop().create_task(self._cancel_if_killed(self.owner))
        _cancellations.add(cancellation)  # the loop itself would forget it
        cancellation.add_done_callback(_cancellations.discard)
        await asyncio.shield(cancellation)

    async def _cancel_if_killed(self, owner: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        try:
            state = await loop.run_in_executor(_killers, partial(task_state, **owner))
        except Exception as error:  # noqa: BLE001 - without the state nothing may be cancelled
            self.log.warning(
                "Job run %s goes on: whether its task was killed could not be learnt. %s", self.run_id, error
            )
            return
        # Deferred: only moved to another triggerer, or cleared and waiting again. Any other state that is no
        # end belongs to a try that goes on with this run, or cancels it.
        if state is not None and state not in KILLED_STATES:
            self.log.info("Job run %s goes on: its task is %s.", self.run_id, state)
            return
        try:
            settings = await settings_of(self.conn_id, self.account_id, self.hook_params)
            await loop.run_in_executor(_killers, self._cancel, settings)
        except Exception as error:  # noqa: BLE001 - the last word of a trigger that is being killed
            self.log.warning("Job run %s could not be cancelled and may go on. %s", self.run_id, error)
        else:
            self.log.info("Cancelled job run %s, since its task was killed.", self.run_id)

    def _cancel(self, settings: Settings) -> None:
        with settings.client(self.account_id, retry_budget=0) as client:
            client.cancel_run(self.run_id)
