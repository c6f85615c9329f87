"""The operators that list jobs and runs."""

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import (
    DbtCloudListJobRunsOperator,
    DbtCloudListJobsOperator,
)

Execute = Callable[..., Any]


@pytest.fixture
def list_jobs(emu: Emulator, context: Execute) -> Execute:
    """Execute the operator that lists jobs."""
    return lambda **arguments: DbtCloudListJobsOperator(task_id="jobs", **arguments).execute(context())


@pytest.fixture
def list_runs(emu: Emulator, context: Execute) -> Execute:
    """Execute the operator that lists runs."""
    return lambda **arguments: DbtCloudListJobRunsOperator(task_id="runs", **arguments).execute(context())


def test_jobs_ids_are_returned(emu: Emulator, list_jobs: Execute) -> None:
    """The jobs of the account, by their ids."""
    assert list_jobs() == [emu.job_id]


def test_jobs_of_a_project(emu: Emulator, list_jobs: Execute) -> None:
    """The jobs of one project."""
    assert list_jobs(project_id=10, order_by="-id") == [emu.job_id]
    assert list_jobs(project_id=11) == []


def test_jobs_of_the_connections_project(
    emu: Emulator, list_jobs: Execute, connect: Callable[..., None]
) -> None:
    """The connection's project is the default."""
    connect(host=emu.host, login="1", password=emu.token, extra={"project_id": 11})
    assert list_jobs() == []


def test_runs_are_returned_as_json(emu: Emulator, list_runs: Execute) -> None:
    """Runs are the API's objects."""
    run_id = emu.trigger()
    (run,) = list_runs()
    assert (run["id"], run["status_humanized"]) == (run_id, "Success")


def test_runs_of_a_job(emu: Emulator, list_runs: Execute) -> None:
    """Only the job's runs, in the order that was asked for."""
    first, second = emu.trigger(), emu.trigger()
    assert [run["id"] for run in list_runs(job_id=str(emu.job_id), order_by="-id")] == [second, first]
    assert list_runs(job_id=7) == []


def test_latest_run(emu: Emulator, list_runs: Execute) -> None:
    """Only the latest run, in one small request."""
    emu.trigger()
    latest = emu.trigger()
    assert list_runs(latest_only=True)["id"] == latest
    assert "limit=1" in emu.requests[-1][1]


def test_latest_run_of_none(list_runs: Execute) -> None:
    """Where there is no run there is no latest."""
    assert list_runs(latest_only=True) is None


@pytest.mark.parametrize(
    ("status", "count"), [(10, 1), (20, 0), ([10, 20], 1), ("10", 1), (["20"], 0), ("success", 1)]
)
def test_runs_of_a_status(emu: Emulator, list_runs: Execute, status: Any, count: int) -> None:
    """Only runs of one status, or of several."""
    emu.trigger()
    assert len(list_runs(status_filter=status)) == count


def test_related_is_embedded(emu: Emulator, list_runs: Execute) -> None:
    """What is related is there if it is asked for."""
    emu.trigger(cause="why not")
    assert list_runs(include_related=["trigger"])[0]["trigger"]["cause"] == "why not"


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (DbtCloudListJobsOperator, {"project_id": "Analytics"}),
        (DbtCloudListJobRunsOperator, {"job_id": "nightly"}),
    ],
)
def test_id_that_is_no_number(operator: Any, arguments: dict[str, str]) -> None:
    """A name where an id is wanted is refused at parse time."""
    with pytest.raises(InvalidRequestError, match=f"{next(iter(arguments))} must be a positive whole number"):
        operator(task_id="list", **arguments)


def test_status_that_is_none() -> None:
    """It is refused at parse time, with those that there are."""
    with pytest.raises(InvalidRequestError, match=r"status_filter must be of .*, got 'finished'"):
        DbtCloudListJobRunsOperator(task_id="runs", status_filter="finished")
