"""The operator under test, quick in everything that it waits for; without a look for dbt's results, which the
scripted runs do not leave.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetTaskStates,
    InactiveAssetsResult,
    TaskStatesResult,
    ValidateInletsAndOutlets,
    XComResult,
)
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator


@pytest.fixture
def make() -> Callable[..., DbtCloudRunJobOperator]:
    """Make an operator that runs the emulator's job and looks every few hundredths of a second."""

    def operator(**arguments: Any) -> DbtCloudRunJobOperator:
        names_job = {"job_id", "job_name"} & set(arguments)
        job = {} if names_job else {"job_id": 1000}
        return DbtCloudRunJobOperator(
            **{"task_id": "transform", "check_interval": 0.05, "log_results": False, **job, **arguments},
        )

    return operator


@pytest.fixture
def airflow_says(mocker: MockerFixture) -> Callable[..., Any]:
    """Let Airflow tell the task's state, whether a later try has begun, and what the task has shown."""
    supervisor = mocker.patch("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", create=True)

    def say(
        state: str | None,
        key: str = "transform",
        *,
        later_try: bool = False,
        later_try_after: int | None = None,
        **xcoms: Any,
    ) -> Any:
        """`later_try_after`: how often the try is still the present one when that is asked."""
        asked = itertools.count(1)
        last = 0 if later_try else later_try_after

        def answer(message: Any) -> Any:
            if isinstance(message, GetTaskStates):
                return TaskStatesResult(task_states={"manual__1": {key: state}})
            if isinstance(message, ValidateInletsAndOutlets):
                if last is not None and next(asked) > last:
                    gone = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404})
                    raise AirflowRuntimeError(gone)
                return InactiveAssetsResult(inactive_assets=[])
            return XComResult(key=message.key, value=xcoms.get(message.key))

        supervisor.send.side_effect = answer
        return supervisor.send

    return say
