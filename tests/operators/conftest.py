"""The operator under test, quick in everything that it waits for."""

from collections.abc import Callable
from typing import Any

import pytest

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
