"""Artifacts that come later than the run's end."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import responses

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, NotFoundError
from airflow_provider_dbtcloud_dlt.client.artifacts import RunArtifacts, when_there
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

LOG = logging.getLogger("task")


@pytest.fixture
def late() -> Iterator[Emulator]:
    """A run leaves a manifest, which is there five seconds after the run's end."""
    with emulator(clock="virtual", lag=5) as running:
        running.script_job(running.job_id, artifacts={"manifest.json": "{}"})
        yield running


@pytest.fixture
def cloud(late: Emulator) -> DBTCloudClientV2:
    """A client of it."""
    return DBTCloudClientV2(late.token, late.account_id, f"{late.url}/api")


def read(cloud: DBTCloudClientV2, late: Emulator, run_id: int, path: str = "manifest.json") -> bytes:
    """Read an artifact; waiting moves the emulator's clock."""
    return when_there(
        cloud, run_id, path, lambda: cloud.get_artifact(run_id, path), LOG, sleep=late.clock.advance
    )


def test_artifact_of_a_run_that_has_just_ended_is_waited_for(late: Emulator, cloud: DBTCloudClientV2) -> None:
    """A 404 right after the end means: not yet."""
    assert read(cloud, late, late.trigger()) == b"{}"


def test_artifact_that_is_not_among_those_that_came_is_not_waited_for(
    late: Emulator, cloud: DBTCloudClientV2
) -> None:
    """Artifacts come all at once."""
    run_id = late.trigger()
    late.clock.advance(5)
    now = late.clock.now()
    with pytest.raises(NotFoundError):
        read(cloud, late, run_id, "catalog.json")
    assert late.clock.now() == now


def test_artifact_of_a_run_that_goes_on_is_not_waited_for(late: Emulator, cloud: DBTCloudClientV2) -> None:
    """Nobody knows when it will end."""
    late.script_job(late.job_id, seconds=60)
    now = late.clock.now()
    with pytest.raises(NotFoundError):
        read(cloud, late, late.trigger())
    assert late.clock.now() == now


def test_run_without_artifacts_is_given_up(late: Emulator, cloud: DBTCloudClientV2) -> None:
    """After a quarter of a minute."""
    late.script_job(late.job_id)
    now = late.clock.now()
    with pytest.raises(NotFoundError):
        read(cloud, late, late.trigger())
    assert late.clock.now() - now == 15_000_000


def test_artifact_that_is_there_costs_one_request(late: Emulator, cloud: DBTCloudClientV2) -> None:
    """Nothing is asked about the run."""
    run_id = late.trigger()
    late.clock.advance(5)
    late.requests.clear()
    read(cloud, late, run_id)
    assert len(late.requests) == 1


def test_artifact_that_comes_while_it_is_looked_for_is_read(late: Emulator, cloud: DBTCloudClientV2) -> None:
    """A list that has it by now means: read again."""
    run_id = late.trigger()

    def read_as_time_goes_by() -> bytes:
        try:
            return cloud.get_artifact(run_id, "manifest.json")
        finally:
            late.clock.advance(5)

    found = when_there(cloud, run_id, "manifest.json", read_as_time_goes_by, LOG, sleep=late.clock.advance)
    assert found == b"{}"


# --- this machine's clock is wrong --------------------------------------------------------------------------

RUN = "https://dbt.test/api/v2/accounts/7/runs/5/"


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    """Plays dbt Cloud: answers differ from the emulator's in their date."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def play(server: responses.RequestsMock, *, here_ahead: float, ended_ago: float) -> None:
    """Play a run without artifacts, with a clock that this machine's is ahead of by so many seconds."""
    now = datetime.now(UTC) - timedelta(seconds=here_ahead)
    date = {"Date": format_datetime(now, usegmt=True)}
    run = {"id": 5, "status": 10, "finished_at": (now - timedelta(seconds=ended_ago)).isoformat()}
    server.get(RUN, json={"data": run}, headers=date)
    server.get(f"{RUN}artifacts/", json={"data": None}, headers=date)
    server.get(f"{RUN}artifacts/manifest.json", status=404, headers=date)


def look_for_one(client: DBTCloudClientV2, time: Any, _: Path) -> None:
    """Look for an artifact by its name."""
    read = lambda: client.get_artifact(5, "manifest.json")  # noqa: E731
    with pytest.raises(NotFoundError):
        when_there(client, 5, "manifest.json", read, LOG, sleep=time.sleep)


def list_all(client: DBTCloudClientV2, time: Any, folder: Path) -> None:
    """List what there is."""
    RunArtifacts.listed(client, client.get_run(5), folder, LOG, time.sleep)


@pytest.mark.parametrize("look", [look_for_one, list_all])
@pytest.mark.parametrize(("here_ahead", "ended_ago", "waits"), [(300, 1, True), (-300, 100, False)])
def test_end_is_reckoned_by_dbt_clouds_clock(
    client: DBTCloudClientV2,
    server: responses.RequestsMock,
    time: Any,
    tmp_path: Path,
    look: Any,
    here_ahead: float,
    ended_ago: float,
    waits: bool,
) -> None:
    """A run that has just ended is waited for, no other, whatever the time is here."""
    play(server, here_ahead=here_ahead, ended_ago=ended_ago)
    look(client, time, tmp_path)
    assert bool(time.slept) is waits
