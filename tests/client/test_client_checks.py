"""What users hand in is checked before anything is sent, with sentences that name what is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import (
    InvalidCredentialsException,
    InvalidRequestError,
    RunStatus,
    checks,
)


@pytest.mark.parametrize("token", ["", "  ", None, 5])
def test_empty_token_is_refused(token: object) -> None:
    """Instead of being sent as `Token `, which the API answers with a 401."""
    with pytest.raises(InvalidCredentialsException, match="api_token is empty"):
        checks.check_token(token)


@pytest.mark.parametrize("token", ["dbtc_sent inel", "dbtc_sent\ninel", "dbtc_sentinel\u2013", "dbtc_\x00"])
def test_malformed_token_is_refused_unshown(token: str) -> None:
    """What can't go into a header is named, not shown."""
    with pytest.raises(
        InvalidCredentialsException, match="characters that no dbt Cloud token has"
    ) as refusal:
        checks.check_token(token)
    assert "dbtc_" not in str(refusal.value)


def test_token_is_stripped() -> None:
    """A line break copied with a token does not matter."""
    assert checks.check_token(" dbtc_x\n") == "dbtc_x"


@pytest.mark.parametrize("value", [5, "5", " 5 ", "005"])
def test_id_is_a_number(value: object) -> None:
    """As a number or as text, such as a rendered template."""
    assert checks.check_id("job_id", value) == 5


@pytest.mark.parametrize("value", [None, "", " ", "None"])
def test_missing_id_is_named(value: object) -> None:
    """The message says which id."""
    with pytest.raises(InvalidCredentialsException, match="job_id is missing"):
        checks.check_id("job_id", value)


@pytest.mark.parametrize("value", ["abc", "1.5", 1.5, -1, 0, "0", True, "1/../2", "٣", [1], "9" * 5000])
def test_id_that_is_no_number_is_named(value: object) -> None:
    """Nothing else than digits gets into a path."""
    with pytest.raises(InvalidCredentialsException, match="run_id must be a positive whole number"):
        checks.check_id("run_id", value)


@pytest.mark.parametrize(
    "value",
    [10, "10", " 10 ", "success", "Success", "SUCCESS", RunStatus.SUCCESS, [10], ("Success",), {"10"}],
)
def test_status_by_number_or_name(value: object) -> None:
    """One status or several, each as it stands in dbt Cloud's documentation, answers or web pages."""
    assert checks.check_statuses("status_filter", value) == [RunStatus.SUCCESS]


@pytest.mark.parametrize("value", [3.0, 42, "1,2", "", True, None, ["success", "done"], {"a": 1}, object()])
def test_status_that_is_none_is_refused(value: object) -> None:
    """The message has all that there are."""
    with pytest.raises(InvalidRequestError, match=r"status_filter must be of 1 Queued, .*, 30 Cancelled, by"):
        checks.check_statuses("status_filter", value)


def test_no_status_at_all_is_refused() -> None:
    """Such a list, computed perhaps, is not all runs."""
    with pytest.raises(InvalidRequestError, match="status_filter is empty"):
        checks.check_statuses("status_filter", [])


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("https://cloud.getdbt.com/api", "https://cloud.getdbt.com/api"),
        (" https://ab123.us1.dbt.com/api/ ", "https://ab123.us1.dbt.com/api"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api"),
        ("http://localhost/api", "http://localhost/api"),
        ("http://[::1]:80/api", "http://[::1]:80/api"),
        ("http://127.9.9.9/api", "http://127.9.9.9/api"),
        ("https://ab123.us1.dbt.com", "https://ab123.us1.dbt.com/api"),
        ("https://gateway.test/dbt/api", "https://gateway.test/dbt/api"),
    ],
)
def test_base_url_is_accepted(given_url: str, expected: str) -> None:
    """https to anywhere, http to this machine."""
    assert checks.check_base_url(given_url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("cloud.getdbt.com", "must look like"),
        ("ftp://cloud.getdbt.com/api", "must look like"),
        ("https://", "must look like"),
        ("", "must look like"),
        ("https://host:port/api", "no valid URL"),
        ("https://[::1/api", "no valid URL"),
        ("https://host:99999/api", "no valid URL"),
        ("https://host/api?x=1", "must not hold a query"),
        ("https://host/api#x", "must not hold a query"),
        ("http://cloud.getdbt.com/api", "use https, or allow it with allow_http"),
        ("http://127.0.0.1.evil.test/api", "use https"),
        ("http://localhost.evil.test/api", "use https"),
        ("https://ab123\x00.us1.dbt.com", "must look like"),
        ("https://ab 123.us1.dbt.com", "must look like"),
    ],
)
def test_base_url_is_refused(url: str, words: str) -> None:
    """A sentence says why."""
    with pytest.raises(InvalidRequestError, match=words):
        checks.check_base_url(url)


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@host/api", "ftp://me:hunter2@h", "https://me:hunter2@h:x/"]
)
def test_credentials_in_a_base_url_are_not_shown(url: str) -> None:
    """Whatever else is wrong with it."""
    with pytest.raises(InvalidRequestError, match="must not hold a user name or password") as refusal:
        checks.check_base_url(url)
    assert "hunter2" not in str(refusal.value)


