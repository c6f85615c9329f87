"""The trigger that is a sensor's whole life: it begins the wait and ends the task, and no worker is needed.

Where Airflow can't do from a trigger what it does on a worker, the trigger hands over to one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from airflow_provider_dbtcloud_dlt.arguments import default_run_id, rendered_id
from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    PermissionDeniedError,
    Run,
)
from airflow_provider_dbtcloud_dlt.client.failure import report_failure
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.waiting import Ending, Wait
from airflow_provider_dbtcloud_dlt.compat import delete_task_xcom
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import storable_params
from airflow_provider_dbtcloud_dlt.links.dbt_cloud import JOB_RUN_ID, JOB_RUN_URL, DbtCloudRunLink
from airflow_provider_dbtcloud_dlt.triggers.lookup import settings_of
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller
from airflow_provider_dbtcloud_dlt.triggers.stored import stored

GRACE_SECONDS = 600.0
"""How much later than the sensor's ``timeout`` Airflow ends the wait itself, should no triggerer do so."""

FIRST_LOOK_SECONDS = 1.0
"""No race with the scheduler is to be feared here: the first look waits for others only."""

REFUSAL_SECONDS = 60.0
"""Within this time of the try's beginning, a token that is refused is taken to be wrong, not rotated."""

MAX_BYTES = 32_000_000
"""The size of a file of results above which it is not read here: decoding holds the event loop up."""

SETTLING_SECONDS = 5.0
"""How long after a failed run's end was seen its steps are read, once: logs and artifacts come a little late,
and a thread that waits for them would keep a thousand others waiting.
"""

REPORT_REQUESTS = 5
"""What reading a failed run is reckoned with in the account's budget: runs differ."""
REPORT_RETRY_SECONDS = 15.0
"""Within which one of these requests is repeated: nobody asks again later, as a wait does."""

Outcome = Literal["success", "skip", "timeout", "failure"]

_END_EVENTS = {
    "success": TaskSuccessEvent,
    "skip": TaskSkippedEvent,
    "timeout": TaskFailedEvent,
    "failure": TaskFailedEvent,
}


@dataclass(slots=True)
class SensorWait(Wait):
    """A wait that tells when its run is seen for the first time, and keeps it when it has ended.

    Attributes:
        begun: when the sensor's try began, in seconds since the epoch.
        shown: the run's page, once the run has been seen.
        run: the run, once it has ended.
        is_refused: whether the token was refused at the last look.
    """

    begun: float = 0.0
    shown: asyncio.Future[str | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future(), init=False
    )
    run: Run | None = field(default=None, init=False)
    is_refused: bool = field(default=False, init=False)

    def answered(self, run: SeenRun, now: float) -> Ending | None:
        """The API showed the run."""
        if not self.shown.done():
            self.shown.set_result(run.href)
        if isinstance(run, Run) and run.is_terminal:
            self.run = run
        return Wait.answered(self, run, now)

    def failed(self, error: DbtCloudError, now: float) -> Ending | None:
        """The API failed to show the run; a refusal is final as long as nothing else has been seen."""
        if not self.shown.done() and now - self.begun < REFUSAL_SECONDS:
            # After a refused token the poller reads the connection again: only then it is the present one.
            if isinstance(error, PermissionDeniedError) or (self.is_refused and _is_refused(error)):
                return Ending("error", str(error))
            self.is_refused = _is_refused(error)
        return Wait.failed(self, error, now)

    @property
    def is_own_limit(self) -> bool:
        """Whether the sensor's ``timeout`` ends the wait before the task's ``execution_timeout``."""
        return self.deadline == self.end_time


def _is_refused(error: DbtCloudError) -> bool:
    return isinstance(error, InvalidCredentialsException)


