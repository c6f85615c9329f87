"""What the client sends and how it takes answers, with `responses` as the server."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from pytest_mock import MockerFixture
from responses.registries import OrderedRegistry

from airflow_provider_dbtcloud_dlt import __version__
from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    MalformedAnswerError,
    RateLimitError,
    RejectedRequestError,
    ServerError,
    UnreachableError,
)

BASE = "https://dbt.test/api/v2/accounts/7"
RUN = f"{BASE}/runs/5/"
TRIGGER = f"{BASE}/jobs/3/run/"
GOOD = {"status": {"code": 200}, "data": {"id": 5, "status": 3}}


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    """Answers in the order in which they are added; each must have been asked for."""
    with responses.RequestsMock(registry=OrderedRegistry) as mock:
        yield mock


def _header(server: responses.RequestsMock, name: str) -> Any:
    return server.calls[-1].request.headers.get(name)


# --- what is sent -------------------------------------------------------------------------------------------


def test_token_is_sent_as_dbt_wants_it(
    client: DBTCloudClientV2, server: responses.RequestsMock, token: str
) -> None:
    """`Authorization: Token …`."""
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert _header(server, "Authorization") == f"Token {token}"


def test_client_names_itself(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """dbt's support can tell whose requests these are."""
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert _header(server, "User-Agent") == f"airflow-provider-dbtcloud-dlt/{__version__}"


