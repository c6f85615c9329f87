"""Webhooks at the wire: subscriptions, and what a receiver gets."""

import hashlib
import hmac
import json
import logging
import re
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.clock import VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.config import ConfigError
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

ALL = ["job.run.started", "job.run.completed", "job.run.errored"]
START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
CONFIG = {
    "account": {"id": 7, "token": "everything"},
    "tokens": [
        {"name": "Looks", "token": "looks", "read_only": True},
        {"name": "P only", "token": "p-only", "projects": ["P"]},
    ],
    "projects": [{"name": "P"}, {"name": "Q"}],
    "environments": [{"name": "E", "project": "P"}, {"name": "F", "project": "Q"}],
    "jobs": [
        {"name": "a", "environment": "E", "steps": ["dbt run"], "script": {"seconds": 5}},
        {"name": "b", "environment": "F", "steps": ["dbt run"], "script": {"seconds": 5}},
    ],
    "lag": {"artifacts": 2, "logs": 0},
    "webhooks": {"pauses": [0, 0, 0, 0, 0]},
}


class Receiver:
    """Keeps what it is sent, and answers with `statuses`, then with 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.before_answer = lambda: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                receiver.before_answer()
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                for name, value in {"Content-Length": "0", **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self) -> list[dict]:
        return [json.loads(body) for _, body in self.got]

    @property
    def kinds(self) -> list[str]:
        return [event["eventType"].removeprefix("job.run.") for event in self.events]


@pytest.fixture
def receiver():
    """Somebody who listens."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def emu():
    """A job in each of two projects, and time that stands still; retries follow at once."""
    with emulator(CONFIG, clock=VirtualClock(START)) as running:
        yield running


@pytest.fixture
def impatient():
    """The same with little time for receivers, and one retry."""
    with emulator(
        CONFIG | {"webhooks": {"pauses": [0], "timeout": 0.2}}, clock=VirtualClock(START)
    ) as running:
        yield running


class Hooks:
    """The subscriptions' API, below which paths are."""

    def __init__(self, emu, token="everything"):
        self.base = f"{emu.url}/api/v3/accounts/7/webhooks"
        self.headers = {"Authorization": f"Token {token}"}

    def ask(self, method, path, **options):
        return requests.request(
            method, self.base + path, headers=self.headers, timeout=10, allow_redirects=False, **options
        )

    def create(self, url, **fields):
        answer = self.ask("POST", "/subscriptions", json=body(url, **fields))
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def get(self, one):
        return self.ask("GET", f"/subscription/{one['id']}").json()["data"]


def body(url, **fields):
    return {"name": "Tell me", "client_url": url, "event_types": ALL, "active": True, **fields}


@pytest.fixture
def hooks(emu):
    """The account's own token at work."""
    return Hooks(emu)


def run_through(emu, job_id=1000, outcome="success", **script):
    """Let a run begin, end, and its artifacts arrive, and all of it be told."""
    emu.script_job(job_id, seconds=5, outcome=outcome, **script)
    run_id = emu.trigger(job_id, cause="By hand")
    emu.deliver_webhooks()
    for seconds in (5, 2):
        emu.clock.advance(seconds)
        emu.deliver_webhooks()
    return run_id


# --- subscriptions -----------------------------------------------------------------------------------------


def test_a_subscription_is_shown_as_the_api_does(hooks, receiver):
    """Numbers are text; there was no delivery yet."""
    made = hooks.create(receiver.url, job_ids=[1000, "1001"], description="Why")
    id_ = made["id"]

    assert re.fullmatch(r"wsu_\w+", id_)
    assert hooks.get(made) == {
        "id": id_,
        "account_id": "7",
        "account_identifier": "7",
        "name": "Tell me",
        "description": "Why",
        "client_url": receiver.url,
        "event_types": ALL,
        "job_ids": ["1000", "1001"],
        "active": True,
        "created_at": str(START),
        "updated_at": str(START),
        "http_status_code": "0",
    }


def test_the_secret_is_shown_once(hooks, receiver):
    """Only to whoever made the subscription."""
    made = hooks.create(receiver.url)
    changed = hooks.ask("PUT", f"/subscription/{made['id']}", json=body(receiver.url))
    listed = hooks.ask("GET", "/subscriptions")

    assert len(made["hmac_secret"]) >= 32
    assert made["hmac_secret"] not in changed.text + listed.text + json.dumps(hooks.get(made))


