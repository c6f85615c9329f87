"""What an answer means, whatever comes back, and what may be asked again."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
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
    answers,
    protocol,
)
from airflow_provider_dbtcloud_dlt.client.answers import Answer
from airflow_provider_dbtcloud_dlt.client.protocol import Request

GET = Request("GET", "accounts/7/runs/5/")
POST = Request("POST", "accounts/7/jobs/3/run/", body={"cause": "c"})
CANCEL = protocol.cancel_run(7, 5)


def _answer(status: int, body: Any = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def _envelope(message: str, data: Any = None) -> dict[str, Any]:
    return {"status": {"code": 400, "is_success": False, "user_message": message}, "data": data}


def _raised(answer: Answer, request: Request = GET) -> DbtCloudError:
    with pytest.raises(DbtCloudError) as raised:
        answers.decode(request, answer, host="dbt.test")
    return raised.value


def test_good_answer_is_its_json() -> None:
    """The envelope included."""
    assert answers.decode(GET, _answer(200, {"data": 1}), host="dbt.test") == {"data": 1}


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


def test_401_names_the_three_causes() -> None:
    """The API answers so for a wrong token, a wrong account number and a wrong host."""
    said = str(_raised(_answer(401)))
    assert (
        "the token is wrong or expired, the account's number is wrong, or the account does not live" in said
    )


def test_404_of_an_artifact_says_that_there_may_be_none() -> None:
    """It is more likely than a wrong id."""
    request = protocol.get_artifact(7, 5, "catalog.json")
    with pytest.raises(NotFoundError, match="the run has no such artifact"):
        answers.check_status(request, _answer(404), host="dbt.test")


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
        answers.data_of(GET, envelope, host="dbt.test")


def test_null_data_is_data() -> None:
    """A run without artifacts has it."""
    assert answers.data_of(GET, {"data": None}, host="dbt.test") is None


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
    seconds = answers.retry_after(_answer(429, Retry_After=value))
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
        answers.decode(GET, _answer(status, body), host="dbt.test")
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
    """A read, or a cancellation, after any passing failure; what starts something only without effect."""
    assert [answers.may_retry(request, error) for request in (GET, CANCEL, POST)] == [get, get, post]


NOON = "Wed, 25 Nov 2026 12:00:00 GMT"
NOON_EPOCH = 1795608000.0


@pytest.mark.parametrize(
    ("here", "skew"), [(NOON_EPOCH - 300, 300.5), (NOON_EPOCH + 300, -299.5), (NOON_EPOCH + 1.9, 0.0)]
)
def test_clock_skew(here: float, skew: float) -> None:
    """How far the server's clock is ahead; less than the header can tell is nothing."""
    assert answers.clock_skew({"Date": NOON}, here) == pytest.approx(skew)


@pytest.mark.parametrize(
    "headers", [{}, {"Date": ""}, {"Date": "noon"}, {"Date": NOON, "Age": "600"}], ids=str
)
def test_clock_skew_that_is_not_told(headers: dict[str, str]) -> None:
    """What is known so far stays."""
    assert answers.clock_skew(headers, NOON_EPOCH + 700, known=42.0) == 42.0


@pytest.mark.parametrize("ahead", [-600, 0, 600])
def test_retry_after_is_by_the_servers_clock(ahead: int) -> None:
    """A date counts from the answer's own."""
    now = datetime.now(UTC) + timedelta(seconds=ahead)
    dates = {"Date": now, "Retry-After": now + timedelta(seconds=60)}
    headers = {name: format_datetime(date, usegmt=True) for name, date in dates.items()}
    assert answers.retry_after(Answer(429, headers, b"")) == pytest.approx(60, abs=3)
