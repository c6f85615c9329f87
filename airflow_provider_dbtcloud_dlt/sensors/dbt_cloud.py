"""The sensor that waits for a dbt Cloud run which something else started."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_dbtcloud_dlt.arguments import (
    check_id_argument,
    default_run_id,
    is_plain,
    moment,
    rendered_id,
    seconds,
)
from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    JobLookupError,
    NotFoundError,
    PermissionDeniedError,
    Run,
)
from airflow_provider_dbtcloud_dlt.client.blocking import SHORTEST_PAUSE
from airflow_provider_dbtcloud_dlt.client.cadence import LOOK_SECONDS, PAUSE_AFTER_FAILURE, pause_for
from airflow_provider_dbtcloud_dlt.client.habits import Habits
from airflow_provider_dbtcloud_dlt.client.lookup import NamedJob
from airflow_provider_dbtcloud_dlt.client.next_run import First, NextRun, NextRunWait, find_next_run
from airflow_provider_dbtcloud_dlt.client.waiting import Outage, Wait, pause_after
from airflow_provider_dbtcloud_dlt.compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    is_trigger_timeout,
)
from airflow_provider_dbtcloud_dlt.deferral import WaitsForRun
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.job_choice import JobChoice
from airflow_provider_dbtcloud_dlt.sensors.starting import (
    OfTask,
    can_start_in_triggerer,
    outcomes_on_worker,
    upstream_of,
)
from airflow_provider_dbtcloud_dlt.triggers.event import RunEvent

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import StartTriggerArgs


RESCHEDULE_PAUSE = 60.0
"""Seconds between two looks at least, where no interval is given and each look is a process of its own."""


class DbtCloudJobRunSensor(WaitsForRun, BaseSensorOperator):
    """Waits for the end of a dbt Cloud run that something else started; never cancels it.

    It succeeds when the run succeeds; a run that fails or is cancelled fails the task, with the failing step
    and the end of its log in the task's log. With `soft_fail` the task is skipped instead.

    Instead of a run, a job may be given, which dbt Cloud runs by its own schedule: then the sensor waits for
    the job's first run after a moment, and for its end. A later try of the task does not fail by the same run
    again: what has failed by then is passed over.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        run_id: the run; default: the connection's default run.
        job_id: wait for a run of this job, instead of `run_id`.
        job_name: likewise, by the job's name; `job_id` and names exclude each other.
        project_name: the job's project, where its name alone is ambiguous.
        environment_name: likewise, its environment.
        after: the moment after which the job's run counts: a datetime, or a text in ISO format (UTC, unless
            it says another time zone). With it alone, the connection's default job is meant. Default: the
            end of the DAG run's data interval, or, where it has none, the time for which it was made.
        first: the first run that was ``"created"`` after the moment, or the first that ``"finished"`` after
            it, which may have begun before.
        account_id: instead of the connection's account.
        deferrable: wait in the triggerer; if not, the wait holds the worker (or, with
            ``mode="reschedule"``, takes one again at every look).
        start_in_triggerer: begin in the triggerer as well, and end there: no worker is needed at all. Airflow
            then heeds neither pools nor limits of running tasks. A sensor for which that would lose
            something begins or ends on a worker.
        poke_interval: seconds between two looks. Default: 30 until there is a run; then dense around the time
            at which the job's earlier runs ended, sparse before; without such a history the end is seen late
            by a hundredth of the run's duration at most. One request serves up to 100 waiting runs, and all
            that wait for a run of one job.
        outage_tolerance: seconds for which an API that does not answer is outlived; default: the
            connection's, else 30 minutes. With ``mode="reschedule"`` the sensor's ``timeout`` alone counts.
        log_results: at the run's end, tell in the task's log how dbt's nodes ended, and leave a summary in
            the XCom ``dbt_cloud_run_results`` and a picture, which Airflow's web interface shows, in
            ``dbt_cloud_run_picture``. Where the wait ends in the triggerer, only of a run that has failed.
        emit_lineage: emit OpenLineage's events of what the run has read, written and tested, if Airflow's
            OpenLineage provider is installed and on: then the sensor ends on a worker.
        lineage_namespace: how the run's database is called in OpenLineage, such as
            ``postgres://db.example.com:5432``. Default: as dbt Cloud's connection says, if the token may see
            that.
        hook_params: further arguments of `DbtCloudHook`.
        **kwargs: of `BaseSensorOperator`: ``timeout`` (seconds, default 7 days; ends without a retry),
            ``soft_fail``, ``mode`` …

    Returns:
        The run's id (the XCom ``return_value``).

    Raises:
        DbtCloudJobRunException: the run failed or was cancelled, or nothing could be learnt of it.
        AirflowSensorTimeout: the run did not end in time.
    """

    template_fields: Sequence[str] = (
        "dbt_cloud_conn_id",
        "run_id",
        "account_id",
        "job_id",
        "job_name",
        "project_name",
        "environment_name",
        "after",
        "lineage_namespace",
    )
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
        emit_lineage: bool = True,
        lineage_namespace: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        job_id: int | str | None = None,
        job_name: str | None = None,
        project_name: str | None = None,
        environment_name: str | None = None,
        after: datetime | str | None = None,
        first: First = "created",
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
        self.emit_lineage = emit_lineage
        self.lineage_namespace = lineage_namespace
        self.hook_params = dict(hook_params or {})
        self.job_id = job_id
        self.job_name = job_name
        self.project_name = project_name
        self.environment_name = environment_name
        self.after = after
        self.first = first
        self._run_id_given = run_id is not None
        self._takes_next_run = self._job_choice().is_given or after is not None
        self._search: NextRunWait | None = None
        self._is_resumed = False
        self._seen: Run | None = None
        self._failure: DbtCloudError | None = None
        self._begun: float | None = None
        check_id_argument("run_id", run_id)
        self._check_job_arguments()
        self._check_access()
        self.start_in_triggerer = start_in_triggerer

    def _job_choice(self) -> JobChoice:
        return JobChoice(self.task_id, self.job_id, self.job_name, self.project_name, self.environment_name)

    def _check_job_arguments(self) -> None:
        self._job_choice().check()
        if self._run_id_given and self._takes_next_run:
            other = "a job" if self._job_choice().is_given else "after"
            raise InvalidRequestError(
                f"Task {self.task_id!r} gives run_id and {other}: "
                "give run_id for one certain run, or the job (and after) for the job's next run."
            )
        if self.first not in get_args(First):
            raise InvalidRequestError(f"first must be 'created' or 'finished', got {self.first!r}.")
        if self.after is not None and is_plain(self.after):
            moment("after", self.after)

    @property
    def _is_searching(self) -> bool:
        """Whether the run is still to be found."""
        return self._takes_next_run and not self._run_id_given

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
            self._go_on_deferred(
                begun + self.timeout, None if limit is None else begun + limit.total_seconds()
            )
        return done.xcom_value

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run, or first of all for it; passing failures of the API are outlived."""
        # With mode="reschedule" each look is a process of its own, which knows nothing of those before.
        before = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        if self._is_searching:
            search = self._search = self._search or self._begin_search(context, before)
            found = self._look(lambda client: find_next_run(client, search.next_run), search, before)
            if found is None:
                return PokeReturnValue(is_done=False)
            self.run_id, self._run_id_given = found.id, True
        run = self._look(lambda client: client.get_run(self._wait.run_id), self._wait, before)
        if run is None:
            return PokeReturnValue(is_done=False)
        self._seen = run
        self._wait.answered(run, time.time())
        self._show_run(context, run)
        return PokeReturnValue(run.is_terminal, self._result(context, run) if run.is_terminal else None)

    def _look(
        self, ask: Callable[[DBTCloudClientV2], Run | None], wait: Wait, before: datetime | None
    ) -> Run | None:
        try:
            seen = ask(self.hook.get_conn())
        except JobLookupError:  # the API answers: there is no such job
            raise
        except DbtCloudError as error:
            is_refusal = isinstance(error, InvalidCredentialsException | PermissionDeniedError)
            if is_refusal and before is None and self._seen is None and not self._is_resumed:
                self._fail(str(error))
            if isinstance(error, InvalidCredentialsException):
                self.hook.reconnect()  # the token may have been rotated
            if before is not None and isinstance(error, NotFoundError):
                wait.failed(error, before.timestamp())  # for all that is known, missing since then
            ending = wait.failed(error, time.time())
            if ending is not None:
                self._fail(ending.message)
            self._failure = error
            self._outage.failed(error, time.time())
            return None
        self._failure = None
        self._outage.answered(time.time())
        return seen

    def _begin_search(self, context: Context, before: datetime | None) -> NextRunWait:
        job, client = self._job_choice().meant(self.hook), self.hook.get_conn()
        try:
            if isinstance(job, NamedJob):
                job = job.find(client).id
            elif before is None:  # a job that does not exist would be waited for without end
                client.get_job(job)
        except JobLookupError:
            raise
        except NotFoundError as error:
            raise JobLookupError(f"Task {self.task_id!r} waits for a run of job {job}. {error}") from None
        except DbtCloudError as error:  # the look that follows, by the names still, decides what that means
            self.log.debug("Job %s could not be looked up. %s", job, error)
        failed_before = None
        if context["ti"].try_number > 1:  # an earlier try has failed by what has failed by then
            skew = timedelta(seconds=client.clock_skew)
            failed_before = (before or datetime.now(UTC)) + skew
        next_run = NextRun(job, self._after(context), self.first, failed_before)
        self.log.info("Waiting for the first %s.", next_run)
        return NextRunWait(outage_tolerance=self._outage_tolerance(), next_run=next_run)

    def _after(self, context: Context) -> datetime:
        if self.after is not None:
            return moment("after", self.after)
        found: Any = context.get("data_interval_end") or context["dag_run"].run_after
        return moment("the data interval's end", found)

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Airflow's, unless the interval is left to us: seconds until the next look from the worker."""
        if self.interval is not None or self.exponential_backoff:
            return super()._get_next_poke_interval(started_at, run_duration, poke_count)
        if self._failure is None and self._is_searching:
            pause = RESCHEDULE_PAUSE if self.reschedule else LOOK_SECONDS
        elif self._failure is not None or self._seen is None:
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

    def resume_search(
        self,
        context: Context,
        event: Mapping[str, Any] | None,
        end_time: float,
        execution_deadline: float | None,
        next_run: Mapping[str, Any],
    ) -> Any:
        """Go on after the search: look again, and believe that rather than the event."""
        self._search = NextRunWait(
            outage_tolerance=self._outage_tolerance(), next_run=NextRun.restored(**next_run)
        )
        self._is_resumed = True
        if done := self.poke(context):
            return done.xcom_value
        status, message = (event or {}).get("status"), str((event or {}).get("message"))
        if self._is_searching and status == "timeout":
            is_sensors_own = execution_deadline is None or end_time <= execution_deadline
            self._fail(message, AirflowSensorTimeout if is_sensors_own else DbtCloudJobRunException)
        if self._is_searching and status in ("error", "unreachable"):
            self._fail(message)
        return self._go_on_deferred(end_time, execution_deadline)

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
        return (
            self.start_in_triggerer
            and type(self) is DbtCloudJobRunSensor
            and not self._takes_next_run  # names and moments are a worker's to make sense of
            and can_start_in_triggerer(self)
        )

    def _start_trigger_args(self) -> StartTriggerArgs | None:
        if not self._starts_in_triggerer():
            return None
        # What waits in a triggerer is imported where it is needed: most DAG files have no sensor.
        from airflow.triggers.base import StartTriggerArgs

        from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import DbtCloudRunSensorTrigger

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
            emit_lineage=self.emit_lineage,
        )
        path, arguments = trigger.serialize()
        return StartTriggerArgs(
            trigger_cls=path,
            trigger_kwargs=arguments,
            next_method="resume_from_triggerer",
            timeout=timedelta(seconds=trigger.airflow_limit),
        )

    def _go_on_deferred(self, end_time: float, execution_deadline: float | None) -> NoReturn:
        if self._search is None or not self._is_searching:
            self._wait_deferred(end_time, execution_deadline)
        from airflow_provider_dbtcloud_dlt.triggers.next_run import DbtCloudNextRunTrigger

        next_run = self._search.next_run.stored()
        self.defer(
            trigger=DbtCloudNextRunTrigger(
                conn_id=self.dbt_cloud_conn_id,
                **next_run,
                end_time=end_time,
                poll_interval=self.interval,
                account_id=self._account(),
                hook_params=self.hook_params,
                execution_deadline=execution_deadline,
                outage_tolerance=self._outage_tolerance(),
            ),
            method_name="resume_search",
            kwargs={"end_time": end_time, "execution_deadline": execution_deadline, "next_run": next_run},
        )
        raise AssertionError("defer() does not return")  # pragma: no cover

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