def test_a_list_has_pages_of_ten(hooks, receiver):
    """Oldest first, with what the documentation shows beside it."""
    ids = [hooks.create(receiver.url)["id"] for _ in range(11)]
    first = hooks.ask("GET", "/subscriptions").json()
    last = hooks.ask("GET", "/subscriptions", params={"offset": 10, "limit": 5}).json()

    assert [one["id"] for one in first["data"] + last["data"]] == ids
    assert first["extra"] == {
        "filters": {"offset": 0, "limit": 10},
        "pagination": {"count": 10, "total_count": 11},
    }


def test_an_update_replaces_all_but_the_secret(emu, hooks, receiver):
    """What is left out is as if it had been left out at first; the old secret goes on to sign."""
    made = hooks.create(receiver.url, description="Why", job_ids=[1001])
    emu.clock.advance(1)
    answer = hooks.ask(
        "PUT",
        f"/subscription/{made['id']}",
        json={"id": made["id"], "name": "New", "client_url": receiver.url, "event_types": ALL[:1]},
    )
    data = answer.json()["data"]

    assert (data["name"], data["description"], data["job_ids"], data["active"]) == ("New", "", [], False)
    assert (data["created_at"], data["updated_at"]) == (str(START), str(START + 1_000_000))
    hooks.ask("PUT", f"/subscription/{made['id']}", json=body(receiver.url))
    run_through(emu)
    assert signature(made, receiver.got[0][1]) == receiver.got[0][0]["Authorization"]


def test_what_is_shown_can_be_sent_back(hooks, receiver):
    """A job's id may be text, as it was shown."""
    made = hooks.create(receiver.url, job_ids=[1000])
    fields = ("id", "name", "client_url", "event_types", "job_ids", "active", "description")
    answer = hooks.ask("PUT", f"/subscription/{made['id']}", json={name: made[name] for name in fields})

    assert (answer.status_code, answer.json()["data"]["job_ids"]) == (200, ["1000"])


def test_a_deleted_subscription_is_gone(hooks, receiver):
    """Its id is the answer, and then a 404."""
    made = hooks.create(receiver.url)
    path = f"/subscription/{made['id']}"

    assert hooks.ask("DELETE", path).json()["data"] == {"id": made["id"]}
    for method in ("GET", "PUT", "DELETE"):
        sent = body(receiver.url) if method == "PUT" else None
        assert hooks.ask(method, path, json=sent).status_code == 404


def test_a_slash_at_the_end_makes_no_difference(hooks, receiver):
    """The documentation has none, other endpoints want one."""
    made = hooks.create(receiver.url)

    assert hooks.ask("GET", "/subscriptions/").json() == hooks.ask("GET", "/subscriptions").json()
    assert hooks.ask("DELETE", f"/subscription/{made['id']}/").status_code == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": None}, {"name": "None is not valid under any of the given schemas"}),
        ({"event_types": []}, {"event_types": "[] is not valid under any of the given schemas"}),
        ({"event_types": ["job.run.ended"]}, {"event_types": "'job.run.ended' is not valid under"}),
        ({"job_ids": [99]}, {"job_ids": "There is no job 99."}),
        ({"job_ids": [True]}, {"job_ids": "True is not valid under any of the given schemas"}),
        ({"active": "yes"}, {"active": "'yes' is not valid under any of the given schemas"}),
        ({"colour": 1}, "Additional properties are not allowed ('colour' was unexpected)"),
    ],
)
def test_a_bad_field_is_a_400_that_names_it(hooks, change, told):
    """In the words of the other endpoints."""
    answer = hooks.ask("POST", "/subscriptions", json=body("http://localhost/") | change)
    data = answer.json()["data"]

    assert answer.status_code == 400
    if isinstance(told, str):
        assert data == told
    else:
        assert data.keys() == told.keys()
        assert all(data[name].startswith(text) for name, text in told.items())


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b'{"name": "\\ud800"}', b"[" * 100_000, b"\xff"])
def test_what_is_no_subscription_is_a_400(hooks, raw):
    """Whatever it is instead."""
    assert hooks.ask("POST", "/subscriptions", data=raw).status_code == 400


