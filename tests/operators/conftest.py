"""The operator under test, quick in everything that it waits for."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult, XComResult
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@pytest.fixture
def make() -> Callable[..., DbtCloudRunJobOperator]:
    """Make an operator that runs the emulator's job and looks every few hundredths of a second."""

    def operator(**arguments: Any) -> DbtCloudRunJobOperator:
        names_job = {"job_id", "job_name"} & set(arguments)
        job = {} if names_job else {"job_id": 1000}
        return DbtCloudRunJobOperator(
            **{"task_id": "transform", "check_interval": 0.05, **job, **arguments},
        )

    return operator


@pytest.fixture
def airflow_says(mocker: MockerFixture) -> Callable[..., Any]:
    """Let Airflow tell the task's state, and what its latest try has shown in the XComs."""
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)

    def say(state: str | None, key: str = "transform", **xcoms: Any) -> Any:
        def answer(message: Any) -> Any:
            if isinstance(message, GetTaskStates):
                return TaskStatesResult(task_states={"manual__1": {key: state}})
            return XComResult(key=message.key, value=xcoms.get(message.key))

        supervisor.send.side_effect = answer
        return supervisor.send

    return say