def test_plain_http_may_be_allowed() -> None:
    """For whoever says so."""
    assert checks.check_base_url("http://dbt.test/api", allow_http=True) == "http://dbt.test/api"


@pytest.mark.parametrize(
    "address",
    [
        "http://proxy:3128",
        "http://proxy:3128/",
        "https://me:s3cr%23et@proxy",
        "http://[::1]:3128",
        "proxy:3128",
        "socks5h://me:pw@proxy:1080",
    ],
)
def test_proxy_is_accepted(address: str) -> None:
    """As requests takes them, without a scheme too."""
    checks.check_proxy(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://me:hunter#2@proxy:3128",
        "http://hunter#2@proxy:3128",
        "http://me:hunter/2@proxy:3128",
        "http://me:12/hunter2@proxy:3128",
        "http://me:12?hunter2@proxy:3128",
        "http://me:hunter2@",
        "http://me:hunter2@:3128",
        "http://me:hunter2@proxy:port",
        "http://me:hunter2@proxy:99999",
        "http://me:hunter2@proxy:0",
        "http://me:hunter2@[bad",
        "me:hunter2@proxy:3128",
        "ftp://me:hunter2@proxy",
        5,
    ],
)
def test_proxy_is_refused_unshown(address: object) -> None:
    """With the place to look at and the usual reason; its address may hold a password."""
    with pytest.raises(InvalidRequestError, match=r"^proxies .*HTTPS_PROXY.*percent-encoded") as refusal:
        checks.check_proxy(address)
    assert "hunter" not in str(refusal.value)


def test_cause_of_255_characters_passes() -> None:
    """The API's own limit."""
    assert checks.check_trigger_body({"cause": "x" * 255}) == {"cause": "x" * 255}


def test_cause_of_256_characters_is_refused() -> None:
    """With its length."""
    with pytest.raises(InvalidRequestError, match="cause is 256 characters long, dbt Cloud accepts 255"):
        checks.check_trigger_body({"cause": "x" * 256})


@pytest.mark.parametrize("body", [{}, {"cause": ""}, {"cause": None}])
def test_missing_cause_is_refused(body: dict[str, Any]) -> None:
    """The API insists on one."""
    with pytest.raises(InvalidRequestError, match="cause is missing"):
        checks.check_trigger_body(body)


def test_nothing_is_left_out_of_the_body() -> None:
    """Nulls are; what the module does not know is the API's to judge."""
    body = {"cause": "c", "git_sha": None, "something_new": {"a": 1}}
    assert checks.check_trigger_body(body) == {"cause": "c", "something_new": {"a": 1}}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cause", ["why"], "cause must be a string"),
        ("git_sha", True, r"git_sha must be a string, got True\.$"),
        ("dbt_version_override", 1.1, r"dbt_version_override must be a string, got 1\.1: quote it \("),
        ("threads_override", "many", "threads_override must be a whole number"),
        ("threads_override", "²", "threads_override must be a whole number"),
        ("threads_override", True, "threads_override must be a whole number"),
        ("timeout_seconds_override", 1.5, "timeout_seconds_override must be a whole number"),
        ("generate_docs_override", "yes", "generate_docs_override must be true or false"),
        ("generate_docs_override", 1, "generate_docs_override must be true or false"),
        ("steps_override", "dbt build", "steps_override must be a list of dbt commands"),
        ("steps_override", {"a": 1}, "steps_override must be a list of dbt commands"),
        ("steps_override", [], "steps_override must hold at least one"),
        ("steps_override", ["dbt build", " "], "steps_override must hold at least one"),
        ("steps_override", [1], "steps_override must hold at least one"),
    ],
)
def test_type_of_a_trigger_field(name: str, value: object, words: str) -> None:
    """The refusal names the field and what it must be."""
    with pytest.raises(InvalidRequestError, match=words):
        checks.check_trigger_body({"cause": "c", name: value})


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("threads_override", "4", 4),
        ("git_sha", 1234567, "1234567"),
        ("cause", 20260101, "20260101"),
        ("generate_docs_override", "True", True),
        ("generate_docs_override", "false", False),
        ("steps_override", ("dbt seed", "dbt run"), ["dbt seed", "dbt run"]),
        ("generate_docs_override", False, False),
    ],
)
def test_rendered_templates_are_converted(name: str, value: object, sent: object) -> None:
    """A template renders to text, in a DAG with `render_template_as_native_obj` to what looks like it."""
    assert checks.check_trigger_body({"cause": "c", name: value})[name] == sent


@given(
    st.dictionaries(
        st.sampled_from(sorted(checks.TRIGGER_FIELDS)),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text() | st.integers()),
    )
)
def test_body_passes_or_is_refused(body: dict[str, Any]) -> None:
    """Any values: either each field has its type, or the refusal is this client's own."""
    try:
        checked = checks.check_trigger_body(body)
    except InvalidRequestError:
        return
    assert all(isinstance(value, checks.TRIGGER_FIELDS[name]) for name, value in checked.items())