@pytest.mark.parametrize("missing", ["name", "client_url", "event_types"])
def test_a_missing_field_is_a_400(hooks, missing):
    """Three are required."""
    sent = {name: value for name, value in body("http://localhost/").items() if name != missing}

    assert hooks.ask("POST", "/subscriptions", json=sent).json()["data"] == {
        missing: "required key not provided"
    }


def test_an_unknown_query_parameter_is_a_400(hooks):
    """Of the list and of what changes something."""
    assert hooks.ask("GET", "/subscriptions?order_by=id").status_code == 400
    assert hooks.ask("POST", "/subscriptions?x=1", json=body("http://localhost/")).status_code == 400


def test_a_subscription_survives_a_restart(tmp_path, receiver):
    """With its secret, in the order of the list."""
    with emulator(CONFIG, state_dir=tmp_path, clock="virtual") as emu:
        made = [Hooks(emu).create(receiver.url), Hooks(emu).create(receiver.url)]
    with emulator(CONFIG, state_dir=tmp_path, clock="virtual") as emu:
        listed = Hooks(emu).ask("GET", "/subscriptions").json()["data"]
        run_through(emu)

    assert [one["id"] for one in listed] == [one["id"] for one in made]
    for one, (headers, raw) in zip(made, receiver.got[:2], strict=True):
        assert headers["Authorization"] == signature(one, raw)


def test_only_the_owner_can_read_the_secrets(tmp_path, receiver):
    """Neither the database nor the files beside it are for others."""
    with emulator(CONFIG, state_dir=tmp_path) as emu:
        Hooks(emu).create(receiver.url)
        modes = {file.stat().st_mode & 0o077 for file in tmp_path.glob("emulator.sqlite*")}

    assert modes == {0}


# --- tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/subscriptions"),
        ("PUT", "/subscription/{id}"),
        ("DELETE", "/subscription/{id}"),
        ("GET", "/subscription/{id}/test"),
    ],
)
def test_a_token_that_only_reads_changes_and_sends_nothing(emu, hooks, receiver, method, path):
    """403; lists are for it as well."""
    made = hooks.create(receiver.url)
    looks = Hooks(emu, "looks")

    assert looks.ask(method, path.format(**made), json=body(receiver.url)).status_code == 403
    assert [one["id"] for one in looks.ask("GET", "/subscriptions").json()["data"]] == [made["id"]]
    assert receiver.got == []


def test_a_token_sees_subscriptions_to_jobs_of_its_projects_only(emu, hooks, receiver):
    """One that is for all jobs, or for another project's too, does not exist for it."""
    own, *others = [hooks.create(receiver.url, job_ids=ids) for ids in ([1000], [1000, 1001], [])]
    limited = Hooks(emu, "p-only")

    assert [one["id"] for one in limited.ask("GET", "/subscriptions").json()["data"]] == [own["id"]]
    for method in ("GET", "PUT", "DELETE"):
        for one in others:
            sent = body(receiver.url, job_ids=[1000]) if method == "PUT" else None
            assert limited.ask(method, f"/subscription/{one['id']}", json=sent).status_code == 404


@pytest.mark.parametrize(("job_ids", "status"), [([1000], 201), ([1001], 400), ([], 403)])
def test_a_token_subscribes_to_jobs_of_its_projects_only(emu, receiver, job_ids, status):
    """Another job does not exist for it, and all jobs are too many."""
    limited = Hooks(emu, "p-only")

    assert (
        limited.ask("POST", "/subscriptions", json=body(receiver.url, job_ids=job_ids)).status_code == status
    )


# --- what is sent ------------------------------------------------------------------------------------------


def signature(made, raw):
    return hmac.new(made["hmac_secret"].encode(), raw, hashlib.sha256).hexdigest()


def test_the_raw_body_is_signed(emu, hooks, receiver):
    """In hex, without a scheme's name before it."""
    made = hooks.create(receiver.url)
    run_through(emu)

    assert [headers["Authorization"] for headers, _ in receiver.got] == [
        signature(made, raw) for _, raw in receiver.got
    ]
    assert {headers["Content-Type"] for headers, _ in receiver.got} == {"application/json"}


