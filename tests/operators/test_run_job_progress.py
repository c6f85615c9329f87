"""What the task's log says of the run's steps while the task waits."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import glances
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.triggers import progress

Make = Callable[..., DbtCloudRunJobOperator]


@pytest.fixture(params=[True, False], ids=["deferred", "on its worker"])
def live(
    request: pytest.FixtureRequest,
    emu: Emulator,
    make: Make,
    context: Callable[..., Any],
    triggerer: Any,
    mocker: MockerFixture,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Let a task wait for two seconds, with glances that come soon; returns what was logged."""
    mocker.patch.object(progress, "FIRST_GLANCE_SECONDS", 0.05)
    mocker.patch.object(glances, "FIRST_GLANCE_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    emu.script_job(emu.job_id, seconds=2)

    def go(**arguments: Any) -> str:
        arguments["check_interval"] = 0.3
        if request.param:
            triggerer.finish(lambda: make(**arguments), context())
        else:
            make(deferrable=False, timeout=60, **arguments).execute(context())
        return caplog.text + capsys.readouterr().out  # a task's own log goes there

    return go


def test_steps_are_told(live: Callable[..., str], emu: Emulator) -> None:
    """By one request, for the next would come a minute later."""
    assert "'Invoke dbt with `dbt build`', is running for 0:00:0" in live()
    assert sum("run_steps" in path for _, path in emu.requests) == 1


def test_log_progress_stops_it(live: Callable[..., str], emu: Emulator) -> None:
    """No line, and no request."""
    assert "is running" not in live(log_progress=False)
    assert sum("run_steps" in path for _, path in emu.requests) == 0
