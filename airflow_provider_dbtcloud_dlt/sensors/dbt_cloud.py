"""The sensor that waits for a dbt Cloud run which something else started."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.triggers.base import StartTriggerArgs

from airflow_provider_dbtcloud_dlt.arguments import (
    check_id_argument,
    default_run_id,
    rendered_id,
    seconds,
)
from airflow_provider_dbtcloud_dlt.client import (
    DbtCloudError,
    InvalidCredentialsException,
    NotFoundError,
    PermissionDeniedError,
    Run,
)
from airflow_provider_dbtcloud_dlt.client.blocking import SHORTEST_PAUSE
from airflow_provider_dbtcloud_dlt.client.cadence import PAUSE_AFTER_FAILURE, pause_for
from airflow_provider_dbtcloud_dlt.client.habits import Habits
from airflow_provider_dbtcloud_dlt.client.waiting import Outage, Wait, pause_after
from airflow_provider_dbtcloud_dlt.compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    is_trigger_timeout,
)
from airflow_provider_dbtcloud_dlt.deferral import WaitsForRun
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.sensors.starting import (
    OfTask,
    can_start_in_triggerer,
    outcomes_on_worker,
    upstream_of,
)
from airflow_provider_dbtcloud_dlt.triggers.event import RunEvent
from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import DbtCloudRunSensorTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


RESCHEDULE_PAUSE = 60.0
"""Seconds between two looks at least, where no interval is given and each look is a process of its own."""


class DbtCloudJobRunSensor(WaitsForRun, BaseSensorOperator):
    """Waits for the end of a dbt Cloud run that something else started; never cancels it.

    It succeeds when the run succeeds; a run that fails or is cancelled fails the task, with the failing step
    and the end of its log in the task's log. With `soft_fail` the task is skipped instead.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        run_id: the run; default: the connection's default run.
        account_id: instead of the connection's account.
        deferrable: wait in the triggerer; if not, the wait holds the worker (or, with
            ``mode="reschedule"``, takes one again at every look).
        start_in_triggerer: begin in the triggerer as well, and end there: no worker is needed at all. Airflow
            then heeds neither pools nor limits of running tasks. A sensor for which that would lose
            something begins or ends on a worker.
        poke_interval: seconds between two looks at the run. Default: dense around the time at which the
            job's earlier runs ended, sparse before; without such a history the end is seen late by a
            hundredth of the run's duration at most. One request serves up to 100 waiting runs.
        outage_tolerance: seconds for which an API that does not answer is outlived; default: the
            connection's, else 30 minutes. With ``mode="reschedule"`` the sensor's ``timeout`` alone counts.
        log_results: at the run's end, tell in the task's log how dbt's nodes ended, and leave a summary in
            the XCom ``dbt_cloud_run_results``. Where the wait ends in the triggerer, only of a run that has
            failed.
        hook_params: further arguments of `DbtCloudHook`.
        **kwargs: of `BaseSensorOperator`: ``timeout`` (seconds, default 7 days; ends without a retry),
            ``soft_fail``, ``mode`` …

    Returns:
        The run's id (the XCom ``return_value``).

    Raises:
        DbtCloudJobRunException: the run failed or was cancelled, or nothing could be learnt of it.
        AirflowSensorTimeout: the run did not end in time.
    """

    template_fields: Sequence[str] = ("dbt_cloud_conn_id", "run_id", "account_id")
    ui_color = "#ffb59e"
    start_in_triggerer = False  # until all is set: Airflow asks in between
    start_from_trigger = OfTask(lambda sensor: sensor._starts_in_triggerer(), of_class=False)
    start_trigger_args = OfTask(lambda sensor: sensor._start_trigger_args(), of_class=None)

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        run_id: int | str | None = None,
        account_id: int | str | None = None,
        deferrable: bool = True,
        start_in_triggerer: bool = True,
        poke_interval: timedelta | float | None = None,
        outage_tolerance: float | timedelta | None = None,
        log_results: bool = True,
        hook_params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        shown = RESCHEDULE_PAUSE if poke_interval is None else seconds("poke_interval", poke_interval)
        super().__init__(poke_interval=shown, **kwargs)
        self.interval = None if poke_interval is None else shown
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.run_id = run_id
        self.account_id = account_id
        self.deferrable = deferrable
        self.outage_tolerance = (
            None if outage_tolerance is None else seconds("outage_tolerance", outage_tolerance)
        )
        self.log_results = log_results
        self.hook_params = dict(hook_params or {})
        self._run_id_given = run_id is not None
        self._seen: Run | None = None
        self._failure: DbtCloudError | None = None
        self._begun: float | None = None
        check_id_argument("run_id", run_id)
        self._check_access()
        self.start_in_triggerer = start_in_triggerer

    @cached_property
    def _outage(self) -> Outage:
        return Outage(self.log, f"dbt Cloud ({self.hook.settings.origin})")

    @cached_property
    def _habits(self) -> Habits:
        return Habits()

    @cached_property
    def _wait(self) -> Wait:
        return Wait(self._find_run(), outage_tolerance=self._outage_tolerance())

    def execute(self, context: Context) -> Any:
        """Look once, then wait: in the triggerer, or here."""
        if not self.deferrable:
            return super().execute(context)
        if not (done := self.poke(context)):
            begun = self._begun or time.time()
            limit = self.execution_timeout
            self._wait_deferred(
                begun + self.timeout, None if limit is None else begun + limit.total_seconds()
            )
        return done.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run; passing failures of the API are outlived."""
        run_id = self._wait.run_id
        try:
            run = self.hook.get_conn().get_run(run_id)
        except DbtCloudError as error:
            # With mode="reschedule" each look is a process of its own, which knows nothing of those before.
            before = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            is_refusal = isinstance(error, InvalidCredentialsException | PermissionDeniedError)
            if is_refusal and before is None and self._seen is None:
                self._fail(str(error))
            if isinstance(error, InvalidCredentialsException):
                self.hook.reconnect()  # the token may have been rotated
            if before is not None and isinstance(error, NotFoundError):
                self._wait.failed(error, before.timestamp())  # for all that is known, missing since then
            ending = self._wait.failed(error, time.time())
            if ending is not None:
                self._fail(ending.message)
            self._failure = error
            self._outage.failed(error, time.time())
            return PokeReturnValue(is_done=False)
        self._seen, self._failure = run, None
        self._outage.answered(time.time())
        self._wait.answered(run, time.time())
        self._show_run(context, run)
        return PokeReturnValue(run.is_terminal, self._result(context, run) if run.is_terminal else None)

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Airflow's, unless the interval is left to us: seconds until the next look from the worker."""
        if self.interval is not None or self.exponential_backoff:
            return super()._get_next_poke_interval(started_at, run_duration, poke_count)
        if self._failure is not None or self._seen is None:
            pause = pause_after(self._failure, PAUSE_AFTER_FAILURE) if self._failure else PAUSE_AFTER_FAILURE
        elif self.reschedule:  # each look would read the job's history anew
            client = self.hook.get_conn()
            pause = pause_for(self._seen, time.time() + client.clock_skew, None, RESCHEDULE_PAUSE)
        else:
            left = self.timeout - run_duration()
            pause = self._habits.pause(self.hook.get_conn(), self._seen, time.time(), SHORTEST_PAUSE, left)
        return max(1.0, min(pause, self.timeout - run_duration()))

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        end_time: float | None = None,
        execution_deadline: float | None = None,
        run_id: int | None = None,
    ) -> int:
        """Go on after the wait: read the run again, and believe that rather than the event."""
        ended = RunEvent.read(event)
        run_id = run_id or ended.run_id  # a task that an earlier release has deferred does not tell it
        self.run_id, self._run_id_given = run_id, True
        is_sensors_own = execution_deadline is None or (end_time or 0.0) <= execution_deadline
        end_time = end_time or time.time() + self.timeout
        if self._is_foreign(ended, run_id):
            return self._wait_deferred(end_time, execution_deadline)
        run = ended.read_run(self.hook.get_conn())
        if run is not None and run.is_terminal:
            return self._result(context, run)
        if ended.status == "timeout":
            self._fail(ended.message, AirflowSensorTimeout if is_sensors_own else DbtCloudJobRunException)
        return self._wait_deferred(end_time, execution_deadline)

    def resume_from_triggerer(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        """Go on after a wait that began in the triggerer, or begin here if it could not begin there."""
        if event is None or "begun" in event:
            self._begun = event["begun"] if event else None
            return self.execute(context)
        return self.execute_complete(
            context, event, event["end_time"], event["execution_deadline"], event["run_id"]
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's own limit for a wait that began in the triggerer is a time-out like those of the wait."""
        if is_trigger_timeout(next_method, next_kwargs):
            next_method, next_kwargs = "resume_from_triggerer", {"event": self._time_is_up()}
        return super().resume_execution(next_method, next_kwargs, context)

    def _time_is_up(self) -> dict[str, Any]:
        limit = self.execution_timeout
        run_id, now = self._find_run(), time.time()
        is_own = limit is None or self.timeout <= limit.total_seconds()
        name = "timeout" if is_own else "execution_timeout"
        return {
            "status": "timeout",
            "run_id": run_id,
            "message": f"Job run {run_id} has not ended within the {name}.",
            "end_time": now if is_own else now + self.timeout,
            "execution_deadline": None if limit is None else now,
        }

    def _starts_in_triggerer(self) -> bool:
        # What a subclass does on its worker is not known in the triggerer.
        return self.start_in_triggerer and type(self) is DbtCloudJobRunSensor and can_start_in_triggerer(self)

    def _start_trigger_args(self) -> StartTriggerArgs | None:
        if not self._starts_in_triggerer():
            return None
        upstream, limit = upstream_of(self), self.execution_timeout
        trigger = DbtCloudRunSensorTrigger(
            dbt_cloud_conn_id=self.dbt_cloud_conn_id,
            run_id=None if upstream else self.run_id,
            upstream=upstream,
            account_id=self.account_id,
            timeout=self.timeout,
            execution_timeout=None if limit is None else limit.total_seconds(),
            poll_interval=self.interval,
            outage_tolerance=self.outage_tolerance,
            hook_params=self.hook_params,
            is_soft=self.soft_fail or self.never_fail,
            pushes_result=self.do_xcom_push,
            on_worker=outcomes_on_worker(self),
            log_results=self.log_results,
        )
        path, arguments = trigger.serialize()
        return StartTriggerArgs(
            trigger_cls=path,
            trigger_kwargs=arguments,
            next_method="resume_from_triggerer",
            timeout=timedelta(seconds=trigger.airflow_limit),
        )

    def _wait_deferred(self, end_time: float, execution_deadline: float | None) -> NoReturn:
        self._hand_over(
            self._find_run(), self.interval, end_time=end_time, execution_deadline=execution_deadline
        )

    def _find_run(self) -> int:
        if self._run_id_given:
            return rendered_id("run_id", self.run_id)
        return default_run_id(self.hook.settings, self.task_id)

    def _result(self, context: Context, run: Run) -> int:
        if why := self._why_it_failed(context, run):
            self._fail(why)
        return run.id

    def _fail(self, message: str, kind: type[Exception] = DbtCloudJobRunException) -> NoReturn:
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(message)
        raise kind(message)
