"""Requests as they are built, answers as they are understood, and which requests may be repeated."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import (
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
    protocol,
)
from airflow_provider_dbtcloud_dlt.client.protocol import Answer, Request

GET = Request("GET", "accounts/7/runs/5/")
POST = Request("POST", "accounts/7/jobs/3/run/", body={"cause": "c"})


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
    assert build() == Request(method, path, params, body)  # type: ignore[arg-type]


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


# --- answers ------------------------------------------------------------------------------------------------


def _answer(status: int, body: Any = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def _envelope(message: str, data: Any = None) -> dict[str, Any]:
    return {"status": {"code": 400, "is_success": False, "user_message": message}, "data": data}


def _raised(answer: Answer, request: Request = GET) -> DbtCloudError:
    with pytest.raises(DbtCloudError) as raised:
        protocol.decode(request, answer, host="dbt.test")
    return raised.value


def test_good_answer_is_its_json() -> None:
    """The envelope included."""
    assert protocol.decode(GET, _answer(200, {"data": 1}), host="dbt.test") == {"data": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, MalformedAnswerError),
        (308, MalformedAnswerError),
        (400, RejectedRequestError),
        (401, InvalidCredentialsException),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, RejectedRequestError),
        (409, RejectedRequestError),
        (422, RejectedRequestError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
        (599, ServerError),
    ],
)
def test_status_is_an_error_of_its_kind(status: int, kind: type[DbtCloudError]) -> None:
    """With the status as an attribute, whatever the body is."""
    error = _raised(_answer(status, b"<html>"))
    assert type(error) is kind
    assert error.status_code == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_dbts_own_words_are_shown(status: int) -> None:
    """`user_message` is in the message and an attribute."""
    error = _raised(_answer(status, _envelope("The reason.")))
    assert error.user_message == "The reason."
    assert "The reason." in str(error)


@pytest.mark.parametrize(
    ("body", "message", "field"),
    [
        (_envelope("Bad.", "cause is too long"), "Bad. cause is too long", None),
        (_envelope("Bad.", "Bad."), "Bad.", None),
        (_envelope("", "cause is too long"), "cause is too long", None),
        (_envelope("Bad.", {"cause": ["Required.", "Really."]}), "Bad. cause: Required.; Really.", "cause"),
        (_envelope("Bad.", {"cause": "Required."}), "Bad. cause: Required.", "cause"),
        ({"data": {"threads": [1]}}, "threads: 1", "threads"),
        ({"detail": 'Method "PUT" not allowed.'}, 'Method "PUT" not allowed.', None),
        ({"status": "odd"}, None, None),
        ([1], None, None),
        (b"", None, None),
        (b"<html>", None, None),
    ],
)
def test_rejection_is_explained(body: Any, message: str | None, field: str | None) -> None:
    """A bad answer's body can be an envelope, another object, HTML or nothing."""
    error = _raised(_answer(400, body))
    assert isinstance(error, RejectedRequestError)
    assert (error.user_message, error.field) == (message, field)


def test_field_is_in_the_message() -> None:
    """Of a rejected request."""
    error = _raised(_answer(400, _envelope("Bad.", {"cause": ["Required."]})), POST)
    assert "rejected POST /accounts/7/jobs/3/run/ (400) (field 'cause')" in str(error)


def test_401_names_both_causes() -> None:
    """The API answers so for a wrong token and for a wrong host."""
    assert "token is wrong or expired, or the account does not live on this host" in str(
        _raised(_answer(401))
    )


def test_html_is_told_as_such() -> None:
    """A good status with a gateway's page is no answer of dbt Cloud."""
    error = _raised(_answer(200, b"<!doctype html><p>Sign in", Content_Type="text/html"))
    assert isinstance(error, MalformedAnswerError)
    assert "with an HTML page instead of dbt Cloud's JSON: check the host" in str(error)


@pytest.mark.parametrize("body", [b'{"data": {"id": 1', b"", b"\xff\xfe"])
def test_truncated_json_is_malformed(body: bytes) -> None:
    """No JSONDecodeError reaches anybody."""
    assert isinstance(_raised(_answer(200, body)), MalformedAnswerError)


@pytest.mark.parametrize("envelope", [{}, [], "x", None, {"status": {}}])
def test_json_without_data_is_malformed(envelope: Any) -> None:
    """Nor a KeyError."""
    with pytest.raises(MalformedAnswerError, match="has no 'data'"):
        protocol.data_of(GET, envelope, host="dbt.test")


def test_null_data_is_data() -> None:
    """A run without artifacts has it."""
    assert protocol.data_of(GET, {"data": None}, host="dbt.test") is None


def test_redirect_is_explained() -> None:
    """It is the usual sign of a wrong host."""
    assert "redirect (302), which is not followed" in str(_raised(_answer(302, Location="https://evil.test")))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("Wed, 01 Jan 2025 00:01:00 GMT", 60.0),
        ("Tue, 31 Dec 2024 23:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("Mon, 99 Foo 2025 00:00:00 GMT", None),
    ],
)
def test_retry_after(mocker: MockerFixture, value: str, seconds: float | None) -> None:
    """In seconds and as a date; what can't be read counts as not said."""
    mocker.patch("time.time", return_value=datetime(2025, 1, 1, tzinfo=UTC).timestamp())
    error = _raised(_answer(429, Retry_After=value))
    assert isinstance(error, RateLimitError)
    assert error.retry_after == seconds


@given(st.text())
def test_retry_after_never_raises(value: str) -> None:
    """A header may hold anything."""
    seconds = protocol.retry_after(_answer(429, Retry_After=value))
    assert seconds is None or seconds >= 0


def test_server_errors_carry_retry_after() -> None:
    """A 503 may say it as well."""
    assert _raised(_answer(503, Retry_After="9")).retry_after == 9.0  # type: ignore[attr-defined]


@given(
    st.integers(100, 599), st.binary() | st.sampled_from([b"{}", b'{"status": 1, "data": {"a": {}}}', b"[]"])
)
def test_any_answer_is_json_or_an_error_of_ours(status: int, body: bytes) -> None:
    """Nothing else comes out of decoding."""
    try:
        protocol.decode(GET, _answer(status, body), host="dbt.test")
    except DbtCloudError as error:
        assert "dbt.test" in str(error) or "dbt Cloud" in str(error) or "API token" in str(error)  # noqa: PT017


# --- repeating ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "get", "post"),
    [
        (RateLimitError("429"), True, True),
        (UnreachableError("refused", sent=False), True, True),
        (UnreachableError("read time-out", sent=True), True, False),
        (UnreachableError("certificate", sent=False, passing=False), False, False),
        (ServerError("500", status_code=500), True, False),
        (ServerError("502", status_code=502), True, False),
        (ServerError("503", status_code=503), True, False),
        (ServerError("504", status_code=504), True, False),
        (ServerError("501", status_code=501), False, False),
        (RejectedRequestError("408", status_code=408), True, False),
        (RejectedRequestError("400", status_code=400), False, False),
        (MalformedAnswerError("HTML", status_code=200), True, False),
        (MalformedAnswerError("redirect", status_code=302), False, False),
        (InvalidCredentialsException("401", status_code=401), False, False),
        (PermissionDeniedError("403", status_code=403), False, False),
        (NotFoundError("404", status_code=404), False, False),
        (InvalidRequestError("bad"), False, False),
    ],
)
def test_what_may_be_repeated(error: DbtCloudError, get: bool, post: bool) -> None:
    """A read after any passing failure; what starts something only when it surely had no effect."""
    assert (protocol.may_retry(GET, error), protocol.may_retry(POST, error)) == (get, post)
