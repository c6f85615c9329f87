"""What testing a connection says: a sentence of what it leads to, or of what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar
from urllib.parse import urlsplit

from airflow_provider_dbtcloud_dlt.client import (
    Account,
    DBTCloudClientV2,
    DbtCloudError,
    Job,
    NotFoundError,
    PermissionDeniedError,
    Project,
    RateLimitError,
    ServerError,
)
from airflow_provider_dbtcloud_dlt.hooks.connection import DEFAULT_HOST, Settings, token_kind

PATIENCE = 15.0
"""Seconds for all of it: somebody waits for the button."""
TIMEOUT = (4.0, 8.0)
"""Seconds to connect and to wait for data, at most, whatever the connection says."""
HOSTS = ("ab123.us1.dbt.com", "emea.dbt.com", "au.dbt.com", DEFAULT_HOST)
"""How addresses of accounts look, see https://docs.getdbt.com/docs/cloud/about-cloud/access-regions-ip-addresses."""

_AnswerT = TypeVar("_AnswerT")


def check(settings: Settings, account_id: int | str | None = None) -> tuple[bool, str]:
    """Ask dbt Cloud for the account, and for the default job where there is one; each question once.

    Args:
        settings: what the connection says.
        account_id: instead of the connection's account.

    Returns:
        Whether the connection can be used, and the sentence. The token is not in it.
    """
    quick = dataclasses.replace(settings, timeout=_at_most(settings.timeout))
    try:
        good, said = _within(PATIENCE, lambda: _ask(quick, account_id or settings.account_id))
    except TimeoutError:
        host = urlsplit(settings.base_api_url).netloc
        good, said = False, f"{host} has not answered within {PATIENCE:.0f} seconds: {_CHECK_THE_WAY}."
    except DbtCloudError as error:
        good, said = False, told(error, settings.origin)
    return good, said.replace(settings.api_token, "***")


_CHECK_THE_WAY = "check the Access URL, the Proxy, and whether a firewall lets this machine through"


def told(error: DbtCloudError, origin: str) -> str:
    """Return an error as an answer: without the connection's name, which Airflow makes up for a test."""
    said = str(error).removeprefix(f"{origin}: ")
    if isinstance(error, RateLimitError | ServerError):
        said += " The connection may be right all the same: test it again in some minutes."
    return said[:1].upper() + said[1:] if said.startswith(("the ", "there ", "extra ", "plain ")) else said


def _ask(settings: Settings, account: int | str | None) -> tuple[bool, str]:
    if account is None:
        return False, _without_account(settings)
    with settings.client(account, retry_budget=0) as client:
        job_id = settings.defaults.get("job_id")
        way = f"at {client.host} with {token_kind(settings.api_token)}"
        try:
            found = client.get_account()
        except DbtCloudError as error:
            if error.status_code == 403 and job_id is not None:  # a token may be for some projects alone
                return _with_job(client, job_id, f"Connected to account {client.account_id} {way}")
            if error.status_code not in (401, 403, 404):
                raise
            return False, _refused(client, error)
        connected = f"Connected to account {_named(found)} {way}"
        if found.locked:
            reason = found.raw.get("lock_reason")
            why = f" ({reason})" if reason else ""
            return False, f"{connected}, but the account is locked{why}, so that no job can run in it."
        return (True, f"{connected}.") if job_id is None else _with_job(client, job_id, connected)


def _with_job(client: DBTCloudClientV2, job_id: str, connected: str) -> tuple[bool, str]:
    try:
        job = client.get_job(job_id)
    except NotFoundError:
        return False, (
            f"{connected}, but it sees no job {job_id}: correct the Default job ID, the number after /jobs/ "
            "in the job's address, or give the token a permission for the job's project."
        )
    except PermissionDeniedError:
        return False, (
            f"{connected}, but it has no permission for job {job_id}: in dbt Cloud, give the token one for "
            "the job's project, such as Job Admin, or take another Default job ID."
        )
    return True, f"{connected}; the default job is {_named(job)}{_in_project(client, job)}."


