"""Requests as they are built."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import (
    InvalidCredentialsException,
    InvalidRequestError,
    protocol,
)
from airflow_provider_dbtcloud_dlt.client.protocol import Request


@pytest.mark.parametrize(
    ("build", "method", "path", "params", "body"),
    [
        (lambda: protocol.get_account(7), "GET", "accounts/7/", {}, None),
        (
            lambda: protocol.trigger_job_run(7, "3", {"cause": "c", "git_sha": None}),
            "POST",
            "accounts/7/jobs/3/run/",
            {},
            {"cause": "c"},
        ),
        (lambda: protocol.rerun_job(7, 3), "POST", "accounts/7/jobs/3/rerun/", {}, None),
        (lambda: protocol.get_run("7", 5), "GET", "accounts/7/runs/5/", {}, None),
        (
            lambda: protocol.get_run(7, 5, ["run_steps", "job"]),
            "GET",
            "accounts/7/runs/5/",
            {"include_related": "run_steps,job"},
            None,
        ),
        (lambda: protocol.cancel_run(7, 5), "POST", "accounts/7/runs/5/cancel/", {}, None),
        (lambda: protocol.retry_run(7, 5), "POST", "accounts/7/runs/5/retry/", {}, None),
        (lambda: protocol.get_step(7, 9), "GET", "accounts/7/steps/9/", {}, None),
        (lambda: protocol.list_artifacts(7, 5), "GET", "accounts/7/runs/5/artifacts/", {}, None),
        (
            lambda: protocol.list_artifacts(7, 5, 2),
            "GET",
            "accounts/7/runs/5/artifacts/",
            {"step": "2"},
            None,
        ),
        (
            lambda: protocol.get_artifact(7, 5, "compiled/my model.sql", 1),
            "GET",
            "accounts/7/runs/5/artifacts/compiled/my%20model.sql",
            {"step": "1"},
            None,
        ),
        (lambda: protocol.get_item(7, "jobs", 3), "GET", "accounts/7/jobs/3/", {}, None),
        (lambda: protocol.get_item(7, "projects", 3), "GET", "accounts/7/projects/3/", {}, None),
        (lambda: protocol.get_item(7, "environments", 3), "GET", "accounts/7/environments/3/", {}, None),
        (lambda: protocol.list_items(7, "runs", {}), "GET", "accounts/7/runs/", {}, None),
    ],
)
def test_endpoint(
    build: Callable[[], Request], method: str, path: str, params: Mapping[str, str], body: Any
) -> None:
    """Each call of the API: method, path with its slash, query and body."""
    built = build()
    assert (built.method, built.path, built.params, built.body) == (method, path, params, body)


@pytest.mark.parametrize(
    ("request_", "idempotent"),
    [
        (protocol.get_run(7, 5), True),
        (protocol.cancel_run(7, 5), True),
        (protocol.trigger_job_run(7, 3, {"cause": "c"}), False),
        (protocol.rerun_job(7, 3), False),
        (protocol.retry_run(7, 5), False),
    ],
    ids=str,
)
def test_request_knows_whether_it_may_be_repeated(request_: Request, idempotent: bool) -> None:
    """What starts a run would start two; of two cancellations the second does nothing."""
    assert request_.idempotent is idempotent


@pytest.mark.parametrize(
    ("filters", "params"),
    [
        ({"status__in": [1, 2, 3]}, {"status__in": "[1,2,3]"}),
        ({"pk__in": (70403110257794,)}, {"pk__in": "[70403110257794]"}),
        ({"pk__in": []}, {"pk__in": "[]"}),
        ({"dbt_version__in": ["1.8", "1.9"]}, {"dbt_version__in": '["1.8","1.9"]'}),
        (
            {"created_at__range": [datetime(2023, 9, 1, 1, 41, 25, tzinfo=UTC), "2023-09-02"]},
            {"created_at__range": '["2023-09-01 01:41:25+00:00","2023-09-02"]'},
        ),
        ({"include_related": ["trigger", "job"]}, {"include_related": "trigger,job"}),
        ({"include_related": "trigger"}, {"include_related": "trigger"}),
        ({"include_related": []}, {}),
        ({"has_docs_generated": True}, {"has_docs_generated": "true"}),
        ({"limit": 100, "offset": None}, {"limit": "100"}),
        ({"order_by": "-id"}, {"order_by": "-id"}),
    ],
)
def test_filters_are_encoded(filters: dict[str, Any], params: dict[str, str]) -> None:
    """An array is one parameter that holds a JSON array; nothing is left out."""
    assert protocol.list_items(7, "runs", filters).params == params


@pytest.mark.parametrize(
    ("kind", "name"),
    [("runs", "id__in"), ("jobs", "status"), ("projects", "job_id"), ("environments", "name__icontains")],
)
def test_unknown_filter_is_refused(kind: Any, name: str) -> None:
    """The API would answer 400; here the message lists what there is."""
    with pytest.raises(InvalidRequestError, match=rf"list of {kind} has no filter '{name}'; it has: .*limit"):
        protocol.list_items(7, kind, {name: 1})


@pytest.mark.parametrize("account", [None, "", "x"])
def test_account_is_checked(account: object) -> None:
    """No path is built for an account that is none."""
    with pytest.raises(InvalidCredentialsException, match="account_id"):
        protocol.get_run(account, 5)


@given(st.text() | st.lists(st.sampled_from(["..", ".", "a", "%2e%2e", "", "\\", "?", "#"])).map("/".join))
def test_artifact_path_stays_below_the_run(path: str) -> None:
    """Whatever is asked for, the URL that requests makes of it lies in the run's artifacts."""
    try:
        built = protocol.get_artifact(7, 5, path)
    except (InvalidRequestError, UnicodeEncodeError):
        return
    url = requests.Request("GET", f"https://dbt.test/{built.path}").prepare().url
    assert url is not None
    parts = urlsplit(url)
    assert (parts.netloc, parts.query, parts.fragment) == ("dbt.test", "", "")
    assert parts.path.startswith("/accounts/7/runs/5/artifacts/")
    assert unquote(parts.path.removeprefix("/accounts/7/runs/5/artifacts/")) == path


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", "a/"])
def test_artifact_path_that_leaves_is_refused(path: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError, match="path must name an artifact"):
        protocol.get_artifact(7, 5, path)


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("accounts/1/jobs", "accounts/1/jobs/"),
        ("/accounts/1/jobs/", "accounts/1/jobs/"),
        ("accounts/1/jobs?limit=2", "accounts/1/jobs/?limit=2"),
        ("accounts/1/runs/2/artifacts/manifest.json", "accounts/1/runs/2/artifacts/manifest.json"),
        ("accounts/1/runs/2/artifacts/", "accounts/1/runs/2/artifacts/"),
    ],
)
def test_raw_path_gets_its_slash(endpoint: str, path: str) -> None:
    """Without it the API answers 308; an artifact has none."""
    assert protocol.raw_path(endpoint) == path


@pytest.mark.parametrize("endpoint", ["https://evil.test/x", "accounts//1", "accounts/../../x"])
def test_raw_path_is_refused(endpoint: str) -> None:
    """A path below the API, nothing else."""
    with pytest.raises(InvalidRequestError, match="endpoint must be a path"):
        protocol.raw_path(endpoint)
