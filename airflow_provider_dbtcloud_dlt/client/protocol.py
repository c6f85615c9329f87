"""The dbt Cloud API v2 without a socket: requests are built here, answers decoded, and retries judged.

See https://docs.getdbt.com/dbt-cloud/api-v2. ``client.py`` sends what this module builds.
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_dbtcloud_dlt.client.checks import check_id, check_trigger_body
from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    MalformedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RejectedRequestError,
    ServerError,
    UnreachableError,
)

DEFAULT_BASE_URL = "https://cloud.getdbt.com/api"
PAGE_SIZE = 100
"""The API's default and largest ``limit``; also the most runs that one ``pk__in`` is asked for."""

RUN_FILTERS = frozenset(
    [
        "created_at__range",
        "finished_at__range",
        "dbt_version",
        "dbt_version__in",
        "deferring_run_id",
        "environment_id",
        "has_docs_generated",
        "has_sources_generated",
        "id__gt",
        "include_related",
        "job_definition_id",
        "limit",
        "offset",
        "order_by",
        "pk",
        "pk__in",
        "project_id",
        "project_id__in",
        "state",
        "status",
        "status__in",
    ]
)
JOB_FILTERS = frozenset(
    [
        "dbt_version__in",
        "environment_id",
        "include_related",
        "is_fusion_ready",
        "is_system",
        "limit",
        "name__icontains",
        "offset",
        "order_by",
        "pk",
        "project_id",
        "project_id__in",
        "state",
        "triggers_schedule",
    ]
)
PROJECT_FILTERS = frozenset(
    ["include_related", "limit", "name__icontains", "offset", "order_by", "pk", "pk__gt", "pk__in", "state"]
)
ENVIRONMENT_FILTERS = frozenset(
    [
        "dbt_version",
        "dbt_version__in",
        "include_related",
        "limit",
        "offset",
        "order_by",
        "pk",
        "project_id",
        "project_id__in",
        "state",
    ]
)


@dataclass(frozen=True)
class Request:
    """One request, ready to be sent.

    Attributes:
        path: below ``…/api/v2/``, with the trailing slash that the API wants.
        params: the query, encoded the way the API wants lists.
        body: what is sent as JSON.
    """

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def idempotent(self) -> bool:
        """Whether the request may be repeated when its answer was lost."""
        return self.method == "GET"


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (case-insensitive mapping) and the whole body."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


# --- building requests -------------------------------------------------------------------------------------


def get_account(account_id: object) -> Request:
    """The account itself."""
    return Request("GET", _account_path(account_id))


def trigger_job_run(account_id: object, job_id: object, data: Mapping[str, Any]) -> Request:
    """Start a run of a job; the body is checked first."""
    path = f"{_account_path(account_id)}jobs/{check_id('job_id', job_id)}/run/"
    return Request("POST", path, body=check_trigger_body(data))


def rerun_job(account_id: object, job_id: object) -> Request:
    """Start a job again, from the point of failure if its last run failed."""
    return Request("POST", f"{_account_path(account_id)}jobs/{check_id('job_id', job_id)}/rerun/")


def get_run(account_id: object, run_id: object, include_related: Sequence[str] = ()) -> Request:
    """One run, with what is embedded on request."""
    return Request("GET", _run_path(account_id, run_id), _params({"include_related": list(include_related)}))


def cancel_run(account_id: object, run_id: object) -> Request:
    """Cancel a run; on an ended one nothing happens."""
    return Request("POST", f"{_run_path(account_id, run_id)}cancel/")


def retry_run(account_id: object, run_id: object) -> Request:
    """Start a new run from the point of failure of exactly this one."""
    return Request("POST", f"{_run_path(account_id, run_id)}retry/")


def get_step(account_id: object, step_id: object) -> Request:
    """One step of a run."""
    return Request("GET", f"{_account_path(account_id)}steps/{check_id('step_id', step_id)}/")