def test_trigger_sends_the_body(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """With the default cause, and without what is not said."""
    server.post(TRIGGER, json=GOOD)
    assert client.trigger_job_run(3, {"git_sha": "abc", "git_branch": None}) == 5
    assert json.loads(server.calls[0].request.body or "") == {"cause": "Triggered via API", "git_sha": "abc"}


def test_get_endpoint_returns_the_envelope(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """As dlt's client does; the slash is added."""
    server.get(f"{BASE}/jobs/", json=GOOD)
    assert client.get_endpoint(f"{client.accounts_url}/jobs") == GOOD


def test_post_endpoint_sends_json(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """And returns the envelope."""
    server.post(f"{BASE}/anything/", json=GOOD, match=[responses.matchers.json_params_matcher({"a": 1})])
    assert client.post_endpoint("accounts/7/anything", {"a": 1}) == GOOD


def test_client_knows_dbt_clouds_clock(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """A good answer tells it; a gateway's error page tells another machine's."""
    future = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    server.get(RUN, json=GOOD, headers={"Date": future})
    server.get(RUN, status=403, headers={"Date": format_datetime(datetime.now(UTC), usegmt=True)})
    client.get_run(5)
    with pytest.raises(DbtCloudError):
        client.get_run(5)
    assert client.clock_skew == pytest.approx(300, abs=5)


def test_options_reach_requests(server: responses.RequestsMock, tmp_path: Path) -> None:
    """Time-outs, proxies and the CA bundle."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    proxies = {"https": "http://proxy.test:3128"}
    client = DBTCloudClientV2(
        "t", 7, "https://dbt.test/api", timeout=(3, 9), proxies=proxies, verify=str(bundle)
    )
    response = server.get(RUN, json=GOOD)
    client.get_run(5)
    sent = response.calls[0].request.req_kwargs  # type: ignore[attr-defined]
    assert (sent["timeout"], sent["verify"], sent["proxies"]["https"]) == (
        (3, 9),
        str(bundle),
        proxies["https"],
    )


def test_there_is_a_time_out_by_default(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """Requests itself would wait for ever."""
    response = server.get(RUN, json=GOOD)
    client.get_run(5)
    assert response.calls[0].request.req_kwargs["timeout"] == (10.0, 30.0)  # type: ignore[attr-defined]


def test_missing_ca_bundle_is_named() -> None:
    """Before the first request."""
    with pytest.raises(
        InvalidRequestError, match=r"verify names a CA bundle that does not exist: '/no/ca.pem'"
    ):
        DBTCloudClientV2("t", 7, verify="/no/ca.pem")


def test_netrc_does_not_replace_the_token(
    client: DBTCloudClientV2,
    server: responses.RequestsMock,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests prefers a .netrc entry to a header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine dbt.test login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.utils.get_netrc_auth("https://dbt.test/") == ("me", "other")
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert _header(server, "Authorization") == f"Token {token}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    client: DBTCloudClientV2, server: responses.RequestsMock, status: int
) -> None:
    """Nothing, the token least of all, goes to another host; a POST does not become a GET."""
    server.post(TRIGGER, status=status, headers={"Location": "https://evil.test/"})
    with pytest.raises(MalformedAnswerError, match="redirect"):
        client.start_run(3)
    assert len(server.calls) == 1


def test_without_account_only_raw_endpoints_work(server: responses.RequestsMock) -> None:
    """The rest says what is missing."""
    client = DBTCloudClientV2("t", None, "https://dbt.test/api")
    server.get("https://dbt.test/api/v2/accounts/", json=GOOD)
    assert client.get_endpoint("accounts") == GOOD
    with pytest.raises(InvalidCredentialsException, match="account_id is missing"):
        client.get_run(5)


# --- lists --------------------------------------------------------------------------------------------------


def _page(first: int, count: int) -> dict[str, Any]:
    return {"data": [{"id": number, "status": 10} for number in range(first, first + count)]}


def _query(call: responses.Call) -> dict[str, str]:
    return call.request.params  # type: ignore[no-any-return, union-attr]


def test_no_request_before_the_first_item(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """A list is lazy."""
    client.list_runs()
    assert len(server.calls) == 0


def test_second_page_is_fetched_when_needed(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """100 runs cost one request, the 101st the next."""
    server.get(f"{BASE}/runs/", json=_page(1, 100))
    server.get(f"{BASE}/runs/", json=_page(101, 1))
    runs = client.list_runs(order_by="id")
    assert [next(runs).id for _ in range(100)] == list(range(1, 101))
    assert len(server.calls) == 1
    assert [run.id for run in runs] == [101]
    assert [_query(call) for call in server.calls] == [
        {"order_by": "id", "limit": "100"},
        {"order_by": "id", "limit": "100", "offset": "100"},
    ]


def test_limit_asks_for_no_more(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """The last page is cut to what is wanted."""
    server.get(f"{BASE}/runs/", json=_page(1, 100))
    server.get(f"{BASE}/runs/", json=_page(101, 20))
    assert len(list(client.list_runs(limit=120, offset=40))) == 120
    assert _query(server.calls[1]) == {"limit": "20", "offset": "140"}


def test_limit_of_nothing_asks_nothing(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """No request is made for no item."""
    assert list(client.list_runs(limit=0)) == []


def test_null_list_is_empty(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """`data: null`, as artifacts have it."""
    server.get(f"{BASE}/runs/5/artifacts/", json={"data": None})
    assert client.list_artifacts(5) == []


def test_bad_filter_fails_where_it_is_written(client: DBTCloudClientV2) -> None:
    """Not when the first item is asked for."""
    with pytest.raises(InvalidRequestError, match="has no filter 'id__in'"):
        client.list_runs(id__in=[1])


@pytest.mark.parametrize("data", [5, "abc", {"id": 1}, [1], [{"name": "x"}]])
def test_list_that_is_none_is_malformed(
    client: DBTCloudClientV2, server: responses.RequestsMock, data: Any
) -> None:
    """No TypeError of ours reaches the user."""
    server.get(f"{BASE}/jobs/", json={"data": data})
    with pytest.raises(MalformedAnswerError, match=r"dbt\.test sent something"):
        list(client.list_jobs())


@pytest.mark.parametrize("data", [None, [], {"name": "no id"}, 5])
def test_run_that_is_none_is_malformed(
    client: DBTCloudClientV2, server: responses.RequestsMock, data: Any
) -> None:
    """Likewise."""
    server.get(RUN, json={"data": data})
    with pytest.raises(MalformedAnswerError, match="no dbt Cloud answer"):
        client.get_run(5)


# --- repeating ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 524])
def test_read_is_repeated(
    client: DBTCloudClientV2, server: responses.RequestsMock, time: Any, status: int
) -> None:
    """After a passing failure, once a pause is over."""
    server.get(RUN, status=status)
    server.get(RUN, json=GOOD)
    assert client.get_run(5).id == 5
    assert len(time.slept) == 1


def test_read_is_repeated_after_html(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """A gateway's page with status 200 passes as well."""
    server.get(RUN, body="<html>", content_type="text/html")
    server.get(RUN, json=GOOD)
    assert client.get_run(5).id == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_refusals_are_not_repeated(
    client: DBTCloudClientV2, server: responses.RequestsMock, status: int
) -> None:
    """Asking again would not change them."""
    server.get(RUN, status=status)
    with pytest.raises(DbtCloudError):
        client.get_run(5)


def test_pauses_keep_to_the_budget(token: str, time: Any) -> None:
    """A read is given up before the pauses exceed it."""
    client = DBTCloudClientV2(token, 7, "https://dbt.test/api", retry_budget=20, sleep=time.sleep)
    with responses.RequestsMock() as server:
        server.get(RUN, status=502)
        with pytest.raises(ServerError):
            client.get_run(5)
    assert time.slept
    assert sum(time.slept) <= 20


def test_budget_of_zero_is_one_attempt(token: str, server: responses.RequestsMock, time: Any) -> None:
    """Even where the server says that it may be asked again at once."""
    client = DBTCloudClientV2(token, 7, "https://dbt.test/api", retry_budget=0, sleep=time.sleep)
    server.get(RUN, status=503, headers={"Retry-After": "0"})
    with pytest.raises(ServerError):
        client.get_run(5)
    assert time.slept == []


def test_slow_answer_is_asked_for_again(
    client: DBTCloudClientV2, server: responses.RequestsMock, time: Any, mocker: MockerFixture
) -> None:
    """The default budget outlasts the default time-out."""
    mocker.patch("time.monotonic", time.clock)  # by which the budget is reckoned

    def time_out(request: Any) -> Any:
        time.advance(request.req_kwargs["timeout"][1])
        raise requests.ReadTimeout

    server.add_callback("GET", RUN, time_out)
    server.get(RUN, json=GOOD)
    assert client.get_run(5).id == 5


def test_retry_after_is_honoured(client: DBTCloudClientV2, server: responses.RequestsMock, time: Any) -> None:
    """To the second."""
    server.get(RUN, status=429, headers={"Retry-After": "17"})
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert time.slept == [17.0]


@pytest.mark.parametrize("value", ["0", "Tue, 31 Dec 2024 23:00:00 GMT"])
def test_retry_after_of_nothing_is_no_leave_to_hurry(
    client: DBTCloudClientV2, server: responses.RequestsMock, time: Any, value: str
) -> None:
    """A server that asks for no pause gets the usual one."""
    server.get(RUN, status=503, headers={"Retry-After": value})
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert time.slept[0] > 0


def test_retry_after_beyond_the_budget_is_an_error(
    client: DBTCloudClientV2, server: responses.RequestsMock, time: Any
) -> None:
    """Nobody is blocked for five minutes; the error says how long to wait."""
    server.get(RUN, status=429, headers={"Retry-After": "300"})
    with pytest.raises(RateLimitError) as raised:
        client.get_run(5)
    assert (raised.value.retry_after, time.slept) == (300.0, [])


@pytest.mark.parametrize(
    ("call", "path"),
    [("start_run", "jobs/3/run"), ("retry_run", "runs/3/retry"), ("rerun_job", "jobs/3/rerun")],
)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_post_is_not_repeated_after_5xx(
    client: DBTCloudClientV2, server: responses.RequestsMock, call: str, path: str, status: int
) -> None:
    """It may have had its effect: a second one would be a second run."""
    server.post(f"{BASE}/{path}/", status=status)
    with pytest.raises(ServerError):
        getattr(client, call)(3)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "failure", [requests.exceptions.ReadTimeout("x"), requests.exceptions.ConnectionError("reset")]
)
def test_post_is_not_repeated_when_it_may_have_arrived(
    client: DBTCloudClientV2, server: responses.RequestsMock, failure: Exception
) -> None:
    """Its answer was lost, not necessarily the request."""
    server.post(TRIGGER, body=failure)
    with pytest.raises(UnreachableError) as raised:
        client.start_run(3)
    assert raised.value.sent


def test_post_is_repeated_after_429(
    client: DBTCloudClientV2, server: responses.RequestsMock, time: Any
) -> None:
    """The rate limit refused it: it had no effect."""
    server.post(TRIGGER, status=429, headers={"Retry-After": "3"})
    server.post(TRIGGER, json=GOOD)
    assert client.start_run(3).id == 5
    assert time.slept == [3.0]


def test_post_is_repeated_when_it_was_not_sent(
    client: DBTCloudClientV2, server: responses.RequestsMock
) -> None:
    """No connection, no run."""
    server.post(TRIGGER, body=requests.exceptions.ConnectTimeout("x"))
    server.post(TRIGGER, json=GOOD)
    assert client.start_run(3).id == 5


# --- files --------------------------------------------------------------------------------------------------

ARTIFACT = f"{BASE}/runs/5/artifacts/manifest.json"


def test_artifact_is_returned_as_it_is(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """Bytes, of whatever kind."""
    server.get(ARTIFACT, body=b"\x00\xff{")
    assert client.get_artifact(5, "manifest.json") == b"\x00\xff{"


def test_download_writes_the_file(
    client: DBTCloudClientV2, server: responses.RequestsMock, tmp_path: Path
) -> None:
    """Into a folder that is made, with its size returned."""
    server.get(ARTIFACT, body=b"x" * 200_000)
    assert client.download_artifact(5, "manifest.json", tmp_path / "a" / "m.json") == 200_000
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["m.json"]
    assert (tmp_path / "a" / "m.json").read_bytes() == b"x" * 200_000


def test_download_is_repeated(
    client: DBTCloudClientV2, server: responses.RequestsMock, tmp_path: Path
) -> None:
    """Like any read."""
    server.get(ARTIFACT, status=502)
    server.get(ARTIFACT, body=b"whole")
    client.download_artifact(5, "manifest.json", tmp_path / "m.json")
    assert (tmp_path / "m.json").read_bytes() == b"whole"


def test_failed_download_leaves_the_old_file(
    client: DBTCloudClientV2, server: responses.RequestsMock, tmp_path: Path
) -> None:
    """And nothing beside it."""
    (tmp_path / "m.json").write_text("old")
    server.get(ARTIFACT, status=404)
    with pytest.raises(DbtCloudError):
        client.download_artifact(5, "manifest.json", tmp_path / "m.json")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# --- the token stays secret ---------------------------------------------------------------------------------


def _everything(error: BaseException | None) -> str:
    """All that a traceback or a log could show of an error."""
    shown = ""
    while error is not None:
        shown += f"{error} {error!r} {error.args} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown


FAILURES: list[Callable[[str], dict[str, Any]]] = [
    *[lambda token, status=status: {"status": status} for status in (302, 400, 401, 403, 404, 405, 429, 500)],
    lambda token: {"body": "<html>"},
    lambda token: {"json": {"no": "data"}},
    lambda token: {"status": 401, "json": {"status": {"user_message": f"Bad token {token}"}}},
    lambda token: {"status": 400, "json": {"data": {"Authorization": [f"Token {token}"]}}},
    lambda token: {"body": requests.exceptions.ReadTimeout("x")},
    lambda token: {"body": requests.exceptions.ConnectionError("x")},
    lambda token: {"body": requests.exceptions.SSLError("x")},
    lambda token: {"body": requests.exceptions.ProxyError("x")},
]


@pytest.mark.parametrize("failure", FAILURES)
def test_token_is_in_no_error_and_no_log(
    token: str, time: Any, caplog: pytest.LogCaptureFixture, failure: Callable[[str], dict[str, Any]]
) -> None:
    """Whatever goes wrong, though the server repeat it in its answer."""
    caplog.set_level(logging.DEBUG)
    client = DBTCloudClientV2(token, 7, "https://dbt.test/api", retry_budget=2, sleep=time.sleep)
    with responses.RequestsMock() as server:
        server.get(RUN, **failure(token))
        with pytest.raises(DbtCloudError) as raised:
            client.get_run(5)
    assert token not in _everything(raised.value)
    assert token not in caplog.text


def test_token_is_in_no_repr(client: DBTCloudClientV2, token: str) -> None:
    """Of the client and what it holds."""
    assert repr(client) == "DBTCloudClientV2(account_id=7, base_api_url='https://dbt.test/api/v2')"
    assert token not in f"{vars(client)}"


def test_repetition_is_logged_with_its_reason(
    client: DBTCloudClientV2, server: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever wonders why it takes long finds it in the log."""
    caplog.set_level(logging.INFO)
    server.get(RUN, status=429, headers={"Retry-After": "3"})
    server.get(RUN, json=GOOD)
    client.get_run(5)
    assert (
        "limits the rate of requests (429 for GET /accounts/7/runs/5/). Trying again in 3.0 s." in caplog.text
    )


def test_rejection_reaches_the_caller(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """dbt's own reason, and the field that it names, in error and message."""
    server.post(
        TRIGGER,
        status=400,
        json={"status": {"user_message": "Invalid."}, "data": {"git_sha": ["Unknown commit."]}},
    )
    with pytest.raises(RejectedRequestError, match=r"Invalid\. git_sha: Unknown commit\.") as raised:
        client.start_run(3)
    assert raised.value.field == "git_sha"