def test_a_start_and_a_success_are_told(emu, hooks, receiver):
    """With the documented fields, ids as text, the end only at the end."""
    made = hooks.create(receiver.url, name="Mine")
    run_id = run_through(emu)
    started, completed = receiver.events
    common = {
        "jobId": "1000",
        "jobName": "a",
        "runId": str(run_id),
        "environmentId": "100",
        "environmentName": "E",
        "dbtVersion": "versionless",
        "projectName": "P",
        "projectId": "10",
        "runStatusMessage": "None",
        "runReason": "By hand",
        "runStartedAt": "2026-01-01T00:00:00Z",
    }

    assert started == {
        "accountId": 7,
        "webhookId": made["id"],
        "eventId": started["eventId"],
        "timestamp": "2026-01-01T00:00:00.000000000Z",
        "eventType": "job.run.started",
        "webhookName": "Mine",
        "data": common | {"runStatus": "Running", "runStatusCode": 3},
    }
    assert completed["timestamp"] == "2026-01-01T00:00:07.000000000Z"
    assert completed["data"] == common | {
        "runStatus": "Success",
        "runStatusCode": 10,
        "runFinishedAt": "2026-01-01T00:00:05Z",
    }
    assert started["eventId"] != completed["eventId"]


def test_a_failure_is_told_twice(emu, hooks, receiver):
    """At once as an error, and as the end of the run when its artifacts are in."""
    hooks.create(receiver.url)
    run_through(emu, outcome="error", message="dbt command failed")
    errored, completed = (event["data"] for event in receiver.events[1:])

    assert receiver.kinds == ["started", "errored", "completed"]
    assert (errored["runStatus"], errored["runStatusCode"]) == ("Errored", 20)
    assert errored["runStatusMessage"] == "dbt command failed"
    assert (errored.pop("runErroredAt"), completed.pop("runFinishedAt")) == ("2026-01-01T00:00:05Z",) * 2
    assert errored == completed


def test_a_cancelled_run_is_completed_and_no_error(emu, hooks, receiver):
    """With one l, as in the release notes."""
    hooks.create(receiver.url)
    run_id = emu.trigger(1000)
    emu.engine.cancel(run_id)
    emu.clock.advance(2)
    emu.deliver_webhooks()

    assert receiver.kinds == ["started", "completed"]
    assert receiver.events[1]["data"]["runStatus"] == "Canceled"
    assert receiver.events[1]["data"]["runStatusCode"] == 30


def test_a_run_that_is_cancelled_in_the_queue_never_started(emu, hooks, receiver):
    """There is no time of its start."""
    hooks.create(receiver.url)
    first, second = emu.trigger(1000), emu.trigger(1000)
    emu.engine.cancel(second)
    emu.clock.advance(2)
    emu.deliver_webhooks()

    assert [event["data"]["runId"] for event in receiver.events] == [str(first), str(second)]
    assert "runStartedAt" not in receiver.events[1]["data"]


def test_completed_comes_when_the_artifacts_are_in(emu, hooks, receiver):
    """Whoever is told can fetch them."""
    hooks.create(receiver.url, event_types=["job.run.completed"])
    emu.script_job(1000, artifacts={"manifest.json": "{}"})
    run_id = emu.trigger(1000)
    emu.deliver_webhooks()
    before = list(receiver.got)
    emu.clock.advance(2)
    emu.deliver_webhooks()

    assert (before, receiver.kinds) == ([], ["completed"])
    path = f"{emu.url}/api/v2/accounts/7/runs/{run_id}/artifacts/manifest.json"
    assert requests.get(path, headers={"Authorization": f"Token {emu.token}"}, timeout=5).status_code == 200


def test_time_that_moves_brings_events_without_further_ado(emu, hooks, receiver):
    """Nobody has to ask for anything."""
    hooks.create(receiver.url, event_types=["job.run.completed"])
    emu.trigger(1000)
    emu.clock.advance(7)

    wait_for(lambda: receiver.kinds == ["completed"])


@pytest.mark.slow
def test_a_real_run_is_told_of(tiny_project, receiver):
    """Start, error and end of a run with dbt."""
    with emulator(tiny_project / "emulator.yaml", lag=0) as emu:
        headers = {"Authorization": f"Token {emu.token}"}
        url = f"{emu.url}/api/v3/accounts/1/webhooks/subscriptions"
        assert requests.post(url, json=body(receiver.url), headers=headers, timeout=5).status_code == 201
        emu.trigger(1001)
        wait_for(lambda: len(receiver.got) == 3, 60)

    assert receiver.kinds == ["started", "errored", "completed"]


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- to whom -----------------------------------------------------------------------------------------------


