"""Requests that no sane client sends: each gets an answer, and none of them is a 500."""

import http.client
from urllib.parse import quote

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

ACCOUNT = "/api/v2/accounts/1"
MANY_DIGITS = "9" * 5000


@pytest.fixture(scope="module")
def served():
    """An emulator with a run that left files with odd names."""
    with emulator(clock="virtual", lag=0) as running:
        running.script_job(running.job_id, artifacts={"a?b": "question", "a#b": "hash", "ü/%41": "escaped"})
        running.trigger()
        yield running


@pytest.fixture(scope="module")
def send(served):
    """Send a request with its path exactly as given; return the status, the headers and the body."""

    def sent(method, path, body=None):
        connection = http.client.HTTPConnection(served.url.partition("//")[2], timeout=30)
        connection.request(method, path, body, {"Authorization": f"Token {served.token}"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    return sent


@pytest.fixture(scope="module")
def run_path(served):
    """The path of the run."""
    return f"{ACCOUNT}/runs/{served.runs()[0]['id']}"


@pytest.mark.parametrize(("name", "content"), [("a?b", b"question"), ("a#b", b"hash"), ("ü/%41", b"escaped")])
@pytest.mark.parametrize("whose", ["run", "job"])
def test_an_artifact_with_an_odd_name_is_found(send, run_path, whose, name, content):
    """What is quoted belongs to the path, wherever it would mean something else unquoted."""
    of = run_path if whose == "run" else f"{ACCOUNT}/jobs/1000"

    assert send("GET", f"{of}/artifacts/{quote(name)}")[::2] == (200, content)


def test_an_artifact_of_a_job_is_its_newest_runs(emu, api):
    """The newest run that left files answers for its job, and a later one without files does not hide it."""
    for text in ("old", "new"):
        emu.script_job(emu.job_id, artifacts={"a.txt": text})
        emu.trigger()
        api.data("/runs/")
    emu.script_job(emu.job_id)
    emu.trigger()

    assert api.get(f"/jobs/{emu.job_id}/artifacts/a.txt").text == "new"


@pytest.mark.parametrize("path", ["a.txt", "..%2F..%2Femulator.sqlite"])
def test_a_job_without_artifacts_is_a_404(api, path):
    """Nothing can be fetched for a job that left no files."""
    assert api.get(f"/jobs/1000/artifacts/{path}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{ACCOUNT}/runs/{MANY_DIGITS}/",
        f"{ACCOUNT}/steps/{2**63 * 1000 + 1}/",
        f"/deploy/1/projects/1/runs/{MANY_DIGITS}/",
        f"{ACCOUNT}/runs/-1/",
        f"{ACCOUNT}/runs/%D9%A3/",
    ],
)
def test_a_number_that_is_no_id_is_a_404(send, path):
    """Ids are positive and of 64 bits; Python's own limits do not show."""
    assert send("GET", path)[0] == 404


@pytest.mark.parametrize("name", ["%00", "%FF", "%0D%0AX-Evil:%201", "%E2%82%AC", "a%3Fb%23c"])
def test_a_missing_slash_is_answered_for_any_path(send, name):
    """The address with the slash is quoted: it can neither break nor forge a header."""
    status, headers, _ = send("GET", f"{ACCOUNT}/runs/{name}")

    assert (status, headers.get("X-Evil")) == (308, None)
    assert headers["Location"].replace("%EF%BF%BD", "%FF") == f"{ACCOUNT}/runs/{quote_again(name)}/"


def quote_again(name):
    return name.replace(":", "%3A")


@pytest.mark.parametrize(
    "query",
    [
        "limit=1_0",
        "limit=%201",
        "limit=5.0",
        "limit=%D9%A3",
        "limit=",
        "pk__in=%5B1.5%5D",
        "pk__in=%5Btrue%5D",
        "pk__in=%5BNaN%5D",
        f"offset={MANY_DIGITS}",
        f"pk__in=%5B{MANY_DIGITS}%5D",
        "has_docs_generated=1",
        "dbt_version__in=%5B%22%5Cud800%22%5D",
        "created_at__range=%5B%222023-02-30%22,%222023-03-01%22%5D",
        "created_at__range=%5Bnull,null%5D",
        "status__in=" + "%5B" * 5000,
        "%FF=1",
        "=1",
    ],
)
def test_a_value_that_only_python_would_take_is_a_400(send, query):
    """Numbers, booleans, times and arrays are written in one way."""
    assert send("GET", f"{ACCOUNT}/runs/?{query}")[0] == 400


def test_times_at_the_ends_of_the_calendar_are_understood(send):
    """A range may reach from the first year to the last, in any time zone."""
    ends = '["0001-01-01T00:00:00+23:59","9999-12-31T23:59:59-23:59"]'

    assert send("GET", f"{ACCOUNT}/runs/?created_at__range={quote(ends)}")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"cause": "\\ud800"}',
        b'{"cause": "x", "steps_override": ["dbt build \\ud800"]}',
        b'{"\\ud800": 1}',
        b'{"cause": "x", "threads_override": 4294967296}',
        b'{"cause": "x", "azure_pull_request_id": 9223372036854775808}',
        b'{"cause": "x", "git_sha": ""}',
        b'{"cause": NaN}',
        b"\x00",
        b"null",
        b"cause=x",
    ],
)
def test_a_body_that_cannot_be_kept_is_a_400(send, body):
    """Half characters, numbers beyond the API's and empty texts do not start a run."""
    assert send("POST", f"{ACCOUNT}/jobs/1000/run/", body)[0] == 400


