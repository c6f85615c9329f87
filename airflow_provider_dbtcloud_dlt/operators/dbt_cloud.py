"""The operator that runs a dbt Cloud job; and by this name all other operators for dbt Cloud."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from uuid import UUID

from airflow_provider_dbtcloud_dlt.arguments import seconds
from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    Run,
    RunTimeoutError,
)
from airflow_provider_dbtcloud_dlt.client.cool_down import through_cool_down
from airflow_provider_dbtcloud_dlt.client.glances import Glances
from airflow_provider_dbtcloud_dlt.client.marker import Marker
from airflow_provider_dbtcloud_dlt.client.starting import RunStarter
from airflow_provider_dbtcloud_dlt.client.waiting import progress_of
from airflow_provider_dbtcloud_dlt.compat import AirflowTaskTerminated, AirflowTaskTimeout, airflow_base_url
from airflow_provider_dbtcloud_dlt.deferral import WaitsForRun
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook, DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.after_run import AfterRun
from airflow_provider_dbtcloud_dlt.operators.artifact import DbtCloudGetJobRunArtifactOperator
from airflow_provider_dbtcloud_dlt.operators.asset_events import DbtCloudAssetEventsOperator
from airflow_provider_dbtcloud_dlt.operators.assets import event_aliases, with_alias
from airflow_provider_dbtcloud_dlt.operators.job_choice import JobChoice
from airflow_provider_dbtcloud_dlt.operators.lists import (
    DbtCloudListJobRunsOperator,
    DbtCloudListJobsOperator,
)
from airflow_provider_dbtcloud_dlt.operators.loaded import AfterLoads, WhenNothingLoaded
from airflow_provider_dbtcloud_dlt.operators.trigger_body import check_given, merged_body
from airflow_provider_dbtcloud_dlt.ownership import Claim, ask_why_left, is_given_up
from airflow_provider_dbtcloud_dlt.triggers.event import RunEvent

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = [
    "DbtCloudAssetEventsOperator",
    "DbtCloudGetJobRunArtifactOperator",
    "DbtCloudListJobRunsOperator",
    "DbtCloudListJobsOperator",
    "DbtCloudRunJobOperator",
]

WEEK = 60 * 60 * 24 * 7
CLOCK_SKEW = timedelta(minutes=5)
LOOK_BACK = timedelta(seconds=WEEK)
GIVEN_UP = "Airflow has given this try of the task up, as it does with a worker that is silent for minutes"
KILL_TIMEOUT = 2.5
"""Seconds that dbt Cloud has for the cancellation: five after the first signal Airflow kills for good."""


class DbtCloudRunJobOperator(WaitsForRun):
    """Runs a dbt Cloud job and, by default, waits for its end without holding a worker.

    The run's page and id are in the XComs ``job_run_url`` and ``job_run_id`` as soon as it is started. A run
    that fails or is cancelled fails the task, with the failing step and the end of its log in the task's log.
    A later try of the task finds the run that an earlier one started, and does not start a second. A task
    that is killed cancels the run that it started, unless a later try goes on with it by then.

    Args:
        dbt_cloud_conn_id: the Airflow connection.
        job_id: the job; default: the one that the names tell, else the connection's default job.
        project_name: where to look for `job_name`; default: the connection's default project, else anywhere.
        environment_name: likewise.
        job_name: the job's name, instead of `job_id`.
        account_id: instead of the connection's account.
        trigger_reason: why the run is started, shown in dbt Cloud; default: the connection's cause, else one
            that names task and DAG. Cut to what fits into dbt Cloud's 255 characters beside a short marker.
        steps_override: dbt commands to run instead of the job's.
        schema_override: the schema to build into.
        git_sha: the commit to check out.
        git_branch: the branch to check out.
        dbt_version_override: the dbt version to run with.
        target_name_override: the target's name.
        threads_override: the number of threads.
        timeout_seconds_override: seconds after which dbt Cloud itself cancels the run.
        generate_docs_override: whether the run generates docs.
        azure_pull_request_id: the pull request that the run belongs to.
        github_pull_request_id: likewise.
        gitlab_merge_request_id: likewise.
        non_native_pull_request_id: likewise.
        additional_run_config: further fields of the API's trigger body.
        loaded: the output of a load's task (`DltLoadOperator`, ``@task.dlt_load``), or a list of them.
        when_nothing_loaded: whether the task is skipped (``"skip"``) or not (``"run"``) when these loaded
            nothing.
        select_loaded: narrow the steps to what depends on the loaded tables; a step that can't be narrowed
            stays as it is, with a warning.
        dbt_source: the dbt source that the loaded tables belong to; default: whichever has their schema.
        dbt_vars: variables for the steps, beside those that a step has itself.
        pass_load_ids: add the variables ``dlt_load_ids``, a list, and ``dlt_dataset``.
        wait_for_termination: wait for the run's end; if not, the task ends once the run is started.
        timeout: seconds (or a timedelta) to wait for the run's end; then it is cancelled. Default: 7 days.
        cancel_on_timeout: whether a run that this task started is cancelled when the time is up.
        check_interval: seconds between two looks at the run. Default: dense around the time at which the
            job's earlier runs ended, sparse before; without such a history the end is seen late by a
            hundredth of the run's duration at most. One request serves up to 100 waiting runs.
        outage_tolerance: seconds for which an API that does not answer is outlived; default: the
            connection's, else 30 minutes.
        reuse_existing_run: join an active run of the job, whoever started it, if its overrides are the same.
            A joined run is never cancelled.
        retry_from_failure: a later try takes up the run that this task started at its point of failure,
            where dbt Cloud can do that.
        deferrable: wait in the triggerer; if not, the wait holds the worker.
        log_progress: tell in the task's log of the run's steps as they begin and end, with an estimate from
            earlier runs: a request a minute at most, the first after half a minute.
        log_results: at the run's end, tell in the task's log how dbt's nodes ended, and leave a summary in
            the XCom ``dbt_cloud_run_results`` and a picture, which Airflow's web interface shows, in
            ``dbt_cloud_run_picture``.
        save_artifacts: a folder's address at any object store, such as
            ``s3://bucket/dbt/{dag_id}/{run_id}/``, into which all steps' artifacts are copied at the run's
            end, whether it succeeded or not. Airflow's templates, and the places ``{dag_id}``, ``{run_id}``,
            ``{task_id}``, ``{map_index}`` and ``{job_run_id}``, which is dbt Cloud's.
        emit_assets: emit an asset event for each model, seed and snapshot that the run has written, through
            each ``AssetAlias`` among ``outlets``; if there is none, the task gets one that is called
            ``dbt:<DAG id>.<task id>``. Airflow takes no events from a task that fails: see
            `DbtCloudAssetEventsOperator`.
        asset_uri: how relations are called as assets: a URI with ``{table}``, and ``{database}`` and
            ``{schema}`` as need be. Default: ``dbt://{database}/{schema}/{table}``.
        emit_lineage: emit OpenLineage's events of what the run has read, written and tested, if Airflow's
            OpenLineage provider is installed and on.
        lineage_namespace: how the run's database is called in OpenLineage, such as
            ``postgres://db.example.com:5432``. Default: as dbt Cloud's connection says, if the token may see
            that.
        hook_params: further arguments of `DbtCloudHook`.
        openlineage_inject_parent_job_info: accepted from the official provider's tasks; has no effect.

    Returns:
        The run's id (the XCom ``return_value``).

    Raises:
        DbtCloudJobRunException: the run failed, was cancelled, or did not end in time.
        DbtCloudError: the run could not be started.

    See https://docs.getdbt.com/dbt-cloud/api-v2#/operations/Trigger%20Job%20Run.
    """

    trigger_fields: ClassVar[tuple[str, ...]] = (
        "steps_override",
        "schema_override",
        "git_sha",
        "git_branch",
        "dbt_version_override",
        "target_name_override",
        "threads_override",
        "timeout_seconds_override",
        "generate_docs_override",
        "azure_pull_request_id",
        "github_pull_request_id",
        "gitlab_merge_request_id",
        "non_native_pull_request_id",
    )
    template_fields: Sequence[str] = (
        "dbt_cloud_conn_id",
        "job_id",
        "project_name",
        "environment_name",
        "job_name",
        "account_id",
        "trigger_reason",
        *trigger_fields,
        "additional_run_config",
        "loaded",
        "dbt_source",
        "dbt_vars",
        "save_artifacts",
        "asset_uri",
        "lineage_namespace",
    )
    template_fields_renderers = {"loaded": "py", "dbt_vars": "py"}
    ui_color = "#ff694a"

    def __init__(
        self,
        *,
        dbt_cloud_conn_id: str = DbtCloudHook.default_conn_name,
        job_id: int | str | None = None,
        project_name: str | None = None,
        environment_name: str | None = None,
        job_name: str | None = None,
        account_id: int | str | None = None,
        trigger_reason: str | None = None,
        steps_override: Sequence[str] | None = None,
        schema_override: str | None = None,
        git_sha: str | None = None,
        git_branch: str | None = None,
        dbt_version_override: str | None = None,
        target_name_override: str | None = None,
        threads_override: int | str | None = None,
        timeout_seconds_override: int | str | None = None,
        generate_docs_override: bool | str | None = None,
        azure_pull_request_id: int | str | None = None,
        github_pull_request_id: int | str | None = None,
        gitlab_merge_request_id: int | str | None = None,
        non_native_pull_request_id: int | str | None = None,
        additional_run_config: Mapping[str, Any] | None = None,
        loaded: Any = None,
        when_nothing_loaded: WhenNothingLoaded = "skip",
        select_loaded: bool = False,
        dbt_source: str | None = None,
        dbt_vars: Mapping[str, Any] | None = None,
        pass_load_ids: bool = False,
        wait_for_termination: bool = True,
        timeout: float | timedelta = WEEK,
        cancel_on_timeout: bool = True,
        check_interval: float | timedelta | None = None,
        outage_tolerance: float | timedelta | None = None,
        reuse_existing_run: bool = False,
        retry_from_failure: bool = False,
        deferrable: bool = True,
        log_progress: bool = True,
        log_results: bool = True,
        save_artifacts: str | None = None,
        emit_assets: bool = False,
        asset_uri: str | None = None,
        emit_lineage: bool = True,
        lineage_namespace: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        openlineage_inject_parent_job_info: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if openlineage_inject_parent_job_info:
            warnings.warn(
                f"openlineage_inject_parent_job_info of task {self.task_id!r} has no effect: the run's cause "
                "begins with a marker by which the task finds its run again.",
                UserWarning,
                stacklevel=2,
            )
        self.dbt_cloud_conn_id = dbt_cloud_conn_id
        self.job_id = job_id
        self.project_name = project_name
        self.environment_name = environment_name
        self.job_name = job_name
        self.account_id = account_id
        self.trigger_reason = trigger_reason
        self.steps_override = steps_override
        self.schema_override = schema_override
        self.git_sha = git_sha
        self.git_branch = git_branch
        self.dbt_version_override = dbt_version_override
        self.target_name_override = target_name_override
        self.threads_override = threads_override
        self.timeout_seconds_override = timeout_seconds_override
        self.generate_docs_override = generate_docs_override
        self.azure_pull_request_id = azure_pull_request_id
        self.github_pull_request_id = github_pull_request_id
        self.gitlab_merge_request_id = gitlab_merge_request_id
        self.non_native_pull_request_id = non_native_pull_request_id
        self.additional_run_config = additional_run_config
        self.loaded = loaded
        self.is_after_loads = loaded is not None
        self.when_nothing_loaded = when_nothing_loaded
        self.select_loaded = select_loaded
        self.dbt_source = dbt_source
        self.dbt_vars = dbt_vars
        self.pass_load_ids = pass_load_ids
        self.wait_for_termination = wait_for_termination
        self.timeout = seconds("timeout", timeout)
        self.cancel_on_timeout = cancel_on_timeout
        self.check_interval = None if check_interval is None else seconds("check_interval", check_interval)
        self.outage_tolerance = (
            None if outage_tolerance is None else seconds("outage_tolerance", outage_tolerance)
        )
        self.reuse_existing_run = reuse_existing_run
        self.retry_from_failure = retry_from_failure
        self.deferrable = deferrable
        self.log_progress = log_progress
        self.log_results = log_results
        self.save_artifacts = save_artifacts
        self.emit_assets = emit_assets
        self.asset_uri = asset_uri
        self.emit_lineage = emit_lineage
        self.lineage_namespace = lineage_namespace
        self.hook_params = dict(hook_params or {})
        self.run_id: int | None = None
        self._claim: Claim | None = None  # on a run of this task's; none on one that it joined
        self._is_starting = False
        self._is_killed = False
        self._check_arguments()
        if emit_assets:
            self.outlets = with_alias(self)

    def _check_arguments(self) -> None:
        """Refuse, while the DAG file is parsed, what can't be meant."""
        self._check_access()
        self._job_choice().check()
        check_given(self.task_id, self._given(), self.additional_run_config)
        self._after_loads().check()
        self._after_run().check()

    def _given(self) -> dict[str, Any]:
        """The trigger's fields that the task has as arguments."""
        given = {name: getattr(self, name) for name in self.trigger_fields}
        return {name: value for name, value in given.items() if value is not None}

    def execute(self, context: Context) -> int:
        """Start the run, or find the one that an earlier try started, and wait for its end."""
        task_instance = context["ti"]
        marker = self._marker(context)
        starter = RunStarter(
            self.hook.get_conn(),
            through_cool_down(lambda: self._job_choice().find(self.hook), self.log),
            marker,
            since=self._no_run_before(context),
            log=self.log,
            before_start=lambda: self._check_that_it_may_start(task_instance.id),
        )
        with self._left_on_timeout():
            run = self._start(starter, context)
            if is_given_up(task_instance.id):  # what follows would take the place of what a later try does
                self._cancel_unless_left()
                raise DbtCloudJobRunException(f"{GIVEN_UP} with job run {run.id}.")
            self._show_run(context, run)
            if not self.wait_for_termination:
                self._claim = None  # it is to go on, whatever becomes of the task from here
                return run.id
            if run.is_terminal:
                return self._result(context, run)
            if self.deferrable:
                now = time.time()
                limit = self.execution_timeout
                deadline = None if limit is None else now + limit.total_seconds()
                return self._wait_deferred(run.id, now + self.timeout, deadline)
            return self._wait_here(context, run)

    def _start(self, starter: RunStarter, context: Context) -> Run:
        """Start the run or find it, and claim it; whatever breaks that off, no run is left behind."""
        task_instance = context["ti"]
        self._is_starting = True
        try:
            started = starter.start(
                lambda: self._trigger_body(starter.marker, starter.job_id),
                look_first=task_instance.try_number > 1,
                wait=self.wait_for_termination,
                retry_from_failure=self.retry_from_failure,
                reuse_existing_run=self.reuse_existing_run,
            )
            self._take(context, started.run.id, started.owned)
        except (AirflowTaskTimeout, AirflowTaskTerminated) as error:
            self._is_starting = False
            if (self.cancel_on_timeout or self._is_killed) and not is_given_up(task_instance.id):
                dataclasses.replace(starter, client=self._quick_client()).cancel_started()
            if self._is_killed:  # Airflow would take the other exception for the end of all tries
                raise DbtCloudJobRunException(str(error)) from None
            raise
        finally:
            self._is_starting = False
        return started.run

    def _take(self, context: Context, run_id: int, owned: bool) -> None:
        self.run_id = run_id
        self._claim = Claim(_names(context), context["ti"].id, run_id) if owned else None

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        owned: bool = True,
        end_time: float | None = None,
        execution_deadline: float | None = None,
        run_id: int | None = None,
    ) -> int:
        """Go on after the wait: read the run again, and believe that rather than the event."""
        with self._left_on_timeout():
            if run_id is not None:
                self._take(context, run_id, owned)
            try:
                ended = RunEvent.read(event)
            except DbtCloudJobRunException as error:
                raise DbtCloudJobRunException(self._give_up(str(error))) from None
            if run_id is None:  # a task that an earlier release has deferred does not tell it
                run_id = ended.run_id
                self._take(context, run_id, owned)
            end_time = end_time or time.time() + self.timeout
            if self._is_foreign(ended, run_id):
                return self._wait_deferred(run_id, end_time, execution_deadline)
            run = ended.read_run(self.hook.get_conn())
            if run is not None and run.is_terminal:
                return self._result(context, run)
            if ended.status == "timeout":
                raise DbtCloudJobRunException(self._give_up(ended.message))
            return self._wait_deferred(run_id, end_time, execution_deadline)

    def on_kill(self) -> None:
        """Cancel the run that this task started, unless a later try goes on with it.

        Bounded, for the worker is about to be killed; until then Airflow lets it go on.

        Raises:
            AirflowTaskTerminated: a run is being started; that is broken off, and the run cancelled.
        """
        self._is_killed = True
        if self._is_starting:
            # A signal's handler interrupts what waits for dbt Cloud's answer: it may come too late.
            raise AirflowTaskTerminated("The task was killed while a job run was being started.")
        self._cancel_unless_left()

    def _cancel_unless_left(self) -> None:
        if self._claim is None:
            return
        if left := ask_why_left(self._claim):
            self.log.info("Job run %s goes on: %s.", self.run_id, left)
            return
        try:
            self._quick_client().cancel_run(self._claim.run_id)
        except DbtCloudError as error:
            self.log.warning("Job run %s could not be cancelled and may go on. %s", self.run_id, error)
        else:
            self.log.info("Cancelled job run %s, since the task was killed.", self.run_id)

    @contextmanager
    def _left_on_timeout(self) -> Iterator[None]:
        """Give the claim up at an execution_timeout, if its run is to go on: Airflow calls on_kill() next."""
        try:
            yield
        except AirflowTaskTimeout:
            if not self.cancel_on_timeout:
                self._claim = None
            raise

    def _check_that_it_may_start(self, try_id: UUID) -> None:
        """A task that was killed goes on for some seconds, and a worker that was frozen just goes on."""
        if self._is_killed:
            raise DbtCloudJobRunException(
                "The task was killed before it had started a job run: it starts none."
            )
        if is_given_up(try_id):
            raise DbtCloudJobRunException(f"{GIVEN_UP}: it starts no job run.")

    def _quick_client(self) -> DBTCloudClientV2:
        """A client that asks once and not for long."""
        # The settings are known by now: a signal handler must not ask Airflow for the connection.
        settings = dataclasses.replace(self.hook.settings, timeout=KILL_TIMEOUT)
        return settings.client(self._account(), retry_budget=0)

    def _marker(self, context: Context) -> Marker:
        return Marker.for_task(
            deployment=self.hook.settings.deployment or airflow_base_url(),
            epoch=context["ti"].max_tries,
            **_names(context),
        )

    def _no_run_before(self, context: Context) -> datetime | None:
        """The time before which no run of this work can have been started.

        A DAG run that has ended and is cleared gets a new start: then it is when it was first due, within
        bounds, for a backfill's DAG runs were due long ago.
        """
        dag_run = context["dag_run"]
        cleared = context["ti"].max_tries > (self.retries or 0)
        if not cleared or dag_run.start_date is None:
            return dag_run.start_date and dag_run.start_date - CLOCK_SKEW
        return max(dag_run.run_after, dag_run.start_date - LOOK_BACK) - CLOCK_SKEW

    def _job_choice(self) -> JobChoice:
        return JobChoice(self.task_id, self.job_id, self.job_name, self.project_name, self.environment_name)

    def _after_loads(self) -> AfterLoads:
        return AfterLoads(
            task_id=self.task_id,
            given=self.is_after_loads,
            loaded=self.loaded,
            when_nothing_loaded=self.when_nothing_loaded,
            select_loaded=self.select_loaded,
            dbt_source=self.dbt_source,
            dbt_vars=self.dbt_vars,
            pass_load_ids=self.pass_load_ids,
        )

    def _after_run(self) -> AfterRun:
        return AfterRun(
            task_id=self.task_id,
            waits=self.wait_for_termination,
            save_artifacts=self.save_artifacts,
            emit_assets=self.emit_assets,
            asset_uri=self.asset_uri,
        )

    def _trigger_body(self, marker: Marker, job_id: int) -> dict[str, Any]:
        """The trigger's fields: the task's arguments before the connection's defaults."""
        defaults = self.hook.settings.defaults
        body = merged_body(self._given(), self.additional_run_config, defaults)
        reason = str(self.trigger_reason or body.pop("cause", None) or defaults.get("cause") or "")
        reason = reason or f"Triggered via Apache Airflow by task {self.task_id!r} in the {self.dag_id} DAG."
        if len(reason) > marker.reason_length:
            self.log.warning(
                "trigger_reason is %d characters long and was cut to %d: dbt Cloud's cause has 255, and a "
                "marker by which the run is found again takes some of them.",
                len(reason),
                marker.reason_length,
            )
        body["cause"] = marker.cause(reason)
        body["steps_override"] = self._after_loads().steps(
            self.hook, job_id, body.get("steps_override"), self.log
        )
        return body

    def _wait_deferred(self, run_id: int, end_time: float, execution_deadline: float | None) -> NoReturn:
        self._hand_over(
            run_id,
            self.check_interval,
            end_time=end_time,
            execution_deadline=execution_deadline,
            owner=self._claim.task if self._claim else None,
            owned=self._claim is not None,
            log_progress=self.log_progress,
        )

    def _wait_here(self, context: Context, run: Run) -> int:
        try:
            ended = self.hook.get_conn().wait_for_run(
                run.id,
                poll_interval=self.check_interval,
                timeout=self.timeout,
                outage_tolerance=self._outage_tolerance(),
                on_refusal=self.hook.reconnect,
                glances=self._glances(),
            )
        except AirflowTaskTimeout:
            ended = self._look_once_more(run.id)
        except RunTimeoutError as error:
            raise DbtCloudJobRunException(self._give_up(str(error))) from None
        return self._result(context, ended)

    def _glances(self) -> Glances | None:
        return Glances(self._quick_client, self.log, 2 * KILL_TIMEOUT) if self.log_progress else None

    def _look_once_more(self, run_id: int) -> Run:
        """The run as it ended, though the time is up.

        Raises:
            AirflowTaskTimeout: it goes on, or could not be read at once.
        """
        try:
            run = self._quick_client().get_run(run_id)
        except DbtCloudError as error:
            progress = f"it could not be read once more: {error}"
        else:
            if run.is_terminal:
                return run
            progress = f"{progress_of(run, time.time())}."
        message = f"Job run {run_id} has not ended within the execution_timeout; {progress}"
        if self._claim is None or not self.cancel_on_timeout:
            message += " It was left running."
        raise AirflowTaskTimeout(message) from None

    def _give_up(self, message: str) -> str:
        """Cancel the run if that is wanted and it is still this try's; return what is to be said."""
        claim = self._claim
        if claim is None or not self.cancel_on_timeout:
            return f"{message} It was left running."

        def cancel() -> str | None:
            left = ask_why_left(claim)  # asked again after a cool-down
            if not left:
                self.hook.cancel_job_run(claim.run_id)
            return left

        try:
            left = through_cool_down(cancel, self.log)
        except DbtCloudError as error:
            return f"{message} It could not be cancelled and may go on: {error}"
        return f"{message} It was left running: {left}." if left else f"{message} It was cancelled."

    def _result(self, context: Context, run: Run) -> int:
        client, aliases = self.hook.get_conn(), event_aliases(self.outlets)
        uses = self._after_run().uses(context, run, client, aliases, self.log)
        if why := self._why_it_failed(context, run, uses):
            raise DbtCloudJobRunException(why)
        return run.id


def _names(context: Context) -> dict[str, Any]:
    """What names a task instance."""
    task_instance = context["ti"]
    map_index = task_instance.map_index
    return {
        "dag_id": task_instance.dag_id,
        "run_id": task_instance.run_id,
        "task_id": task_instance.task_id,
        "map_index": -1 if map_index is None else map_index,
    }
