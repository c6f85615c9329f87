"""The error tree: what callers may catch, and that errors survive a process boundary."""

import pickle

import pytest

from airflow_provider_dbtcloud_dlt import client
from airflow_provider_dbtcloud_dlt.client import (
    DbtCloudError,
    InvalidRequestError,
    RateLimitError,
    RejectedRequestError,
    Run,
    RunTimeoutError,
    ServerError,
    UnreachableError,
)

KINDS = [
    kind
    for kind in vars(client).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not DbtCloudError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_dbt_cloud_error(kind: type[Exception]) -> None:
    """One `except` catches them all."""
    assert issubclass(kind, DbtCloudError)


@pytest.mark.parametrize(
    ("kind", "base"), [(InvalidRequestError, ValueError), (RunTimeoutError, TimeoutError)]
)
def test_some_are_pythons_too(kind: type[Exception], base: type[Exception]) -> None:
    """For whoever knows nothing of this client."""
    assert issubclass(kind, base)


@pytest.mark.parametrize(
    "error",
    [
        ServerError("m", status_code=502, user_message="u", retry_after=3.0),
        RateLimitError("m", retry_after=3.0),
        RejectedRequestError("m", status_code=400, field="cause"),
        UnreachableError("m", sent=False, passing=False),
        RunTimeoutError("m", run=Run.from_api({"id": 1, "status": 42})),
    ],
)
def test_errors_survive_pickling(error: DbtCloudError) -> None:
    """With their facts: a task may run in another process."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), "m", vars(error))