@pytest.mark.parametrize("depth", range(100, 1100, 50))
def test_a_body_of_any_depth_is_a_400(send, depth):
    """What can be read but not be told again is refused as well."""
    assert send("POST", f"{ACCOUNT}/jobs/1000/run/", b"[" * depth + b"]" * depth)[0] == 400


@pytest.mark.parametrize("action", ["jobs/1000/rerun", "runs/1/cancel", "runs/1/retry"])
@pytest.mark.parametrize("body", [b'{"cause": "x"}', b"null", b"[]", b"x"])
def test_a_body_where_none_belongs_is_a_400(send, action, body):
    """What takes no fields refuses them."""
    assert send("POST", f"{ACCOUNT}/{action}/", body)[0] == 400


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_an_empty_body_is_none(send, body):
    """Clients that always send a JSON object are understood."""
    assert send("POST", f"{ACCOUNT}/jobs/1000/rerun/", body)[0] == 200


def test_a_405_tells_every_method_of_the_path(send, run_path):
    """`Allow` names what the path has, over all of its routes."""
    status, headers, _ = send("DELETE", f"{run_path}/retry/")

    assert (status, headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("flag", ["is_system", "is_fusion_ready", "triggers_schedule"])
def test_jobs_are_filtered_by_what_they_do_not_show(api, flag):
    """No job here is of the system, ready for Fusion or scheduled."""
    assert api.data("/jobs/", **{flag: "true"}) == []
    assert len(api.data("/jobs/", **{flag: "false"})) == 1


def test_a_job_shows_its_newest_runs_when_asked(emu, api):
    """The newest run and the newest that has ended are related objects of a job."""
    ended = api.trigger()
    api.data(f"/runs/{ended}/")
    emu.script_job(emu.job_id, seconds=60)
    newest = api.trigger()

    job = api.data("/jobs/1000/", include_related="most_recent_run,most_recent_completed_run")

    assert (job["most_recent_run"]["id"], job["most_recent_completed_run"]["id"]) == (newest, ended)


def test_filters_are_repeated_as_they_came(api):
    """A range of times is told as times."""
    range_ = '["2023-09-01 01:41:25+00:00", "2030-01-01"]'
    filters = api.get("/runs/", created_at__range=range_).json()["extra"]["filters"]

    assert filters["created_at__range"] == ["2023-09-01 01:41:25+00:00", "2030-01-01"]


def test_the_branch_is_told_once_it_is_checked_out(emu, api):
    """A run that waits has no branch yet, its trigger has."""
    emu.script_job(emu.job_id, seconds=60, starting_seconds=5)
    run = api.post("/jobs/1000/run/", cause="x", git_branch="main").json()["data"]
    emu.clock.advance(6)

    assert (run["git_branch"], run["trigger"]["git_branch"]) == (None, "main")
    assert api.data(f"/runs/{run['id']}/")["git_branch"] == "main"