def _in_project(client: DBTCloudClientV2, job: Job) -> str:
    if job.project_id is None:
        return ""
    try:
        return f" in project {_named(client.get_project(job.project_id))}"
    except (NotFoundError, PermissionDeniedError):  # the job is what counts
        return f" in project {job.project_id}"


def _refused(client: DBTCloudClientV2, error: DbtCloudError) -> str:
    """Tell a bad token from a good one for another account: dbt Cloud lists those that a token opens."""
    try:
        seen = {str(account.id): account for account in client.list_accounts()}
    except DbtCloudError as refused:
        return _bad_token(client.host) if error.status_code == refused.status_code == 401 else str(error)
    good = f"The API token is good at {client.host}, but"
    wanted = str(client.account_id)
    if wanted in seen:
        return (
            f"{good} has no permission for account {_named(seen[wanted])}: in dbt Cloud, give it one, such "
            "as Job Admin."
        )
    if not seen:
        return f"{good} opens no account: make another one for account {wanted} {_IN_SETTINGS}."
    if near := difflib.get_close_matches(wanted, seen, n=1, cutoff=0.7):
        return f"{good} opens {_all_named(seen.values())}, not {wanted}: is {near[0]} the Account ID?"
    return (
        f"{good} opens {_all_named(seen.values())}, not {wanted}: correct the Account ID, or the Access URL "
        f"if account {wanted} lives at another one, such as {_likely_hosts(client.host)}."
    )


_IN_SETTINGS = "in dbt Cloud under Account settings → API tokens"


def _without_account(settings: Settings) -> str:
    with settings.client_without_account(retry_budget=0) as client:
        try:
            seen = client.list_accounts()
        except DbtCloudError as error:
            if error.status_code == 401:
                return _bad_token(client.host)
            raise
        return (
            f"The API token is good at {client.host} and opens {_all_named(seen) or 'no account'}, but the "
            "Account ID is empty: put the account's number there, or give each task its account_id."
        )


def _bad_token(host: str) -> str:
    """What a 401 may mean; dbt Cloud says the same of a bad token and of one for another host."""
    elsewhere = f"such as {_likely_hosts(host)} (dbt Cloud shows it under Account settings → Access URLs)"
    if host == DEFAULT_HOST:
        return (
            f"{host} refused the API token: either the account lives at an Access URL of its own, "
            f"{elsewhere}, or the token is mistyped, expired or revoked."
        )
    return (
        f"{host} refused the API token: it is mistyped, expired or revoked, so make another one "
        f"{_IN_SETTINGS}, or it is for an account at another Access URL, {elsewhere}."
    )


def _likely_hosts(host: str) -> str:
    *likely, last = [name for name in HOSTS if name != host]
    return f"{', '.join(likely)} or {last}"


def _named(item: Account | Job | Project) -> str:
    return f"{item.name!r} ({item.id})" if item.name else str(item.id)


def _all_named(accounts: Iterable[Account]) -> str:
    names = [f"account {_named(account)}" for account in accounts]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _at_most(timeout: float | tuple[float, float]) -> tuple[float, float]:
    connect, answer = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return min(connect, TIMEOUT[0]), min(answer, TIMEOUT[1])


def _within(seconds: float, question: Callable[[], _AnswerT]) -> _AnswerT:
    """Return the question's answer, or give it up after so many seconds.

    The time-out of a request limits neither the look-up of a name nor an answer that comes in drops.

    Raises:
        TimeoutError: there is no answer yet; the thread that asks is left to itself.
    """
    answer: Future[_AnswerT] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits
            answer.set_exception(error)

    # No executor: Python would wait for its threads when it ends.
    threading.Thread(target=ask, name="dbt-cloud-connection-check", daemon=True).start()
    return answer.result(seconds)