def list_artifacts(account_id: object, run_id: object, step: int | None = None) -> Request:
    """The names of a run's artifacts."""
    return Request("GET", f"{_run_path(account_id, run_id)}artifacts/", _params({"step": step}))


def get_artifact(account_id: object, run_id: object, path: str, step: int | None = None) -> Request:
    """An artifact file: the one kind of path without a trailing slash."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequestError(
            f"path must name an artifact below dbt's target folder, such as 'manifest.json', got {path!r}."
        )
    encoded = "/".join(quote(part, safe="") for part in parts)
    return Request("GET", f"{_run_path(account_id, run_id)}artifacts/{encoded}", _params({"step": step}))


def get_item(
    account_id: object, kind: Literal["jobs", "projects", "environments"], item_id: object
) -> Request:
    """One job, project or environment."""
    name = f"{kind.removesuffix('s')}_id"
    return Request("GET", f"{_account_path(account_id)}{kind}/{check_id(name, item_id)}/")


def list_items(
    account_id: object,
    kind: Literal["runs", "jobs", "projects", "environments"],
    filters: Mapping[str, Any],
) -> Request:
    """One page of a list; array filters become one parameter that holds a JSON array.

    Raises:
        InvalidRequestError: a filter that the API does not have (it would answer 400).
    """
    unknown = sorted(set(filters) - _FILTERS[kind])
    if unknown:
        raise InvalidRequestError(
            f"dbt Cloud's list of {kind} has no filter {', '.join(map(repr, unknown))}; "
            f"it has: {', '.join(sorted(_FILTERS[kind]))}."
        )
    return Request("GET", f"{_account_path(account_id)}{kind}/", _params(filters))


_FILTERS = {
    "runs": RUN_FILTERS,
    "jobs": JOB_FILTERS,
    "projects": PROJECT_FILTERS,
    "environments": ENVIRONMENT_FILTERS,
}


def raw_path(endpoint: str) -> str:
    """A path that a user wrote, with the trailing slash without which the API answers 308."""
    path, _, query = endpoint.strip("/").partition("?")
    if "//" in path or ".." in path.split("/"):
        raise InvalidRequestError(f"endpoint must be a path below /api/v2/, got {endpoint!r}.")
    is_file = "/artifacts/" in path
    return f"{path.rstrip('/')}{'' if is_file else '/'}{'?' if query else ''}{query}"


def _account_path(account_id: object) -> str:
    return f"accounts/{check_id('account_id', account_id)}/"


def _run_path(account_id: object, run_id: object) -> str:
    return f"{_account_path(account_id)}runs/{check_id('run_id', run_id)}/"


def _params(values: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters as the API wants them; ``None`` is left out, an empty list is none of all."""
    params = {}
    for name, value in values.items():
        if value is None or (name == "include_related" and not value):
            continue
        if name == "include_related" and not isinstance(value, str):
            params[name] = ",".join(value)
        elif isinstance(value, bool):
            params[name] = json.dumps(value)
        elif isinstance(value, list | tuple | set | frozenset):
            params[name] = json.dumps([_plain(item) for item in value], separators=(",", ":"))
        else:
            params[name] = str(_plain(value))
    return params


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, int) else value if isinstance(value, str) else str(value)


# --- decoding answers --------------------------------------------------------------------------------------


def decode(request: Request, answer: Answer, *, host: str) -> Any:
    """Return the JSON of a good answer (the whole envelope), or raise what a bad one means.

    Args:
        request: what was asked, for the messages.
        answer: what came back.
        host: the server's name, for the messages.
    """
    check_status(request, answer, host=host)
    try:
        return json.loads(answer.body)
    except ValueError:
        kind = "an HTML page" if _looks_like_html(answer) else "no valid JSON"
        raise MalformedAnswerError(
            f"{host} answered {_asked(request)} with {kind} instead of dbt Cloud's JSON: check the host "
            "(access URL) and what stands between (proxy, gateway).",
            status_code=answer.status_code,
        ) from None