def test_only_the_types_that_were_asked_for_are_told(emu, hooks, receiver):
    """Of a failure the error, and nothing else."""
    hooks.create(receiver.url, event_types=["job.run.errored"])
    run_through(emu, outcome="error")

    assert receiver.kinds == ["errored"]


def test_only_the_jobs_that_were_asked_for_are_told_of(emu, hooks, receiver):
    """An empty list stands for all of them."""
    for job_ids in ([1001], []):
        hooks.create(receiver.url, job_ids=job_ids, event_types=["job.run.started"], name=str(job_ids))
    for job_id in (1000, 1001):
        run_through(emu, job_id)

    told = [(event["webhookName"], event["data"]["jobId"]) for event in receiver.events]
    assert told == [("[]", "1000"), ("[1001]", "1001"), ("[]", "1001")]


def test_an_inactive_subscription_is_told_nothing(emu, hooks, receiver):
    """Neither is one that does not say that it is active."""
    hooks.create(receiver.url, active=False)
    sent = body(receiver.url)
    del sent["active"]
    hooks.ask("POST", "/subscriptions", json=sent)
    run_through(emu)

    assert receiver.got == []


def test_what_becomes_due_after_a_deletion_is_not_sent(emu, hooks, receiver):
    """A subscription counts when an event is due."""
    made = hooks.create(receiver.url)
    emu.script_job(1000)
    emu.trigger(1000)
    emu.deliver_webhooks()
    hooks.ask("DELETE", f"/subscription/{made['id']}")
    emu.clock.advance(2)
    emu.deliver_webhooks()

    assert receiver.kinds == ["started"]


def test_events_arrive_in_the_order_in_which_things_happened(emu, hooks, receiver):
    """Also those of several runs that were noticed at one moment."""
    hooks.create(receiver.url)
    for seconds in (4, 1):
        emu.script_job(1000, seconds=seconds)
        emu.trigger(1000)
    emu.clock.advance(10)
    emu.deliver_webhooks()
    times = [event["timestamp"] for event in receiver.events]

    assert receiver.kinds == ["started", "started", "completed", "completed"]
    assert times == sorted(times)


# --- receivers that fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [[500], [302, 404, 503, 500, 429]])
def test_a_failed_delivery_is_tried_again(emu, hooks, receiver, failures):
    """Up to five times, with the same body; a redirect is a failure as well."""
    made = hooks.create(receiver.url, event_types=["job.run.started"])
    receiver.statuses = list(failures)
    receiver.headers = {"Location": receiver.url}
    run_through(emu)

    assert len(receiver.got) == len(failures) + 1
    assert len({raw for _, raw in receiver.got}) == 1
    assert hooks.get(made)["http_status_code"] == "200"


def test_after_five_retries_it_is_given_up(emu, hooks, receiver, caplog):
    """The log says so, the subscription shows the last status, and the next event is sent all the same."""
    made = hooks.create(receiver.url, event_types=["job.run.started", "job.run.completed"])
    receiver.statuses = [500] * 5 + [503]
    emu.trigger(1000)
    emu.deliver_webhooks()
    shown = hooks.get(made)
    emu.clock.advance(7)
    emu.deliver_webhooks()

    assert (shown["http_status_code"], shown["dispatched_at"]) == ("503", str(START))
    assert receiver.kinds == ["started"] * 6 + ["completed"]
    assert f"Webhook {made['id']}: an event could not be delivered" in caplog.text


def test_pauses_hold_up_nobody_else(receiver):
    """What waits for its next try lets others pass."""
    config = CONFIG | {"webhooks": {"pauses": [3600]}}
    with emulator(config, clock="virtual") as emu:
        made = Hooks(emu).create(receiver.url)
        receiver.statuses = [500]
        emu.script_job(1000)
        emu.trigger(1000)
        emu.clock.advance(2)
        wait_for(lambda: receiver.kinds == ["started", "completed"])
        Hooks(emu).ask("DELETE", f"/subscription/{made['id']}")
        with pytest.raises(TimeoutError, match="still being delivered after 0 seconds"):
            emu.deliver_webhooks(timeout=0)


