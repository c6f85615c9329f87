"""Telling of a run's steps while one waits alone: by virtual time."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, RunTimeoutError
from airflow_provider_dbtcloud_dlt.client.glances import Glances
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

log = logging.getLogger(__name__)
LEEWAY = 5.0
SIX_STEPS = [(f"Invoke dbt with `dbt run --select part_{number}`", "success", "done") for number in range(6)]


@pytest.fixture
def glances(emu: Emulator, time: Any) -> Glances:
    """Glances by a client of their own, as the operator's are; both clocks show the same time."""
    time.now = emu.clock.now() / 1e6

    def connect() -> DBTCloudClientV2:
        return DBTCloudClientV2(
            emu.token, emu.account_id, f"{emu.url}/api", retry_budget=0, sleep=time.sleep, clock=time.clock
        )

    return Glances(connect, log, LEEWAY)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was told of runs."""
    caplog.set_level(logging.INFO)
    return lambda: [one.getMessage() for one in caplog.records if one.name == __name__]


def with_steps(emu: Emulator) -> list[str]:
    """The requests for a run with its steps."""
    return [path for _, path in emu.requests if "run_steps" in path]


def test_run_of_an_hour_and_six_steps(
    emu: Emulator, cloud: DBTCloudClientV2, glances: Glances, told: Callable[[], list[str]]
) -> None:
    """Each step is told as it begins and as it ends; that costs a request a minute."""
    emu.script_job(emu.job_id, seconds=3600, steps=SIX_STEPS)
    cloud.wait_for_run(emu.trigger(), glances=glances)
    assert sum("is running" in line for line in told()) == 6
    assert (
        sum("ended as Success" in line and "part_" in line for line in told()) >= 5
    )  # the last: or the task
    assert 50 <= len(with_steps(emu)) <= 60


def test_short_run_costs_nothing_more(emu: Emulator, cloud: DBTCloudClientV2, glances: Glances) -> None:
    """What ends within half a minute is not glanced at."""
    emu.script_job(emu.job_id, seconds=20)
    cloud.wait_for_run(emu.trigger(), poll_interval=5, glances=glances)
    assert with_steps(emu) == []


def test_glances_come_between_looks(emu: Emulator, cloud: DBTCloudClientV2, glances: Glances) -> None:
    """A long interval between two looks does not put them off."""
    emu.script_job(emu.job_id, seconds=600)
    cloud.wait_for_run(emu.trigger(), poll_interval=1000, glances=glances)
    assert len(with_steps(emu)) == 17  # also after the run's end, which nobody has seen yet


def test_glances_leave_the_looks_times_as_they_are(
    emu: Emulator, cloud: DBTCloudClientV2, glances: Glances, time: Any
) -> None:
    """The wait ends when it would have ended."""
    emu.script_job(emu.job_id, seconds=600)
    began = time.now
    cloud.wait_for_run(emu.trigger(), poll_interval=7, glances=glances)
    assert time.now - began == pytest.approx(602)


def test_glance_that_fails_is_no_matter(
    emu: Emulator, cloud: DBTCloudClientV2, glances: Glances, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the API answers there, the wait goes on, and nobody is alarmed."""
    emu.script_job(emu.job_id, seconds=600)
    run_id = emu.trigger()
    emu.fail_next(1000, status=500, path="run_steps")
    caplog.set_level(logging.INFO)
    assert cloud.wait_for_run(run_id, poll_interval=10, glances=glances).is_terminal
    assert len(with_steps(emu)) > 5
    assert caplog.messages == []


def test_no_glance_when_the_time_is_almost_up(
    emu: Emulator, cloud: DBTCloudClientV2, glances: Glances
) -> None:
    """It might outlast the wait."""
    emu.script_job(emu.job_id, seconds=600)
    with pytest.raises(RunTimeoutError):
        cloud.wait_for_run(emu.trigger(), poll_interval=1000, timeout=30 + LEEWAY, glances=glances)
    assert with_steps(emu) == []


def test_estimate_comes_from_what_is_known(
    emu: Emulator, cloud: DBTCloudClientV2, glances: Glances, told: Callable[[], list[str]]
) -> None:
    """Of the history that the wait has asked for anyway: no request is made for it."""
    emu.script_job(emu.job_id, seconds=1000)
    for _ in range(3):
        cloud.wait_for_run(emu.trigger(), poll_interval=10)
    emu.requests.clear()
    cloud.wait_for_run(emu.trigger(), glances=glances)
    assert "; by its job's earlier runs about 0:" in told()[-2] + told()[1]
    assert sum("/runs/?" in path for _, path in emu.requests) == 1
