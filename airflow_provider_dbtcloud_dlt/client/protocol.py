"""The requests that the dbt Cloud API v2 knows, built without a socket.

See https://docs.getdbt.com/dbt-cloud/api-v2. ``transport`` sends them, ``answers`` reads what comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from airflow_provider_dbtcloud_dlt.client.checks import check_id, check_trigger_body
from airflow_provider_dbtcloud_dlt.client.errors import InvalidRequestError

DEFAULT_BASE_URL = "https://cloud.getdbt.com/api"
DEFAULT_TIMEOUT = (10.0, 30.0)
DEFAULT_RETRY_BUDGET = 60.0
"""Leaves room for a second attempt after one that took the whole time-out."""
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
        harmless: whether a POST does nothing more when it is sent twice.
    """

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    harmless: bool = False

    def __str__(self) -> str:
        """How messages name it."""
        return f"{self.method} /{self.path.partition('?')[0]}"

    @property
    def idempotent(self) -> bool:
        """Whether the request may be repeated when its answer was lost."""
        return self.method == "GET" or self.harmless


def list_accounts() -> Request:
    """The accounts that the token opens."""
    return Request("GET", "accounts/")


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
    return Request("POST", f"{_run_path(account_id, run_id)}cancel/", harmless=True)


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