class DbtCloudRunSensorTrigger(BaseTrigger):
    """Waits until a run has ended, shows it in the task's XComs, and ends the task accordingly.

    Airflow renders those arguments that bear the names of the sensor's template fields.

    Args:
        dbt_cloud_conn_id: the Airflow connection; it keeps the secret, nothing of which is among these.
        run_id: the run; default: the connection's.
        upstream: the task and the key of the XCom that is the run's id, instead of `run_id`.
        account_id: instead of the connection's account.
        timeout: the sensor's, in seconds.
        execution_timeout: the task's, in seconds.
        poll_interval: seconds between two looks at the run; default: as needed.
        outage_tolerance: seconds for which an API that does not answer is outlived; default: the
            connection's.
        hook_params: further arguments of `DbtCloudHook`; JSON values.
        is_soft: skip the task instead of failing it.
        pushes_result: push the run's id as the task's result.
        on_worker: outcomes for which the task goes on, and ends, on a worker.
        log_results: tell how the nodes of a run that failed ended.
        emit_lineage: go on, and end, on a worker if OpenLineage is on: only there Airflow tells it of tasks.
    """

    def __init__(
        self,
        dbt_cloud_conn_id: str,
        run_id: int | str | None = None,
        upstream: Sequence[str] | None = None,
        account_id: int | str | None = None,
        timeout: float = 7 * 24 * 3600.0,
        execution_timeout: float | None = None,
        poll_interval: float | None = None,
        outage_tolerance: float | None = None,
        hook_params: Mapping[str, Any] | None = None,
        is_soft: bool = False,
        pushes_result: bool = True,
        on_worker: Sequence[Outcome] = (),
        log_results: bool = True,
        emit_lineage: bool = True,
    ) -> None:
        # Nothing is checked here: an error while Airflow builds a trigger would take all others along.
        super().__init__()  # type: ignore[no-untyped-call]
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.run_id = run_id
        self.upstream = upstream
        self.account_id = account_id
        self.timeout = timeout
        self.execution_timeout = execution_timeout
        self.poll_interval = poll_interval
        self.outage_tolerance = outage_tolerance
        self.hook_params = storable_params(hook_params)
        self.is_soft = is_soft
        self.pushes_result = pushes_result
        self.on_worker = on_worker
        self.log_results = log_results
        self.emit_lineage = emit_lineage
        self.timeout_after: datetime | None = None
        """Airflow's own limit for this try, which Airflow sets: it outlives a triggerer's restart."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow keeps in its database."""
        path, arguments = stored(self)
        for name in ("log_results", "emit_lineage"):
            if arguments[name]:
                del arguments[name]  # an earlier release does not know it
        return path, arguments

    @property
    def airflow_limit(self) -> float:
        """Seconds from the try's beginning to Airflow's own limit for the wait."""
        limit = self.timeout + GRACE_SECONDS
        return limit if self.execution_timeout is None else min(limit, self.execution_timeout)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the task, or lets it go on on a worker."""
        try:
            event = await self._live()
        except Exception:  # a worker can do what could not be done here, or say why not
            self.log.warning("The sensor goes on on a worker.", exc_info=True)
            event = _resumption({"begun": self._begun()})
        yield event

    async def _live(self) -> TriggerEvent:
        try:
            await self._forget_result_of_earlier_try()
            account_id = None if self.account_id is None else rendered_id("account_id", self.account_id)
            wait = await self._wait(account_id)
        except DbtCloudError as error:  # arguments or connection are wrong: soft_fail is not about that
            self.log.error("%s", error)
            return self._end("failure", {"begun": self._begun()})
        poller = Poller.shared(self.dbt_cloud_conn_id, account_id, self.hook_params)
        async with poller.subscribed(wait, self.poll_interval, FIRST_LOOK_SECONDS) as subscription:
            first: set[asyncio.Future[Any]] = {wait.shown, subscription.ended}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if wait.shown.done():
                await self._show(wait.run_id, wait.shown.result())
            ending = await subscription.ended
            return await self._end_as(ending, wait, poller)

    async def _wait(self, account_id: int | None) -> SensorWait:
        settings = await settings_of(self.dbt_cloud_conn_id, account_id, self.hook_params)
        if self.upstream is not None:
            run_id = await self._run_of_upstream(*self.upstream)
        elif self.run_id is not None:
            run_id = rendered_id("run_id", self.run_id)
        else:
            run_id = default_run_id(settings, self._place["task_id"])
        begun = self._begun()
        limit = self.execution_timeout
        return SensorWait(
            run_id,
            end_time=begun + self.timeout,
            execution_deadline=None if limit is None else begun + limit,
            outage_tolerance=self.outage_tolerance or settings.outage_tolerance,
            begun=begun,
        )

    def _begun(self) -> float:
        """When this try began: each try has a limit of its own, which stays when the trigger starts again."""
        limit = self.timeout_after
        if limit is None:
            return datetime.now(UTC).timestamp()
        return (limit if limit.tzinfo else limit.replace(tzinfo=UTC)).timestamp() - self.airflow_limit

    @property
    def _place(self) -> dict[str, Any]:
        """Whose XComs they are."""
        names = ("dag_id", "run_id", "task_id", "map_index")
        return {name: getattr(self.task_instance, name) for name in names}

    async def _run_of_upstream(self, task_id: str, key: str) -> int:
        place = {**self._place, "task_id": task_id, "map_index": -1}
        value = await XCom.aget_one(key=key, **place)
        try:
            return rendered_id("run_id", value)
        except InvalidRequestError:
            if value is None:
                raise InvalidRequestError(
                    f"run_id is empty: task {task_id!r} has left nothing under the XCom key {key!r}. Was it "
                    "skipped, and does it return the run's id?"
                ) from None
            raise InvalidRequestError(
                f"run_id must be a whole number, but task {task_id!r} has left {str(value)[:80]!r} under the "
                f"XCom key {key!r}."
            ) from None

    async def _show(self, run_id: int, page: str | None) -> None:
        """Push the run's page and id, so that they are there while the task waits."""
        self.log.info("Waiting for job run %s in the triggerer: %s", run_id, page)
        for key in (JOB_RUN_URL, DbtCloudRunLink().xcom_key):
            await XCom.aset(key, page, **self._place)
        await XCom.aset(JOB_RUN_ID, run_id, **self._place)

    async def _forget_result_of_earlier_try(self) -> None:
        """What a worker does for each task that it starts."""
        if getattr(self.task_instance, "try_number", 1) > 1:
            from airflow_provider_dbtcloud_dlt.run_results import PICTURE_KEY, XCOM_KEY  # it is large

            for key in (BaseXCom.XCOM_RETURN_KEY, XCOM_KEY, PICTURE_KEY):
                await delete_task_xcom(key, **self._place)

    async def _end_as(self, ending: Ending, wait: SensorWait, poller: Poller) -> TriggerEvent:
        outcome = self._outcome(ending, wait)
        is_on_worker = outcome in self.on_worker or await self._is_told_to_openlineage()
        if not is_on_worker:
            if outcome == "success":
                duration = wait.run and wait.run.duration
                self.log.info("Job run %s has completed successfully in %s.", wait.run_id, duration)
                if self.pushes_result:
                    await XCom.aset(BaseXCom.XCOM_RETURN_KEY, wait.run_id, **self._place)
            else:
                reason = await self._reason(ending, wait, poller)
                self.log.log(logging.INFO if outcome == "skip" else logging.ERROR, "%s", reason)
        ended = {
            "status": ending.status,
            "run_id": wait.run_id,
            "message": ending.message,
            "end_time": wait.end_time,
            "execution_deadline": wait.execution_deadline,
        }
        return _resumption(ended) if is_on_worker else self._end(outcome, ended)

    async def _is_told_to_openlineage(self) -> bool:
        """Whether Airflow is to tell OpenLineage of the task, which it does on a worker only."""
        if not self.emit_lineage:
            return False
        from airflow_provider_dbtcloud_dlt.openlineage.task import is_on  # no DAG file needs it

        return await asyncio.to_thread(is_on)  # the first time it imports the provider

    def _outcome(self, ending: Ending, wait: SensorWait) -> Outcome:
        if ending.status == "success":
            return "success"
        if self.is_soft:
            return "skip"
        return "timeout" if ending.status == "timeout" and wait.is_own_limit else "failure"

    async def _reason(self, ending: Ending, wait: SensorWait, poller: Poller) -> str:
        """Why the wait ended badly; the log gets the failing steps and nodes of a run that has failed."""
        if (run := wait.run) is None:
            return ending.message
        await asyncio.sleep(SETTLING_SECONDS)
        reason, summaries = await poller.ask(
            lambda client: self._report(client, run),
            requests=REPORT_REQUESTS,
            retry_seconds=REPORT_RETRY_SECONDS,
        )
        try:
            for key, found in summaries.items():
                await XCom.aset(key, found, **self._place)
        except Exception as error:  # noqa: BLE001 - the run's own result stands
            self.log.warning("The summary of the results could not be stored. %s", error)
        return reason

    def _report(self, client: DBTCloudClientV2, run: Run) -> tuple[str, dict[str, Any]]:
        """Why a run failed, and what is made of its results, by the XComs' keys; blocks."""
        from airflow_provider_dbtcloud_dlt.run_results import report_results, xcoms  # no DAG file needs them

        summaries: dict[str, Any] = {}

        def ask_nodes(its_run: Run) -> str:
            return report_results(
                client,
                its_run,
                self.log,
                xcoms(summaries.__setitem__),
                with_manifest=False,
                max_bytes=MAX_BYTES,
                pauses=(),
            )

        return report_failure(
            client, run, self.log, ask_nodes=ask_nodes if self.log_results else None, pauses=(0.0,)
        ), summaries

    def _end(self, outcome: Outcome, state: Mapping[str, Any]) -> TriggerEvent:
        return _resumption(state) if outcome in self.on_worker else _END_EVENTS[outcome]()


def _resumption(state: Mapping[str, Any]) -> TriggerEvent:
    """The event with which a worker goes on: after the wait, or from the sensor's beginning."""
    return TriggerEvent(state)  # type: ignore[no-untyped-call]
