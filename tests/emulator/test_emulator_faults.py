"""Faults between the socket and the API."""

import contextlib
import http.client
import json
import ssl
import time
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.responses import PlainTextResponse

from airflow_provider_dbtcloud_dlt.emulator.faults import Fault, Faults, Request
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire


def test_the_next_requests_fail_and_then_no_more(emu, api):
    """`fail_next` counts."""
    emu.fail_next(2, status=503, headers={"Retry-After": "7"})
    answers = [api.get("/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_html(emu, api, status):
    """A proxy before dbt Cloud answers a person, not a program."""
    emu.inject("status", status=status, times=1)
    answer = api.get("/")

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(None, None), (7, "7"), ("Fri, 31 Dec 2027 23:59:59 GMT", "Fri, 31 Dec 2027 23:59:59 GMT")],
)
def test_a_rate_limit_says_when_to_come_back_or_not(emu, api, retry_after, header):
    """429 with `Retry-After` in seconds, as a date, or without."""
    emu.inject("status", status=429, retry_after=retry_after, times=1)
    answer = api.get("/")

    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_that_may_have_no_body_has_none(emu, api, status):
    """It arrives, and the connection serves the next request."""
    emu.inject("status", status=status, retry_after=1, times=1)
    answer = api.session.get(f"{api.base}/", timeout=5)

    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (status, "1", b"")
    assert (api.get("/").status_code, emu.connections) == (200, 1)


def test_whatever_a_header_may_hold_arrives(emu, api):
    """Letters beyond ASCII, and nothing at all, are legal."""
    emu.inject("status", status=200, body="ok", headers={"X-Name": "Jürgen, \t(£)", "Y": ""})
    headers = api.session.get(f"{api.base}/", timeout=5).headers

    assert (headers["X-Name"], headers["Y"]) == ("Jürgen, \t(£)", "")


def test_a_fault_may_be_for_one_path_only(emu, api):
    """The pattern is searched in method and path."""
    emu.fail_next(1, status=429, path="^POST .*/run/", body="")

    assert api.get("/").status_code == 200
    assert api.post("/jobs/1000/run/", cause="x").status_code == 429
    assert emu.runs() == []


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("get_account", "/"), ("list_runs", "/runs/"), ("get_job", "/jobs/1000/"), ("get_run", "/runs/5/")],
)
def test_a_fault_may_be_for_one_endpoint_only(emu, api, endpoint, path):
    """An endpoint is named as in the documentation; requests to others are served."""
    emu.inject("status", endpoint=endpoint, status=500)

    assert api.get(path).status_code == 500
    assert api.get("/projects/").status_code == 200


@pytest.mark.parametrize(("after_effect", "runs"), [(False, 0), (True, 1)])
def test_a_dropped_connection_has_an_effect_or_not(emu, api, after_effect, runs):
    """The answer is lost before or after the run was triggered."""
    emu.drop_next(1, path="/run/", after_effect=after_effect)

    with pytest.raises(requests.ConnectionError):
        api.post("/jobs/1000/run/", cause="x")
    assert len(emu.runs()) == runs


def test_a_slow_answer_outlasts_a_time_out(emu, api):
    """The answer comes, but not before a client with less patience has gone."""
    emu.inject("slow", seconds=0.3, times=1)

    with pytest.raises(requests.ReadTimeout):
        api.session.get(api.base + "/", timeout=0.1)


def test_a_slow_answer_arrives(emu, api):
    """Whoever waits gets it whole."""
    emu.inject("slow", seconds=0.2, times=1)
    begin = time.monotonic()

    assert api.data("/")["id"] == 1
    assert time.monotonic() - begin >= 0.2


def test_a_late_answer_comes_after_the_effect(emu, api):
    """A client that has lost patience, or its life, has started a run all the same."""
    emu.inject("late_answer", seconds=0.3, times=1)

    with pytest.raises(requests.ReadTimeout):
        api.session.post(api.base + "/jobs/1000/run/", json={"cause": "x"}, timeout=0.1)
    assert len(emu.runs()) == 1


def test_a_late_answer_arrives(emu, api):
    """Whoever waits gets it whole."""
    emu.inject("late_answer", seconds=0.2, times=1)
    begin = time.monotonic()

    assert api.data("/")["id"] == 1
    assert time.monotonic() - begin >= 0.2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [10, 8_000_000])
