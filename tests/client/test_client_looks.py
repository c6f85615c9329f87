"""Lists of runs as waits read them: the same as records say, for less."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, MalformedAnswerError, Run
from airflow_provider_dbtcloud_dlt.client.looks import Look, read_looks

RUNS = "https://dbt.test/api/v2/accounts/7/runs/"
SEEN = ("id", "status", "job_definition_id", "href", "status_message", "created_at", "started_at")
RECORDED = json.loads((Path(__file__).parent / "payloads" / "trigger-job-run.json").read_text())["data"]


def seen(run: Any) -> dict[str, Any]:
    return {name: getattr(run, name) for name in SEEN}


def listed(*runs: dict[str, Any]) -> bytes:
    return json.dumps({"status": {"code": 200}, "data": runs}).encode()


def test_recorded_run_is_read_alike() -> None:
    """What dbt Cloud has answered, as a look and as a record."""
    (look,) = read_looks(listed(RECORDED)) or []
    assert isinstance(look, Look)
    assert seen(look) == seen(Run.from_api(RECORDED))


times = (
    st.none() | st.datetimes().map(str) | st.datetimes().map(lambda one: f"{one.isoformat()}Z") | st.text()
)


@given(
    st.fixed_dictionaries(
        {"id": st.integers(0, 2**63)},
        optional={
            "status": st.integers(0, 60),
            "job_definition_id": st.none() | st.integers(0, 2**63),
            "href": st.none() | st.text(),
            "status_message": st.none() | st.text(),
            "created_at": times,
            "started_at": times,
            "run_steps": st.lists(st.dictionaries(st.text(), st.integers() | st.none())),
        },
    )
)
def test_any_run_is_read_alike(item: dict[str, Any]) -> None:
    """Whatever its times and texts are, and whatever else the answer has."""
    looks = read_looks(listed(item))
    assert looks is not None
    assert seen(looks[0]) == seen(Run.from_api(item))


def test_run_that_has_ended_is_a_record() -> None:
    """What is told at its end takes one."""
    (run,) = read_looks(listed({"id": 5, "status": 10, "duration": "01:00:05"})) or []
    assert isinstance(run, Run)
    assert str(run.duration) == "1:00:05"


def test_garbage_collector_does_not_follow_looks() -> None:
    """Else it would walk all of Airflow's objects again and again, for nothing."""
    (look,) = (
        read_looks(listed({"id": 5, "status": 3, "href": "https://…", "started_at": "2026-11-25"})) or []
    )
    assert isinstance(look, Look)
    assert not gc.is_tracked(look)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data": null}', b'{"data": [{"status": 3}]}'])
def test_odd_answers_are_left_to_patience(body: bytes) -> None:
    """They are no lists of runs, or hardly."""
    assert read_looks(body) is None


@pytest.fixture
def server():
    """Answers what is added, and nothing else."""
    with responses.RequestsMock() as mock:
        yield mock


def test_odd_list_is_read_patiently(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """By the one request."""
    server.get(RUNS, json={"data": [{"id": "5", "status": "3"}]})
    assert [run.id for run in client.look_at_runs(pk__in=[5])] == [5]
    assert len(server.calls) == 1


def test_page_instead_of_a_list_is_told(client: DBTCloudClientV2, server: responses.RequestsMock) -> None:
    """As everywhere."""
    server.get(RUNS, body="<html>Sign in</html>", content_type="text/html")
    with pytest.raises(MalformedAnswerError, match="HTML page"):
        client.look_at_runs(pk__in=[5])
