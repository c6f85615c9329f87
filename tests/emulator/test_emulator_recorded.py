"""The emulator against a recorded answer, and what holds whether the vendor's spec is here or not."""

import json
import re
from pathlib import Path

import cloud_spec
import pytest

from airflow_provider_dbtcloud_dlt.emulator.api import catalog, runs

RECORDED = Path(__file__).parents[1] / "client" / "payloads" / "trigger-job-run.json"


@pytest.fixture(scope="module")
def recorded():
    """What the API answered when a run was triggered."""
    return json.loads(RECORDED.read_text())


@pytest.fixture
def answer(api):
    """What the emulator answers."""
    override = {"git_branch": "main", "timeout_seconds_override": 7200}
    return api.post("/jobs/1000/run/", cause="Triggered by Kestra.", **override).json()


def shape(value, path="$"):
    """Yield where in an answer which type is, for times their form; in the order of the keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from shape(inner, f"{path}.{key}")
    elif isinstance(value, str):
        # Microseconds are left out where there are none.
        form = re.sub(r"\d", "0", re.sub(r"\.\d+", "", value))
        yield path, form if form.startswith("0000-00-00") else "text"
    else:
        yield path, type(value).__name__


def test_a_triggered_run_has_the_shape_of_the_recorded_one(answer, recorded):
    """Same keys in the same order, same types, same forms of times, null in the same places."""
    # Whether a job defers to an environment is a setting, which the emulator's jobs do not have.
    recorded["data"]["job"]["deferring_environment_id"] = None

    assert list(shape(answer)) == list(shape(recorded))


def test_no_endpoint_has_vanished():
    """What the emulator serves is exactly what is checked against the spec."""

    def plain(path):
        return re.sub(r"{[^}]*}", "{}", path)

    served = {
        f"{method} {plain(route.path)}"
        for route in [*catalog.router.routes, *runs.router.routes]
        for method in route.methods
    }

    assert served == {plain(name) for name in cloud_spec.SERVED}


def test_a_missing_spec_is_no_failure_by_itself(monkeypatch, tmp_path):
    """Where the vendor's file is not at hand, its tests can skip."""
    monkeypatch.setenv("DBT_CLOUD_SPEC", str(tmp_path / "absent.yaml"))
    monkeypatch.delenv("EXPECT_SPEC", raising=False)

    assert cloud_spec.find() is None


def test_a_missing_spec_is_a_failure_where_it_is_expected(monkeypatch, tmp_path):
    """`EXPECT_SPEC` keeps the checks from being skipped unnoticed."""
    monkeypatch.setenv("DBT_CLOUD_SPEC", str(tmp_path / "absent.yaml"))
    monkeypatch.setenv("EXPECT_SPEC", "1")

    with pytest.raises(RuntimeError, match=r"absent\.yaml"):
        cloud_spec.find()