def test_a_truncated_answer_breaks_off(tls, size):
    """Status, headers and half of the announced bytes arrive, however many, then the connection is gone."""
    with emulator(tls=tls, lag=0) as emu:
        emu.script_job(emu.job_id, artifacts={"manifest.json": "x" * size})
        path = f"/api/v2/accounts/1/runs/{emu.trigger()}/artifacts/manifest.json"
        emu.inject("truncate", times=1)
        address, context = urlsplit(emu.url), ssl.create_default_context(cafile=emu.ca_file)
        connection = (
            http.client.HTTPSConnection(address.netloc, timeout=5, context=context)
            if tls
            else http.client.HTTPConnection(address.netloc, timeout=5)
        )
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Token {emu.token}"})
            answer = connection.getresponse()
            # A client that is slower than the server can send.
            time.sleep(0.2)
            with pytest.raises(http.client.IncompleteRead) as broken:
                answer.read()

    assert (answer.status, int(answer.headers["Content-Length"])) == (200, size)
    assert broken.value.partial == b"x" * (size // 2)


def test_an_answer_that_is_no_json_has_taken_effect(emu, api):
    """200 and a page of HTML: the run was started all the same."""
    emu.inject("not_json", times=1)
    answer = api.session.post(f"{api.base}/jobs/1000/run/", json={"cause": "x"}, timeout=5)

    assert (answer.status_code, answer.text[:6], len(emu.runs())) == (200, "<html>", 1)


def test_a_fresh_run_is_not_found_for_a_while(emu, api):
    """The first seconds after a trigger the run may not be there yet."""
    emu.inject("fresh_run_404", seconds=5)
    path = f"/runs/{api.trigger()}/"
    found = [api.get(path).status_code]
    emu.clock.advance(5)
    found.append(api.get(path).status_code)

    assert found == [404, 200]


def test_an_unknown_status_is_shown_while_a_run_goes_on(emu, api):
    """A run that has ended shows the truth, in the list too."""
    emu.inject("unknown_status", status=42)
    emu.script_job(emu.job_id, seconds=10)
    path = f"/runs/{api.trigger()}/"
    seen = [api.data(path)["status"], api.data("/runs/")[0]["status"]]
    emu.clock.advance(11)

    assert [*seen, api.data(path)["status"]] == [42, 42, 10]


def test_pk_in_may_be_refused(emu, api):
    """As by a server that does not know the parameter."""
    emu.inject("pk_in_refused")
    answer = api.get("/runs/", pk__in="[1]")

    assert (answer.status_code, answer.json()["data"]) == (
        400,
        "Additional properties are not allowed ('pk__in' was unexpected)",
    )
    assert api.get("/runs/").status_code == 200


def test_pk_in_may_be_ignored(emu, api):
    """All runs are listed, whatever was asked for; other filters count."""
    emu.inject("pk_in_ignored")
    runs = [api.trigger() for _ in range(2)]

    assert [run["id"] for run in api.data("/runs/", pk__in=f"[{runs[0]}]")] == runs
    assert [run["id"] for run in api.data("/runs/", pk__in="[5]", id__gt=runs[0])] == runs[1:]


def test_faults_leave_the_pages_alone(emu):
    """What people look at goes on working while clients suffer."""
    emu.inject("status", status=500)

    assert requests.get(emu.url, timeout=5).status_code == 200


def test_hits_are_counted_and_a_fault_can_be_taken_away(emu, api):
    """A test can see that its fault has struck."""
    fault = emu.inject("status", status=500)
    api.get("/")
    hits = emu.hits(fault)
    emu.remove_fault(fault)

    assert (hits, api.get("/").status_code) == (1, 200)


def test_with_the_same_seed_the_same_requests_are_hit(make_api):
    """Chance is the same again."""

    def pattern():
        with emulator(seed=7) as emu:
            emu.inject("status", probability=0.5)
            client = make_api(emu)
            return [client.get("/").status_code for _ in range(20)]

    first = pattern()

    assert set(first) == {200, 502}
    assert pattern() == first


REQUEST = Request("GET", "/api/v2/accounts/1/", endpoint="get_account")


@given(probability=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_about_so_many_requests_are_hit_as_is_likely(probability, seed):
    """Of a thousand requests, as many as the probability says, within five standard deviations."""
    faults = Faults([Fault(probability=probability)], seed)
    hits = sum(faults.take(REQUEST) is not None for _ in range(1000))

    assert abs(hits - 1000 * probability) < 5 * (1000 * probability * (1 - probability)) ** 0.5


@given(others=st.lists(st.booleans(), max_size=30), seed=st.integers(0, 1000))
def test_one_faults_chance_does_not_depend_on_other_requests(others, seed):
    """Which requests to an endpoint are hit is the same, whatever else arrives between them."""
    other = Request("GET", "/api/v2/accounts/1/runs/", endpoint="list_runs")

    def hit(noise):
        told = [Fault(endpoint="list_runs", probability=0.3), Fault(endpoint="get_account", probability=0.3)]
        faults = Faults(told, seed, {"get_account", "list_runs"})
        found = []
        for noisy in noise:
            if noisy:
                faults.take(other)
            found.append(faults.take(REQUEST) is not None)
        return found

    assert hit(others) == hit([False] * len(others))


@given(first=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_one_faults_chance_does_not_depend_on_other_faults(first, seed):
    """A fault is tried at the same requests, whether one before it has hit them or not."""

    def tried(*before):
        faults = Faults([*before, Fault(kind="drop", probability=0.3)], seed)
        taken = [faults.take(REQUEST) for _ in range(30)]
        return [None if fault in before else fault for fault in taken], [fault in before for fault in taken]

    alone, _ = tried()
    beside, hidden = tried(Fault(kind="slow", probability=first))

    assert [one for one, is_hidden in zip(alone, hidden, strict=True) if not is_hidden] == [
        one for one, is_hidden in zip(beside, hidden, strict=True) if not is_hidden
    ]


@given(times=st.integers(1, 20), asked=st.integers(0, 40))
def test_no_more_requests_are_hit_than_were_asked_for(times, asked):
    """`times` is an upper bound that is reached."""
    faults = Faults([Fault(times=times)])

    assert sum(faults.take(REQUEST) is not None for _ in range(asked)) == min(times, asked)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "explode"}, "kind"),
        ({"kind": "drop", "status": 500}, "takes no status"),
        ({"kind": "slow", "body": "x"}, "takes no body"),
        ({"kind": "status", "status": 99}, "between 200 and 599"),
        ({"kind": "pk_in_refused", "endpoint": "get_run"}, "is for list_runs only"),
        ({"status": 304, "body": "x"}, "an answer with the status 304 has no body"),
        ({"body": "\ud800"}, "is no text"),
        ({"kind": "not_json", "body": "\udfff"}, "is no text"),
        ({"headers": {"Content-length": "5"}}, "follows from the body"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "follows from the body"),
        ({"headers": {"": "5"}}, "cannot be the name of a header"),
        ({"headers": {"X\r\nY": "5"}}, "cannot be the name of a header"),
        ({"headers": {"Überschrift": "5"}}, "cannot be the name of a header"),
        ({"headers": {"X": "5\r\nY: 6"}}, "the header X cannot be"),
        ({"headers": {"X": " 5"}}, "the header X cannot be"),
        ({"headers": {"X": "5 €"}}, "the header X cannot be"),
        ({"retry_after": "5\n"}, "the header Retry-After cannot be"),
        ({"path": "("}, "not a regular expression"),
        ({"probability": 1.5}, "probability"),
        ({"times": 0}, "times"),
        ({"chance": 1}, "chance"),
        ({"kind": "slow", "seconds": float("inf")}, "seconds"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields, told):
    """The message says what is wrong."""
    with pytest.raises(ValidationError, match=told):
        Fault(**fields)


def test_an_endpoint_that_does_not_exist_is_refused_with_the_one_that_was_meant(emu):
    """A mistyped name would never hit."""
    with pytest.raises(ValueError, match="There is no endpoint 'get_runs'; did you mean get_run"):
        emu.inject("status", endpoint="get_runs")


def test_requests_are_recorded(emu, api):
    """A test can count what was asked, in order."""
    api.get("/runs/", limit=1)
    api.trigger()

    assert emu.requests == [
        ("GET", "/api/v2/accounts/1/runs/?limit=1"),
        ("POST", "/api/v2/accounts/1/jobs/1000/run/"),
    ]


def test_connections_are_counted(emu, api):
    """A client that keeps its connection makes one."""
    for _ in range(3):
        api.get("/")
    requests.get(emu.url, timeout=5)

    assert emu.connections == 2


def test_only_a_test_keeps_the_requests():
    """Whoever serves for weeks is asked by pollers all the time: the list would grow for ever."""
    wire = Wire(PlainTextResponse("here"))
    with Server(wire) as server:
        assert requests.get(server.url, timeout=5).text == "here"
    assert wire.requests == []


def test_a_lost_answer_to_a_json_client_leaves_no_half_state(emu, api):
    """After a lost answer the next request on a new connection is served."""
    emu.drop_next(1, after_effect=True)
    with pytest.raises(requests.ConnectionError):
        api.get("/")

    assert json.loads(api.get("/").text)["status"]["code"] == 200
