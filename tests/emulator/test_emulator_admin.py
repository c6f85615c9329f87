"""Faults, time, tokens and scripts over HTTP, for tests that have the emulator in another process."""

import pytest
import requests


@pytest.fixture
def admin(emu):
    """Ask the admin endpoints."""

    def ask(method, path, as_token=None, **body):
        headers = {"Authorization": f"Token {as_token or emu.token}"}
        return requests.request(
            method, f"{emu.url}/emulator{path}", headers=headers, json=body or None, timeout=5
        )

    return ask


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/faults"),
        ("POST", "/faults"),
        ("DELETE", "/faults"),
        ("DELETE", "/faults/1"),
        ("GET", "/clock"),
        ("POST", "/clock"),
        ("POST", "/token"),
        ("PUT", "/jobs/1000/script"),
        ("GET", "/statistics"),
    ],
)
def test_everything_wants_the_token(admin, method, path):
    """Neither another user of the machine nor a web page can change anything."""
    assert admin(method, path, as_token="wrong").status_code == 401


def test_a_fault_is_added_shown_and_taken_away(admin, api):
    """The whole life of a fault."""
    number = admin("POST", "/faults", kind="status", status=503, endpoint="get_account").json()["id"]
    failed = api.get("/").status_code
    (shown,) = admin("GET", "/faults").json()["faults"]
    removed = admin("DELETE", f"/faults/{number}").status_code

    assert (failed, shown["id"], shown["hits"], removed) == (503, number, 1, 204)
    assert api.get("/").status_code == 200


def test_all_faults_are_taken_away(admin, api):
    """One request cleans up."""
    for _ in range(2):
        admin("POST", "/faults", kind="drop")
    admin("DELETE", "/faults")

    assert api.get("/").status_code == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"kind": "status", "endpoint": "get_runs"}, "did you mean get_run"),
        ({"kind": "slow", "body": "x"}, "takes no body"),
        ({"kind": "explode"}, "unknown_status"),
        ({"kind": "\ud800"}, "valid string"),
        ({"kind": "status", "body": "\ud800"}, "half of a surrogate pair is no text"),
    ],
)
def test_a_fault_that_makes_no_sense_is_a_422_that_says_why(admin, body, told):
    """Nothing is put to work that would never hit."""
    answer = admin("POST", "/faults", **body)

    assert answer.status_code == 422
    assert told in answer.text


def test_an_unknown_fault_is_a_404(admin):
    """What is not there cannot be taken away."""
    assert admin("DELETE", "/faults/7").status_code == 404


def test_the_clock_is_moved(emu, admin, api):
    """A run that takes an hour is over at once."""
    emu.script_job(emu.job_id, seconds=3600)
    run_id = api.trigger()
    before = admin("GET", "/clock").json()["now"]
    after = admin("POST", "/clock", advance_seconds=3600).json()["now"]

    assert after - before == pytest.approx(3600)
    assert api.data(f"/runs/{run_id}/")["status"] == 10


def test_the_clock_only_moves_forward(admin):
    """What happened cannot be undone."""
    assert admin("POST", "/clock", advance_seconds=-1).status_code == 422


def test_the_token_is_rotated(admin, emu, api):
    """The old one is refused by the API, the new one accepted, and both administer."""
    old = emu.token
    admin("POST", "/token", token="the-next-one")
    refused = api.get("/").status_code
    api.session.headers["Authorization"] = "Token the-next-one"

    assert (refused, api.get("/").status_code) == (401, 200)
    assert [admin("GET", "/clock", as_token=token).status_code for token in (old, emu.token)] == [200, 200]


def test_the_token_expires(admin, emu, api):
    """When the time has come, not before; the admin endpoints go on."""
    admin("POST", "/token", expires_in_seconds=60)
    seen = [api.get("/").status_code]
    emu.clock.advance(60)
    seen.append(api.get("/").status_code)

    assert (seen, admin("GET", "/clock").status_code) == ([200, 401], 200)


@pytest.mark.parametrize("body", [{}, {"token": "a", "expires_in_seconds": 1}, {"token": " "}])
def test_a_change_of_the_token_that_makes_no_sense_is_refused(admin, body):
    """Either a new token or an expiry."""
    assert admin("POST", "/token", **body).status_code == 422


def test_a_job_is_scripted(admin, api):
    """The next run pretends as told."""
    answer = admin("PUT", "/jobs/1000/script", outcome="error", message="As told")
    run = api.data(f"/runs/{api.trigger()}/")

    assert (answer.status_code, run["status"], run["status_message"]) == (204, 20, "As told")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/jobs/1000/script", '{"seconds": 1e400}'),
        ("PUT", "/jobs/1000/script", '{"starting_seconds": NaN}'),
        ("POST", "/clock", '{"advance_seconds": NaN}'),
        ("POST", "/clock", '{"advance_seconds": 1e400}'),
        ("POST", "/token", '{"expires_in_seconds": 1e400}'),
        ("POST", "/faults", '{"kind": "slow", "seconds": 1e400}'),
    ],
)
def test_endless_times_are_refused(emu, api, method, path, body):
    """What is no moment in time is a 422, and everything goes on."""
    headers = {"Authorization": f"Token {emu.token}", "Content-Type": "application/json"}
    answer = requests.request(method, f"{emu.url}/emulator{path}", headers=headers, data=body, timeout=5)

    assert answer.status_code == 422
    assert api.trigger()


def test_an_unknown_job_cannot_be_scripted(admin):
    """A mistyped id is told."""
    assert admin("PUT", "/jobs/9/script", seconds=1).status_code == 404


def test_requests_and_connections_are_counted(admin, api):
    """By endpoint, so that a benchmark can tell who asked how much."""
    for _ in range(2):
        api.get("/runs/")
    api.get("/nothing/")
    told = admin("GET", "/statistics").json()

    assert told["by_endpoint"] == {"list_runs": 2, "other": 2}
    assert (told["requests"], told["connections"]) == (4, 2)
