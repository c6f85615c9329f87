"""Tokens: who may see and do what."""

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

CONFIG = {
    "account": {"token": "everything"},
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
}


@pytest.fixture(scope="module")
def emu():
    """Two projects with a job and a run each, and three tokens."""
    with emulator(CONFIG, clock="virtual") as running:
        for job in (1000, 1001):
            running.trigger(job)
        yield running


@pytest.fixture
def client(emu, make_api):
    """A client with one of the tokens."""

    def make(token):
        made = make_api(emu)
        made.session.headers["Authorization"] = f"Token {token}"
        return made

    return make


def test_a_token_that_only_reads_sees_everything(client):
    """Reading is not restricted."""
    assert len(client("looks").data("/runs/")) == 2


@pytest.mark.parametrize(
    "path", ["/jobs/1000/run/", "/jobs/1000/rerun/", "/runs/70403110000001/cancel/", "/runs/5/retry/"]
)
def test_a_token_that_only_reads_changes_nothing(client, path):
    """403, in the envelope."""
    answer = client("looks").post(path, cause="x")

    assert (answer.status_code, answer.json()["status"]["code"]) == (403, 403)


@pytest.mark.parametrize("path", ["/projects/", "/environments/", "/jobs/", "/runs/"])
def test_lists_hold_what_is_in_the_tokens_projects(client, path):
    """What is in another project is not counted either."""
    body = client("p-only").get(path).json()

    assert [len(body["data"]), body["extra"]["pagination"]["total_count"]] == [1, 1]


@pytest.mark.parametrize(
    "path",
    [
        "/projects/11/",
        "/environments/101/",
        "/jobs/1001/",
        "/runs/70403110000002/",
        "/runs/70403110000002/artifacts/",
        "/runs/70403110000002/retry/",
        "/steps/70403110000002001/",
    ],
)
def test_what_is_in_another_project_is_a_404(client, path):
    """No permission looks like: not there."""
    assert client("everything").get(path).status_code in (200, 400)
    assert client("p-only").get(path).status_code == 404


def test_a_job_in_another_project_cannot_be_triggered(client):
    """Nor started by whoever knows its id."""
    assert client("p-only").post("/jobs/1001/run/", cause="x").status_code == 404


def test_a_job_in_ones_own_project_can_be_triggered(client):
    """The restriction is to the project, not to reading."""
    assert client("p-only").post("/jobs/1000/run/", cause="x").status_code == 200
