"""A job is found by its names, or the error says what there is."""

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, InvalidRequestError, JobLookupError
from airflow_provider_dbtcloud_dlt.client.lookup import NamedJob
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


def _job(number: int, name: str, environment: int) -> dict[str, Any]:
    return {"id": number, "name": name, "environment": environment, "steps": ["dbt build"], "script": {}}


CONFIG = {
    "account": {"id": 1, "token": "t0ken"},
    "projects": [
        {"id": 10, "name": "Finance"},
        {"id": 11, "name": "Sales"},
        {"id": 12, "name": "Sales EU"},
        {"id": 13, "name": "2026"},
    ],
    "environments": [
        {"id": 100, "name": "Production", "project": 10},
        {"id": 101, "name": "Production", "project": 11},
        {"id": 102, "name": "Staging", "project": 11},
        {"id": 103, "name": "Empty", "project": 12},
        {"id": 104, "name": "7", "project": 13},
    ],
    "jobs": [
        _job(1000, "Nightly", 100),
        _job(1001, "Nightly", 101),
        _job(1002, "Nightly", 102),
        _job(1003, "Nightly full", 101),
        _job(1004, "Hourly", 100),
        _job(1005, "11", 104),
        *[_job(2000 + number, f"Report {number:02}", 100) for number in range(25)],
    ],
}


@pytest.fixture(scope="module")
def client() -> Iterator[DBTCloudClientV2]:
    with emulator(CONFIG) as emu, DBTCloudClientV2(emu.token, 1, f"{emu.url}/api") as client:
        yield client


@pytest.mark.parametrize(
    ("names", "job_id"),
    [
        ({"job_name": "Hourly"}, 1004),
        ({"job_name": "Nightly full"}, 1003),
        ({"job_name": "Nightly", "project_name": "Finance"}, 1000),
        ({"job_name": "Nightly", "project_name": "Sales", "environment_name": "Production"}, 1001),
        ({"job_name": "Nightly", "project_name": "Sales", "environment_name": "Staging"}, 1002),
        ({"job_name": "Nightly", "environment_name": "Staging"}, 1002),
        ({"job_name": 11, "project_name": 2026, "environment_name": 7}, 1005),
        ({"job_name": "Nightly", "project_id": 10}, 1000),
        ({"job_name": "Nightly", "environment_id": "102"}, 1002),
        ({"job_name": "Nightly", "environment_name": "Production", "project_id": 11}, 1001),
    ],
)
def test_job_is_found(client: DBTCloudClientV2, names: Any, job_id: int) -> None:
    """A name counts as a whole, be it a number; project and environment may be names or ids, or left out."""
    assert NamedJob(**names).find(client).id == job_id


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            {"job_name": "Nightly"},
            r"^job_name 'Nightly' is ambiguous, 3 jobs bear it: 1000 \(project 10, environment 100\), 1001 .*"
            r"Name the project and the environment as well, or give job_id\.$",
        ),
        (
            {"job_name": "Nightly", "project_name": "Sales"},
            r"^job_name 'Nightly' is ambiguous, 2 jobs bear it: 1001 .*, 1002 ",
        ),
        (
            {"job_name": "Hourly", "environment_name": "Production"},
            r"^environment_name 'Production' is ambiguous, 2 environments bear it: 100 \(project 10\), 101 ",
        ),
        (
            {"job_name": "nightly"},
            r"^job_name 'nightly' was not found\. Did you mean 'Nightly' or 'Nightly full'",
        ),
        ({"job_name": "Nihgtly"}, r"^job_name 'Nihgtly' was not found\. Did you mean 'Nightly'"),
        (
            {"job_name": "Hourly", "project_name": "Finanace"},
            r"^project_name 'Finanace' was not found\. Did you mean 'Finance'\?$",
        ),
        (
            {"job_name": "Hourly", "project_name": "Sales", "environment_name": "Prod"},
            r"^environment_name 'Prod' was not found\. There are: 'Production', 'Staging'\.$",
        ),
        (
            {"job_name": "Nightly", "project_name": "Sales EU"},
            r"^job_name 'Nightly' was not found\. The token sees no job there at all: check the account",
        ),
        (
            {"job_name": "xyz", "project_name": "Sales"},
            r"^job_name 'xyz' was not found\. There are: 'Nightly', 'Nightly full'\.$",
        ),
        (
            {"job_name": "xyz", "project_name": "Finance"},
            r"^job_name 'xyz' was not found\. There are: 'Hourly', 'Nightly', 'Report 00', .* and 7 more\.$",
        ),
    ],
)
def test_job_is_not_found(client: DBTCloudClientV2, names: Any, words: str) -> None:
    """The argument that is wrong, and what there is instead."""
    with pytest.raises(JobLookupError, match=words):
        NamedJob(**names).find(client)


@pytest.mark.parametrize("name", ["job_name", "project_name", "environment_name"])
def test_name_that_became_a_float_is_refused(client: DBTCloudClientV2, name: str) -> None:
    """Airflow may have made 1.1 of "1.10": another job's name."""
    names: dict[str, Any] = {"job_name": "Hourly", name: 1.1}
    with pytest.raises(InvalidRequestError, match=rf"^{name} must be a string, got 1\.1: quote it"):
        NamedJob(**names).find(client)
