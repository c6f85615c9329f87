"""Other people's clients of dbt Cloud, as installed from PyPI, against the emulator: call by call."""

import os
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.peers]

PASSED = "passed"


@pytest.mark.parametrize("client", ["airflow_provider", "dagster_client", "dbt_cloud_cli", "dbtc_client", "dlt_helpers", "prefect_client"])
def test_a_client_works(client: str, told: Callable[[str], Any]) -> None:
    """T."""
    result = told(client)
    print(result.log[-6000:])
    assert result.calls == {}, result.missing