def test_a_receiver_that_takes_too_long_has_failed(impatient, receiver):
    """It is tried again, and no status comes of it: 0."""
    hooks = Hooks(impatient)
    made = hooks.create(receiver.url, event_types=["job.run.started"])
    released = threading.Event()
    receiver.before_answer = lambda: released.wait(10)
    impatient.trigger(1000)
    impatient.deliver_webhooks()
    released.set()

    assert len(receiver.got) == 2
    assert hooks.get(made)["http_status_code"] == "0"
    assert hooks.get(made)["dispatched_at"] == str(START)


def test_a_receiver_that_hangs_keeps_nobody_waiting(emu, hooks, receiver):
    """Meanwhile the API answers, and runs begin and end."""
    hooks.create(receiver.url, event_types=["job.run.started"])
    released = threading.Event()
    receiver.before_answer = lambda: released.wait(10)
    emu.trigger(1000)
    wait_for(lambda: receiver.got)
    emu.clock.advance(5)
    emu.trigger(1001)

    assert [run["status"] for run in emu.runs()] == [10, 3]
    assert hooks.ask("GET", "/subscriptions").status_code == 200
    released.set()
    emu.deliver_webhooks()


def test_a_receiver_may_ask_before_it_answers(emu, hooks, receiver):
    """Whoever is told of a run can look at it at once."""
    hooks.create(receiver.url, event_types=["job.run.started"])
    answers = []
    receiver.before_answer = lambda: answers.append(emu.runs()[0]["status"])
    emu.trigger(1000)
    emu.deliver_webhooks()

    assert (answers, len(receiver.got)) == ([3], 1)


def test_a_receiver_that_is_not_there_hurts_no_run(emu, hooks, receiver):
    """Nobody listens at that port."""
    made = hooks.create("http://127.0.0.1:9/")
    run_through(emu)

    assert emu.runs()[0]["is_success"]
    assert hooks.get(made)["http_status_code"] == "0"


def test_what_is_not_delivered_at_the_end_is_lost_with_a_word(receiver, caplog):
    """One event waits for its artifacts; closing does not wait."""
    with emulator(CONFIG, clock="virtual") as emu:
        Hooks(emu).create(receiver.url)
        emu.script_job(1000)
        emu.trigger(1000)
        emu.deliver_webhooks()

    assert "The emulator stopped before 1 webhook events were delivered." in caplog.text


def test_without_subscriptions_there_is_no_thread(emu):
    """Ten thousand runs cost what they did."""
    run_through(emu)

    assert not [one for one in threading.enumerate() if one.name == "dbt-cloud-emulator-webhooks"]


def test_the_secret_is_neither_in_a_log_nor_on_a_page(emu, hooks, receiver, caplog):
    """Not even when a delivery fails."""
    caplog.set_level(logging.DEBUG)
    made = hooks.create(receiver.url)
    receiver.statuses = [500] * 6
    run_id = run_through(emu)
    pages = [
        requests.get(emu.url + path, timeout=5).text
        for path in ("/", f"/deploy/7/projects/10/runs/{run_id}/")
    ]

    assert made["hmac_secret"] not in caplog.text + "".join(pages)
    assert made["hmac_secret"] not in repr(emu.engine.webhooks.all())


# --- where they may lead -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost.example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://127.0.0.1@example.com/",
        "http://me:secret@127.0.0.1/",
        "http://2130706433/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1/hook",
        "http://",
        "http://[::1/",
        " ",
    ],
)
def test_other_targets_are_refused(hooks, url):
    """A 400 names the field: only this machine is asked, by http or https."""
    answer = hooks.ask("POST", "/subscriptions", json=body(url))

    assert (answer.status_code, list(answer.json()["data"])) == (400, ["client_url"])


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "https://127.9.9.9/x?y=1", "http://[::1]:1/", "HTTP://LOCALHOST/"]
)
def test_this_machine_is_no_other_target(hooks, url):
    """By all of its names; the address is shown as it was given."""
    assert hooks.create(url)["client_url"] == url


def test_other_hosts_can_be_configured():
    """By name, whatever the letters' case; what is left out of the file again is asked no more."""
    config = CONFIG | {"webhooks": {"hosts": ["Receiver.Example"]}}
    with emulator(config, clock="virtual") as emu:
        Hooks(emu).create("https://receiver.example/hook")
        assert Hooks(emu).ask("POST", "/subscriptions", json=body("http://other/")).status_code == 400


