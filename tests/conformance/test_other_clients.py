"""Other people's clients of dbt Cloud, as installed from PyPI, against the emulator: call by call."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.peers]

# What every client is tried at; a driver says how, where its client has no function for it.
ALL = (
    "trigger",
    "wait for the end",
    "a failed run",
    "list runs, filtered",
    "cancel",
    "list artifacts",
    "one artifact",
    "error: unknown run",
    "error: wrong token",
)
MORE = {
    "airflow_provider": (
        "retry from the failure",
        "list jobs",
        "check the connection",
        "operator",
        "operator, deferrable",
        "operator, deferrable, a failed run",
        "operator, adopts a run under way",
        "operator, job by its names",
        "sensor",
        "sensor, deferrable",
    ),
    "dagster_client": ("list jobs", "logs of the steps", "check the connection"),
    "dbt_cloud_cli": ("list jobs",),
    "dbtc_client": ("retry from the failure", "list jobs"),
    "dlt_helpers": ("trigger and wait",),
    "prefect_client": (),
}
ADDRESS = "passed, with the client's address replaced"
UNLIKE = {
    ("dlt_helpers", "wait for the end"): ADDRESS,
    ("dlt_helpers", "trigger and wait"): ADDRESS,
    ("dlt_helpers", "a failed run"): ADDRESS,
    ("dlt_helpers", "list runs, filtered"): "passed, by `get_endpoint`",
    ("dlt_helpers", "cancel"): "passed, by `post_endpoint`",
    ("dlt_helpers", "list artifacts"): "passed, by `get_endpoint`",
    ("dlt_helpers", "one artifact"): "passed, by `get_endpoint`",
    ("prefect_client", "list runs, filtered"): "passed, by `call_endpoint`",
    ("prefect_client", "cancel"): "passed, by `call_endpoint`",
}


def works(told: Callable[[str], Any], client: str) -> Any:
    """Return what a client's driver told, unless its packages cannot be had here."""
    result = told(client)
    if result.missing and not os.environ.get("EXPECT_PEERS"):
        pytest.skip(f"the client cannot be installed: {result.missing.splitlines()[0]}")
    assert not result.missing, result.missing
    return result


@pytest.mark.parametrize(("client", "call"), [(one, call) for one in MORE for call in (*ALL, *MORE[one])])
def test_a_client_gets_what_it_asks_for(client: str, call: str, told: Callable[[str], Any]) -> None:
    """Each call ends as the table says; what the client printed stands beside a failure."""
    result = works(told, client)

    print(result.log)
    assert result.calls.get(call) == UNLIKE.get((client, call), "passed")


@pytest.mark.parametrize("client", MORE)
def test_the_emulator_saw_the_runs(client: str, told: Callable[[str], Any], cloud: Emulator) -> None:
    """A driver makes the calls of the table and no others, and they reached the emulator."""
    result = works(told, client)

    print(result.log)
    assert sorted(result.calls) == sorted((*ALL, *MORE[client]))
    runs = [one for one in cloud.runs() if one["job"]["project_id"] == list(MORE).index(client) + 1]
    assert {one["status_humanized"] for one in runs} == {"Success", "Error", "Cancelled"}
