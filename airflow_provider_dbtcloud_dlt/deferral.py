"""What a task that waits for a run needs, operator or sensor: the hook, and the way to the triggerer."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import check_id_argument, is_plain, rendered_id
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.failure import report_failure
from airflow_provider_dbtcloud_dlt.compat import AirflowTaskTimeout
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import OFFICIAL_RETRY_PARAMETERS, DbtCloudHook
from airflow_provider_dbtcloud_dlt.links.dbt_cloud import JOB_RUN_ID, JOB_RUN_URL, DbtCloudRunLink
from airflow_provider_dbtcloud_dlt.triggers.event import RunEvent

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_dbtcloud_dlt.openlineage.lineage import RunLineage
    from airflow_provider_dbtcloud_dlt.run_results import Use


class WaitsForRun(BaseOperator):
    """A task that waits for a run; who inherits sets the attributes, then calls `_check_access`."""

    dbt_cloud_conn_id: str
    account_id: int | str | None
    hook_params: Mapping[str, Any]
    outage_tolerance: float | None
    log_results: bool
    emit_lineage: bool
    lineage_namespace: str | None
    operator_extra_links = (DbtCloudRunLink(),)
    _lineage: RunLineage | None = None

    @cached_property
    def hook(self) -> DbtCloudHook:
        """The hook of `dbt_cloud_conn_id` and `account_id`."""
        return DbtCloudHook(self.dbt_cloud_conn_id, self._account(), **self.hook_params)

    def _account(self) -> int | None:
        return None if self.account_id is None else rendered_id("account_id", self.account_id)

    def _outage_tolerance(self) -> float:
        return self.outage_tolerance or self.hook.settings.outage_tolerance

    def _check_access(self) -> None:
        """Refuse, while the DAG file is parsed, what can't lead to dbt Cloud."""
        if is_plain(self.dbt_cloud_conn_id) and not str(self.dbt_cloud_conn_id or "").strip():
            raise InvalidRequestError(
                f"Task {self.task_id!r}: dbt_cloud_conn_id is empty; name a connection."
            )
        check_id_argument("account_id", self.account_id)
        check_hook_params(self.hook_params)
        check_lineage_namespace(self.lineage_namespace)

    def _show_run(self, context: Context, run: Run) -> None:
        """Push the run's page and id, so that they are there while the task waits."""
        for key in (JOB_RUN_URL, DbtCloudRunLink().xcom_key):
            context["ti"].xcom_push(key=key, value=run.href)
        context["ti"].xcom_push(key=JOB_RUN_ID, value=run.id)

    def _why_it_failed(self, context: Context, run: Run, uses: Sequence[Use] = ()) -> str | None:
        """Tell how an ended run's nodes ended; return why the run is no success, None if it is one.

        Args:
            context: the task's; its XComs get a summary.
            run: the run.
            uses: what else is to be made of its artifacts.
        """
        if run.status is RunStatus.SUCCESS:
            self._report(context, run, uses)
            self.log.info("Job run %s has completed successfully in %s.", run.id, run.duration)
            return None
        return report_failure(
            self.hook.get_conn(),
            run,
            self.log,
            ask_nodes=lambda with_steps: self._report(context, with_steps, uses),
        )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Emit OpenLineage's events of the run, when the provider asks for them at the task's end."""
        from airflow_provider_dbtcloud_dlt.openlineage.task import emit_all  # no DAG file needs it

        return self._lineage.emit() if self._lineage else emit_all((), self.log)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage:
        """Likewise, when the task has failed."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _collect_lineage(self, context: Context) -> list[Use]:
        """What makes OpenLineage's events; nothing if it is off."""
        if not self.emit_lineage:
            return []
        from airflow_provider_dbtcloud_dlt.openlineage.lineage import RunLineage  # no DAG file needs it

        self._lineage = RunLineage.wanted(
            self.hook.get_conn(), context["ti"], self.lineage_namespace, self.log
        )
        return [self._lineage.collect] if self._lineage else []

    def _report(self, context: Context, run: Run, uses: Sequence[Use]) -> str:
        uses = [*self._collect_lineage(context), *uses]
        if not (self.log_results or uses):
            return ""
        from airflow_provider_dbtcloud_dlt.run_results import report_results, xcoms  # no DAG file needs them

        pushes: list[Use] = []
        if self.log_results:
            push = context["ti"].xcom_push
            pushes = xcoms(lambda key, value: push(key=key, value=value))
        try:
            return report_results(
                self.hook.get_conn(), run, self.log, [*pushes, *uses], tell=self.log_results
            )
        except AirflowTaskTimeout:  # the run has ended in time, and that is the task's result
            self.log.warning(
                "The execution_timeout has passed while the results were read: not all are told."
            )
            return ""

    def _is_foreign(self, event: RunEvent, run_id: int) -> bool:
        """Whether an event is of another run than the one that this try waits for.

        SQLite gives the id of a deleted trigger again: that of a cleared task may then go on as if it was
        its successor's.
        """
        if event.run_id == run_id:
            return False
        self.log.warning("The trigger's event is of job run %s, not of %s: waiting on.", event.run_id, run_id)
        return True

    def _hand_over(
        self,
        run_id: int,
        poll_interval: float | None,
        *,
        end_time: float,
        execution_deadline: float | None,
        owner: Mapping[str, Any] | None = None,
        log_progress: bool = False,
        **kwargs: Any,
    ) -> NoReturn:
        """Let the triggerer wait; `kwargs` come back to ``execute_complete`` beside the limits.

        Args:
            run_id: the run.
            poll_interval: seconds between two looks; ``None``: as the job's earlier runs suggest.
            end_time: when to give up, in seconds since the epoch.
            execution_deadline: likewise, by the task's ``execution_timeout``.
            owner: the task instance, if killing it shall cancel the run.
            log_progress: tell of the run's steps meanwhile.
            **kwargs: plain JSON.
        """
        # No DAG file needs it.
        from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger

        self.defer(
            trigger=DbtCloudRunJobTrigger(
                conn_id=self.dbt_cloud_conn_id,
                run_id=run_id,
                end_time=end_time,
                poll_interval=poll_interval,
                account_id=self._account(),
                hook_params=self.hook_params,
                execution_deadline=execution_deadline,
                outage_tolerance=self._outage_tolerance(),
                owner=owner,
                log_progress=log_progress,
            ),
            method_name="execute_complete",
            kwargs={
                "run_id": run_id,
                "end_time": end_time,
                "execution_deadline": execution_deadline,
                **kwargs,
            },
        )
        raise AssertionError("defer() does not return")  # pragma: no cover