def check_status(request: Request, answer: Answer, *, host: str) -> None:
    """Raise what a status other than 2xx means."""
    status = answer.status_code
    if 200 <= status < 300:
        return
    message, field_name = _explanation(answer)
    said = f" dbt Cloud says: {message}" if message else ""
    asked = _asked(request)
    if 300 <= status < 400:
        raise MalformedAnswerError(
            f"{host} answered {asked} with a redirect ({status}), which is not followed so that the token "
            "stays with this host: check the host (access URL).",
            status_code=status,
        )
    if status == 401:
        raise InvalidCredentialsException(
            f"{host} refused the API token (401 for {asked}): the token is wrong or expired, or the account "
            f"does not live on this host (see Account settings → Access URLs in dbt Cloud).{said}",
            status_code=status,
            user_message=message,
        )
    if status == 403:
        raise PermissionDeniedError(
            f"The API token has no permission for {asked} (403).{said}",
            status_code=status,
            user_message=message,
        )
    if status == 404:
        raise NotFoundError(
            f"{asked}: not found on {host} (404): check the id and the account; dbt Cloud also answers so "
            f"when the token may not see it.{said}",
            status_code=status,
            user_message=message,
        )
    if status == 429:
        raise RateLimitError(
            f"{host} limits the rate of requests (429 for {asked}).{said}",
            user_message=message,
            retry_after=retry_after(answer),
        )
    if status >= 500:
        raise ServerError(
            f"{host} failed ({status} for {asked}).{said}",
            status_code=status,
            user_message=message,
            retry_after=retry_after(answer),
        )
    named = f" (field {field_name!r})" if field_name else ""
    raise RejectedRequestError(
        f"dbt Cloud rejected {asked} ({status}){named}.{said}",
        status_code=status,
        user_message=message,
        field=field_name,
    )


def data_of(request: Request, envelope: Any, *, host: str) -> Any:
    """The ``data`` of an answer's envelope."""
    if not isinstance(envelope, Mapping) or "data" not in envelope:
        raise MalformedAnswerError(
            f"{host} answered {_asked(request)} with JSON that has no 'data': is it dbt Cloud's API?"
        )
    return envelope["data"]


def _asked(request: Request) -> str:
    return f"{request.method} /{request.path.partition('?')[0]}"


def _looks_like_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("Content-Type", "") or answer.body.lstrip()[:1] == b"<"


def _explanation(answer: Answer) -> tuple[str | None, str | None]:
    """What dbt itself says in a bad answer, and the field that they name.

    ``data`` may be a string or an object that names the field; a 405 has no envelope but ``detail``.
    """
    try:
        content = json.loads(answer.body)
    except ValueError:
        return None, None
    if not isinstance(content, Mapping):
        return None, None
    status = content.get("status")
    said = status.get("user_message") if isinstance(status, Mapping) else content.get("detail")
    data = content.get("data")
    field_name: str | None = None
    if isinstance(data, Mapping) and data:
        field_name, detail = next(iter(data.items()))
        details = "; ".join(map(str, detail)) if isinstance(detail, list) else str(detail)
        said = f"{said} {field_name}: {details}" if said else f"{field_name}: {details}"
    elif isinstance(data, str) and data and data != said:
        said = f"{said} {data}" if said else data
    return (str(said)[:1000] if said else None), field_name


def retry_after(answer: Answer) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, as a number or a date; ``None`` without one."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


# --- judging retries ---------------------------------------------------------------------------------------

RETRIED_STATUSES = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524})


def may_retry(request: Request, error: DbtCloudError) -> bool:
    """Whether to send the request again: without risk of a second effect, and with a chance of success.

    A GET may be repeated after any passing failure. A POST only when it surely had no effect: it was not
    sent, or was refused by the rate limit.
    """
    if isinstance(error, RateLimitError):
        return True
    if isinstance(error, UnreachableError):
        return error.passing and (request.idempotent or not error.sent)
    if not request.idempotent:
        return False
    if isinstance(error, MalformedAnswerError):
        return error.status_code is None or error.status_code == 200
    return error.status_code in RETRIED_STATUSES
