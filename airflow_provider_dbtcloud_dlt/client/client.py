"""The client: what the dbt Cloud API v2 can do, as methods that return records.

Nothing of it has an async twin: where a thread must not be blocked (the triggerer's event loop), its calls
run in another thread.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_dbtcloud_dlt.client import answers, checks, protocol
from airflow_provider_dbtcloud_dlt.client.blocking import wait_for_run
from airflow_provider_dbtcloud_dlt.client.errors import MalformedAnswerError
from airflow_provider_dbtcloud_dlt.client.glances import Glances
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun, read_looks
from airflow_provider_dbtcloud_dlt.client.models import (
    Account,
    Environment,
    Job,
    Project,
    Record,
    Run,
    RunStep,
)
from airflow_provider_dbtcloud_dlt.client.waiting import DEFAULT_OUTAGE_TOLERANCE

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.client.transport import Transport

DEFAULT_CAUSE = "Triggered via API"

RecordT = TypeVar("RecordT", bound=Record)


def import_transport() -> type[Transport]:
    """Import what talks to dbt Cloud: no DAG file needs requests. It takes longer than an event loop may."""
    from airflow_provider_dbtcloud_dlt.client.transport import Transport

    return Transport


class DBTCloudClientV2:
    """A client of the dbt Cloud Administrative API, version 2.

    See https://docs.getdbt.com/dbt-cloud/api-v2. Reads and cancellations are repeated after passing failures
    for up to `retry_budget` seconds; a request that starts something is repeated only when it surely had no
    effect. ``Retry-After`` is honoured. Redirects are never followed, so the token stays with its host.

    Args:
        api_token: a service token or a personal access token.
        account_id: the account's number; without it only `get_endpoint`, `post_endpoint` and
            `list_accounts` work.
        base_api_url: scheme, host and ``/api``, such as ``https://ab123.us1.dbt.com/api``.
        timeout: seconds to connect and seconds to wait for data, or one number for both; default: 10 and 30.
        retry_budget: seconds since the first attempt within which a failed read or cancellation is repeated;
            default: 60, time for a second attempt after one that timed out; 0 for one attempt.
        proxies: as requests takes them, ``{"https": "http://proxy:3128"}``; default: the environment's.
        verify: verify TLS certificates (``True``), or the path of a CA bundle to verify them with.
        allow_http: allow plain http to a host other than this machine.
        sleep: waits so many seconds; for tests.
        clock: tells the seconds since the epoch; for tests.

    Raises:
        InvalidCredentialsException: the token is empty or malformed, or the account is no number.
        InvalidRequestError: `base_api_url`, the proxy or the CA bundle can't be used.
    """

    api_version = "v2"

    def __init__(
        self,
        api_token: str,
        account_id: int | str | None = None,
        base_api_url: str = protocol.DEFAULT_BASE_URL,
        *,
        timeout: float | tuple[float, float] = protocol.DEFAULT_TIMEOUT,
        retry_budget: float = protocol.DEFAULT_RETRY_BUDGET,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
        allow_http: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account_id = None if account_id is None else checks.check_id("account_id", account_id)
        self.retry_budget = retry_budget
        base_api_url = checks.check_base_url(base_api_url, allow_http=allow_http)
        self.base_api_url = f"{base_api_url}/{self.api_version}"
        self.accounts_url = f"accounts/{self.account_id}"
        self.host = urlsplit(base_api_url).netloc
        self._clock = clock
        self._sleep = sleep
        self._transport = import_transport()(
            self.base_api_url,
            api_token,
            timeout=timeout,
            retry_budget=retry_budget,
            proxies=proxies,
            verify=verify,
            sleep=sleep,
        )
        # Who drops a client can't know whether another thread is still asking by it: with the last one its
        # connections are closed. Left alone, they stay open until Python's next search for cycles.
        weakref.finalize(self, self._transport.close)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(account_id={self.account_id}, base_api_url={self.base_api_url!r})"

    def __enter__(self) -> DBTCloudClientV2:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open for reuse."""
        self._transport.close()

    @property
    def clock_skew(self) -> float:
        """Seconds by which dbt Cloud's clock was ahead of this machine's at the last answer; 0 before one.

        The times in its records are by its clock.
        """
        return self._transport.clock_skew

    # --- dlt's interface -----------------------------------------------------------------------------------

    def get_endpoint(self, endpoint: str) -> Any:
        """GET any path of the API.

        Args:
            endpoint: the path below ``…/api/v2/``, such as ``accounts/1/jobs/``; a query may follow.

        Returns:
            The answer's whole JSON, the envelope included.

        Raises:
            DbtCloudError: see ``errors`` for its kinds.
        """
        request = protocol.Request("GET", protocol.raw_path(endpoint))
        return self._transport.json(request)

    def post_endpoint(self, endpoint: str, json_body: Mapping[str, Any] | None = None) -> Any:
        """POST to any path of the API; `endpoint`, result and errors as in `get_endpoint`.

        Args:
            endpoint: the path below ``…/api/v2/``.
            json_body: what is sent as JSON; default: no body.
        """
        request = protocol.Request("POST", protocol.raw_path(endpoint), body=json_body)
        return self._transport.json(request)

    def trigger_job_run(self, job_id: int | str, data: Mapping[str, Any] | None = None) -> int:
        """Start a run of a job and return its id; arguments and errors as in `start_run`."""
        return self.start_run(job_id, data).id

    def get_run_status(self, run_id: int | str) -> dict[str, Any]:
        """Return a run as the API's JSON object (``status``, ``status_humanized``, ``in_progress``, …)."""
        return dict(self.get_run(run_id).raw)

    # --- runs ----------------------------------------------------------------------------------------------

    def start_run(self, job_id: int | str, data: Mapping[str, Any] | None = None) -> Run:
        """Start a run of a job, see https://docs.getdbt.com/dbt-cloud/api-v2#/operations/Trigger%20Job%20Run.

        Args:
            job_id: the job's number.
            data: fields of the trigger: ``cause`` (default ``Triggered via API``, at most 255 characters),
                ``git_sha``, ``git_branch``, ``schema_override``, ``dbt_version_override``,
                ``target_name_override``, ``threads_override``, ``timeout_seconds_override`` (seconds),
                ``generate_docs_override``, ``steps_override`` (a list of dbt commands), the pull-request ids.

        Returns:
            The run, queued, with its trigger and job.

        Raises:
            InvalidRequestError: a field has the wrong type, or the cause is too long.
            NotFoundError: there is no such job.
            DbtCloudError: see ``errors`` for its other kinds. After an ``UnreachableError`` with ``sent``, a
                ``ServerError`` or a ``MalformedAnswerError`` the run may have been started all the same.
        """
        body = {"cause": DEFAULT_CAUSE, **(data or {})}
        return self._record(Run, protocol.trigger_job_run(self.account_id, job_id, body))

    def get_run(self, run_id: int | str, include_related: Sequence[str] = ()) -> Run:
        """Return a run.

        Args:
            run_id: the run's number.
            include_related: what to embed: ``trigger``, ``job``, ``environment``, ``repository``,
                ``run_steps``, ``run_retries``, ``debug_logs`` …

        Raises:
            NotFoundError: there is no such run (may happen for some seconds after it was started).
        """
        return self._record(Run, protocol.get_run(self.account_id, run_id, include_related))

    def list_runs(self, *, limit: int | None = None, offset: int = 0, **filters: Any) -> Iterator[Run]:
        """Iterate over runs; pages of up to 100 are fetched as the iteration needs them.

        Args:
            limit: the most runs to yield; default: all.
            offset: how many to leave out at the start.
            **filters: any of the API's: ``job_definition_id``, ``status__in``, ``pk__in``, ``id__gt``,
                ``created_at__range``, ``order_by`` (``id``, ``created_at``, ``finished_at``; ``-`` reverses),
                ``include_related`` (``trigger``, ``job``, …) and so on.

        Raises:
            InvalidRequestError: a filter that the API does not have.
        """
        return self._list(Run, "runs", filters, limit=limit, offset=offset)

    def look_at_runs(self, *, limit: int = protocol.PAGE_SIZE, **filters: Any) -> list[SeenRun]:
        """Return one page of runs, with no more of each than a wait needs; for who looks at many, often.

        Args:
            limit: the most runs, up to 100.
            **filters: as of `list_runs`.

        Returns:
            Runs that go on as `Look`, which has the attributes that a wait needs; those that have ended as
            `Run`, likewise without the rest.
        """
        request = protocol.list_items(self.account_id, "runs", {**filters, "limit": limit})
        answer = self._transport.answer(request)
        looks = read_looks(answer.body)
        if looks is None:
            envelope = answers.decode(request, answer, host=self.host)
            looks = [self._parse(Run, item) for item in self._items_of(request, envelope)]
        return looks

    def cancel_run(self, run_id: int | str) -> Run:
        """Cancel a run and return it; on a run that has ended nothing happens."""
        return self._record(Run, protocol.cancel_run(self.account_id, run_id))

    def retry_run(self, run_id: int | str) -> Run:
        """Start a new run that takes up exactly that failed run at its point of failure, and return it."""
        return self._record(Run, protocol.retry_run(self.account_id, run_id))

    def rerun_job(self, job_id: int | str) -> Run:
        """Start a job again: from its last run's point of failure, else anew without overrides."""
        return self._record(Run, protocol.rerun_job(self.account_id, job_id))

    def get_step(self, step_id: int | str) -> RunStep:
        """Return one step of a run."""
        return self._record(RunStep, protocol.get_step(self.account_id, step_id))

    def wait_for_run(
        self,
        run_id: int | str,
        *,
        poll_interval: float | None = None,
        timeout: float | None = None,
        outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE,
        cancel_on_timeout: bool = False,
        on_answer: Callable[[Run], object] | None = None,
        on_refusal: Callable[[], DBTCloudClientV2] | None = None,
        glances: Glances | None = None,
    ) -> Run:
        """Wait until a run has ended; how it ended is for the caller to judge.

        Passing failures of the API are outlived; once the run has been seen, a refused token is one too.
        ``Retry-After`` puts off the next look, or the cancellation, by five minutes at most.

        Args:
            run_id: the run's number.
            poll_interval: seconds between two looks; default: as the job's earlier runs suggest, five
                seconds at least.
            timeout: seconds to wait at most; default: no limit.
            outage_tolerance: seconds for which the API may fail to answer before the wait gives up.
            cancel_on_timeout: cancel the run when the time is up.
            on_answer: called with the run at every look; a true result ends the wait.
            on_refusal: called when the token is refused, as one is that was rotated; returns the client to go
                on with.
            glances: tells of the run's steps between the looks; default: nobody does.

        Returns:
            The run, ended: as success, error or cancelled.

        Raises:
            InvalidRequestError: `poll_interval` is not positive.
            RunTimeoutError: the time is up.
            NotFoundError: there has been no such run for a minute.
            DbtCloudError: the API's last failure, when it has failed for longer than `outage_tolerance`;
                or its first, when waiting can't mend that: a wrong token, no permission, a bad certificate.
        """
        return wait_for_run(
            self,
            run_id,
            poll_interval=poll_interval,
            timeout=timeout,
            outage_tolerance=outage_tolerance,
            cancel_on_timeout=cancel_on_timeout,
            on_answer=on_answer,
            on_refusal=on_refusal,
            glances=glances,
            clock=self._clock,
            sleep=self._sleep,
        )

    # --- artifacts -----------------------------------------------------------------------------------------

    def list_artifacts(self, run_id: int | str, step: int | None = None) -> list[str]:
        """Return the paths of a run's artifacts, such as ``manifest.json``; empty when there are none.

        Args:
            run_id: the run's number.
            step: the step's number, from 1; default: the last step.
        """
        request = protocol.list_artifacts(self.account_id, run_id, step)
        return [str(path) for path in self._items(request)]

    def get_artifact(self, run_id: int | str, path: str, step: int | None = None) -> bytes:
        """Return an artifact's content.

        Args:
            run_id: the run's number.
            path: relative to dbt's target folder, such as ``run_results.json``.
            step: the step's number, from 1; default: the last step.

        Raises:
            NotFoundError: there is no such artifact (yet: it may come some seconds after the run's end).
        """
        request = protocol.get_artifact(self.account_id, run_id, path, step)
        return self._transport.content(request)

    def download_artifact(
        self, run_id: int | str, path: str, target: str | os.PathLike[str], step: int | None = None
    ) -> int:
        """Stream an artifact to a file, which appears only when it is whole.

        Args:
            run_id: the run's number.
            path: relative to dbt's target folder, such as ``manifest.json``.
            target: the file to write; its folder is made if need be.
            step: the step's number, from 1; default: the last step.

        Returns:
            The number of bytes written.
        """
        request = protocol.get_artifact(self.account_id, run_id, path, step)
        return self._transport.download(request, Path(target))

    # --- account, projects, environments, jobs -------------------------------------------------------------

    def get_account(self) -> Account:
        """Return the account: a check of host, token and account number in one."""
        return self._record(Account, protocol.get_account(self.account_id))

    def list_accounts(self) -> list[Account]:
        """Return the accounts that the token opens; needs no account of the client's own."""
        return [self._parse(Account, item) for item in self._items(protocol.list_accounts())]

    def get_job(self, job_id: int | str) -> Job:
        """Return a job's definition."""
        return self._record(Job, protocol.get_item(self.account_id, "jobs", job_id))

    def list_jobs(self, *, limit: int | None = None, offset: int = 0, **filters: Any) -> Iterator[Job]:
        """Iterate over jobs; filters: ``project_id``, ``environment_id``, ``name__icontains`` …"""
        return self._list(Job, "jobs", filters, limit=limit, offset=offset)

    def get_project(self, project_id: int | str) -> Project:
        """Return a project."""
        return self._record(Project, protocol.get_item(self.account_id, "projects", project_id))

    def list_projects(
        self, *, limit: int | None = None, offset: int = 0, **filters: Any
    ) -> Iterator[Project]:
        """Iterate over projects; filters: ``name__icontains``, ``pk__in``, ``order_by`` …"""
        return self._list(Project, "projects", filters, limit=limit, offset=offset)

    def get_environment(self, environment_id: int | str) -> Environment:
        """Return an environment."""
        return self._record(Environment, protocol.get_item(self.account_id, "environments", environment_id))

    def list_environments(
        self, *, limit: int | None = None, offset: int = 0, **filters: Any
    ) -> Iterator[Environment]:
        """Iterate over environments; filters: ``project_id``, ``project_id__in``, ``order_by`` …"""
        return self._list(Environment, "environments", filters, limit=limit, offset=offset)

    # --- reading answers -----------------------------------------------------------------------------------

    def _record(self, kind: type[RecordT], request: protocol.Request) -> RecordT:
        return self._parse(kind, self._data(request))

    def _parse(self, kind: type[RecordT], data: Any) -> RecordT:
        try:
            return kind.from_api(data)
        except ValueError as error:
            raise MalformedAnswerError(
                f"{self.host} sent something that is no dbt Cloud answer: {error}."
            ) from None

    def _data(self, request: protocol.Request) -> Any:
        envelope = self._transport.json(request)
        return answers.data_of(request, envelope, host=self.host)

    def _items(self, request: protocol.Request) -> list[Any]:
        return self._items_of(request, self._transport.json(request))

    def _items_of(self, request: protocol.Request, envelope: Any) -> list[Any]:
        items = answers.data_of(request, envelope, host=self.host) or []
        if not isinstance(items, list):
            raise MalformedAnswerError(f"{self.host} sent something else than a list: is it dbt Cloud's API?")
        return items

    def _list(
        self,
        kind: type[RecordT],
        name: Any,
        filters: Mapping[str, Any],
        *,
        limit: int | None,
        offset: int,
    ) -> Iterator[RecordT]:
        # Built before the first item is asked for, so that a bad filter fails where it was written.
        protocol.list_items(self.account_id, name, filters)
        return self._pages(kind, name, filters, limit, offset)

    def _pages(
        self, kind: type[RecordT], name: Any, filters: Mapping[str, Any], limit: int | None, offset: int
    ) -> Iterator[RecordT]:
        left = limit
        while left is None or left > 0:
            size = protocol.PAGE_SIZE if left is None else min(left, protocol.PAGE_SIZE)
            page = {**filters, "limit": size, "offset": offset or None}
            items = self._items(protocol.list_items(self.account_id, name, page))
            for item in items:
                yield self._parse(kind, item)
            if len(items) < size:
                return
            offset += len(items)
            left = None if left is None else left - len(items)
