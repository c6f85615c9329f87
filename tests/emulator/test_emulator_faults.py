"""Faults between the socket and the API."""

import pytest
import requests
from starlette.responses import PlainTextResponse

from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire


def test_the_next_requests_fail_and_then_no_more(emu, api):
    """`fail_next` counts."""
    emu.fail_next(2, status=503, headers={"Retry-After": "7"})
    answers = [api.get("/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert "<html>" in answers[0].text


def test_a_fault_may_be_for_one_path_only(emu, api):
    """The pattern is searched in method and path."""
    emu.fail_next(1, status=429, path="^POST .*/run/", body="")

    assert api.get("/").status_code == 200
    assert api.post("/jobs/1000/run/", cause="x").status_code == 429
    assert emu.runs() == []


@pytest.mark.parametrize(("after_effect", "runs"), [(False, 0), (True, 1)])
def test_a_dropped_connection_has_an_effect_or_not(emu, api, after_effect, runs):
    """The answer is lost before or after the run was triggered."""
    emu.drop_next(1, path="/run/", after_effect=after_effect)

    with pytest.raises(requests.ConnectionError):
        api.post("/jobs/1000/run/", cause="x")
    assert len(emu.runs()) == runs


def test_requests_are_recorded(emu, api):
    """A test can count what was asked, in order."""
    api.get("/runs/", limit=1)
    api.trigger()

    assert emu.requests == [
        ("GET", "/api/v2/accounts/1/runs/?limit=1"),
        ("POST", "/api/v2/accounts/1/jobs/1000/run/"),
    ]


def test_only_a_test_keeps_the_requests():
    """Whoever serves for weeks is asked by pollers all the time: the list would grow for ever."""
    wire = Wire(PlainTextResponse("here"))
    with Server(wire) as server:
        assert requests.get(server.url, timeout=5).text == "here"
    assert wire.requests == []
