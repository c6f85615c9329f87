"""The trigger that waits for the end of a dbt Cloud run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_dbtcloud_dlt.client import checks
from airflow_provider_dbtcloud_dlt.client.waiting import DEFAULT_OUTAGE_TOLERANCE, Wait
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import OFFICIAL_RETRY_PARAMETERS
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller


class DbtCloudRunJobTrigger(BaseTrigger):
    """Waits until a run has ended, by the poller that all waits on its account share.

    It yields one event: ``{"status": …, "run_id": …, "message": …}`` with the status ``success``, ``error``,
    ``cancelled``, ``timeout`` (the time is up, the run goes on) or ``unreachable`` (the API gave no answer
    for longer than `outage_tolerance`). An event may be delivered twice: who gets it reads the run again.

    Args:
        conn_id: the Airflow connection; it keeps the secret, nothing of which is among these arguments.
        run_id: the run.
        end_time: when to give up, in seconds since the epoch.
        poll_interval: seconds between two looks at the run.
        account_id: instead of the connection's account.
        hook_params: further arguments of `DbtCloudHook`; JSON values.
        execution_deadline: likewise `end_time`, by the task's ``execution_timeout``.
        outage_tolerance: seconds for which an API that does not answer is outlived.
    """

    def __init__(
        self,
        conn_id: str,
        run_id: int,
        end_time: float,
        poll_interval: float,
        account_id: int | None = None,
        hook_params: Mapping[str, Any] | None = None,
        execution_deadline: float | None = None,
        outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.run_id = checks.check_id("run_id", run_id)
        self.end_time = end_time
        self.poll_interval = poll_interval
        self.account_id = account_id
        self.hook_params = {
            name: value
            for name, value in (hook_params or {}).items()
            if name not in OFFICIAL_RETRY_PARAMETERS  # they may be objects that can't be stored
        }
        self.execution_deadline = execution_deadline
        self.outage_tolerance = outage_tolerance

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow keeps in its database."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "conn_id": self.conn_id,
                "run_id": self.run_id,
                "end_time": self.end_time,
                "poll_interval": self.poll_interval,
                "account_id": self.account_id,
                "hook_params": self.hook_params,
                "execution_deadline": self.execution_deadline,
                "outage_tolerance": self.outage_tolerance,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, once the wait has ended."""
        wait = Wait(self.run_id, self.end_time, self.execution_deadline, self.outage_tolerance)
        poller = Poller.shared(self.conn_id, self.account_id, self.hook_params)
        async with poller.subscribed(wait, self.poll_interval) as subscription:
            ending = await subscription.ended
        payload = {"status": ending.status, "run_id": self.run_id, "message": ending.message}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