@pytest.mark.parametrize(
    "wrong", [{"pauses": [-1]}, {"timeout": 0}, {"timeout": float("inf")}, {"hosts": "a"}, {"host": ["a"]}]
)
def test_a_mistake_in_the_configuration_is_told(wrong):
    """As everywhere in the file."""
    with pytest.raises(ConfigError, match="webhooks"), emulator(CONFIG | {"webhooks": wrong}):
        pass


def test_a_target_that_is_no_longer_allowed_is_not_asked(tmp_path, receiver):
    """The configuration counts at each delivery."""
    named = receiver.url.replace("127.0.0.1", "receiver.example")
    with emulator(CONFIG | {"webhooks": {"hosts": ["receiver.example"]}}, state_dir=tmp_path) as emu:
        made = Hooks(emu).create(named)
    with emulator(CONFIG, state_dir=tmp_path, clock="virtual") as emu:
        error = Hooks(emu).ask("GET", f"/subscription/{made['id']}/test").json()["data"]["verification_error"]

    assert error.startswith("the host 'receiver.example' is not this machine")


def test_neither_proxies_nor_netrc_come_between(emu, hooks, receiver, monkeypatch, tmp_path):
    """The signature stays what it is, and the request goes where it should."""
    made = hooks.create(receiver.url)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    emu.trigger(1000)
    emu.deliver_webhooks()

    assert receiver.got[0][0]["Authorization"] == signature(made, receiver.got[0][1])


def test_a_certificate_has_to_be_trusted(emu, hooks, monkeypatch):
    """TLS is verified; REQUESTS_CA_BUNDLE names whom to trust."""
    with emulator(tls=True) as other:
        made = hooks.create(other.url.replace("127.0.0.1", "localhost"))
        path = f"/subscription/{made['id']}/test"
        refused = hooks.ask("GET", path).json()["data"]
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.ca_file))
        answered = hooks.ask("GET", path).json()["data"]

    assert refused == {"verification_error": "SSLError", "verification_status_code": "0"}
    assert answered["verification_status_code"] in ("404", "405")


# --- the test of a subscription ----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status"), list(zip(ALL, ["Running", "Success", "Errored"], strict=True)))
def test_a_test_sends_a_signed_event_of_no_run(hooks, receiver, kind, status):
    """Of the first type that was asked for."""
    made = hooks.create(receiver.url, event_types=[kind], job_ids=[1001])
    answer = hooks.ask("GET", f"/subscription/{made['id']}/test")
    (headers, raw), (event,) = receiver.got[0], receiver.events

    assert answer.json()["data"] == {"verification_error": None, "verification_status_code": "200"}
    assert headers["Authorization"] == signature(made, raw)
    assert (event["eventType"], event["data"]["jobName"], event["data"]["runId"]) == (kind, "b", "0")
    assert event["data"]["runStatus"] == status


def test_a_test_is_not_repeated_and_tells_what_went_wrong(impatient, receiver):
    """One request, one answer; it is no delivery."""
    hooks = Hooks(impatient)
    made = hooks.create(receiver.url)
    receiver.statuses = [500]
    told = hooks.ask("GET", f"/subscription/{made['id']}/test").json()["data"]
    released = threading.Event()
    receiver.before_answer = lambda: released.wait(10)
    late = hooks.ask("GET", f"/subscription/{made['id']}/test").json()["data"]
    released.set()

    assert told == {"verification_error": None, "verification_status_code": "500"}
    assert late["verification_error"] == "no answer within 0.2 seconds"
    assert hooks.get(made)["http_status_code"] == "0"


def test_the_database_of_an_earlier_release_has_no_subscriptions(tmp_path, receiver):
    """It gets its table at the start."""
    with emulator(CONFIG, state_dir=tmp_path):
        pass
    with sqlite3.connect(tmp_path / "emulator.sqlite") as database:
        database.execute("DROP TABLE subscriptions")
    database.close()
    with emulator(CONFIG, state_dir=tmp_path) as emu:
        Hooks(emu).create(receiver.url)


def test_faults_hit_webhooks_like_everything_else(emu, hooks, receiver):
    """By the endpoint's name, with and without the slash."""
    fault = emu.inject("status", status=503, endpoint="list_webhooks", times=2)
    statuses = [hooks.ask("GET", path).status_code for path in ("/subscriptions", "/subscriptions/")]

    assert (statuses, emu.hits(fault)) == ([503, 503], 2)
