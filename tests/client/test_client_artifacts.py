"""Artifacts that come later than the run's end."""

import logging
from collections.abc import Iterator

import pytest

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, NotFoundError
from airflow_provider_dbtcloud_dlt.client.artifacts import when_there
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
