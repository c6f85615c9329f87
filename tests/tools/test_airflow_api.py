"""Waiting for a real Airflow: when it ends, and what it says then."""

import pytest
import responses
from airflow_api import AirflowAPI, AirflowAPIError

URL = "http://127.0.0.1:8080"


def end_of_airflow() -> None:
    raise RuntimeError("scheduler ended with status 1.")


def test_waiting_returns_what_it_was_for():
    """The first true value."""
    answers = iter([None, "", "there"])
    assert AirflowAPI(URL, "admin", "secret").until(lambda: next(answers), lambda: "", 60, 0) == "there"


def test_waiting_ends_with_airflow():
    """What can't come any more is not waited for."""
    api = AirflowAPI(URL, "admin", "secret", check=end_of_airflow)
    with pytest.raises(RuntimeError, match="scheduler ended"):
        api.until(lambda: False, lambda: "", 60)


@responses.activate
def test_waiting_in_vain_tells_how_things_stand():
    """With the health of Airflow's parts."""
    responses.get(f"{URL}/api/v2/monitor/health", json={"scheduler": {"status": "unhealthy"}})
    with pytest.raises(AirflowAPIError, match=r"No run after 0 s.*'scheduler': 'unhealthy'"):
        AirflowAPI(URL, "admin", "secret").until(lambda: False, lambda: "No run", 0, 0)