def check_lineage_namespace(value: Any) -> None:
    """Refuse, as far as it is known while the DAG file is parsed, what names no database.

    Raises:
        InvalidRequestError: the sentence says what is wrong.
    """
    if value is None or not is_plain(value):
        return
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(
            "lineage_namespace must be an address such as 'postgres://db.example.com:5432', or left out, got "
            f"{value!r}."
        )
    if "@" in value:  # the value itself is not told
        raise InvalidRequestError(
            "lineage_namespace holds a user name or password, which everyone could read: leave it out."
        )


def check_hook_params(hook_params: Mapping[str, Any]) -> None:
    """Refuse arguments that the hook does not take, or that can't be stored with a trigger.

    Raises:
        InvalidRequestError: an unknown name, a value that is no JSON or not what the hook wants, or a proxy's
            password, which does not belong into Airflow's table of triggers.
    """
    known = set(inspect.signature(DbtCloudHook.__init__).parameters) - {
        "self",
        "dbt_cloud_conn_id",
        "account_id",
    }
    unknown = sorted(set(hook_params) - known)
    if unknown:
        raise InvalidRequestError(
            f"hook_params has {', '.join(map(repr, unknown))}, which DbtCloudHook does not take; it takes "
            f"{', '.join(sorted(known))}."
        )
    for name, value in hook_params.items():
        if name in OFFICIAL_RETRY_PARAMETERS:
            continue
        try:
            text = json.dumps(value)
        except (TypeError, ValueError):
            raise InvalidRequestError(
                f"hook_params[{name!r}] must be plain JSON, for it is stored while the task is deferred."
            ) from None
        if name == "proxies" and "@" in text:
            raise InvalidRequestError(
                "hook_params['proxies'] holds a user name or password, which would be stored in Airflow's "
                "database in clear: put the proxy into the connection's extra."
            )
    try:
        DbtCloudHook(**hook_params)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"hook_params: {error}") from None
