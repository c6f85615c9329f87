"""What comes a little later than a run's end."""

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


@pytest.fixture
def emu():
    """The default: artifacts and logs come two seconds late."""
    with emulator(clock="virtual") as running:
        told = [("dbt seed", "success", "Seeds."), ("dbt build", "error", "Database Error")]
        running.script_job(running.job_id, seconds=60, steps=told, artifacts={"manifest.json": "{}"})
        yield running


@pytest.fixture
def run_id(emu):
    """A run that has just ended."""
    started = emu.trigger()
    emu.clock.advance(60)
    return started


def seen(api, run_id):
    """Return what a client sees of a run's artifacts: the list, one of them, and the flag."""
    listed = api.data(f"/runs/{run_id}/artifacts/")
    code = api.get(f"/runs/{run_id}/artifacts/manifest.json").status_code
    return listed, code, api.data(f"/runs/{run_id}/")["artifacts_saved"]


def test_artifacts_come_after_the_end(emu, api, run_id):
    """First there are none, then all."""
    before = seen(api, run_id)
    emu.clock.advance(2)

    assert before == (None, 404, False)
    assert seen(api, run_id) == (["manifest.json"], 200, True)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(31, ["", ""]), (32, ["Seeds.", ""]), (62, ["Seeds.", "Database Error"])]
)
def test_a_log_comes_after_its_steps_end(emu, api, seconds, expected):
    """Not while the step runs, and once it is there it stays."""
    run_id = emu.trigger()
    emu.clock.advance(seconds)
    steps = api.data(f"/runs/{run_id}/", include_related="run_steps")["run_steps"]

    assert [step["logs"] for step in steps[2:]] == expected
    assert [api.data(f"/steps/{step['id']}/")["logs"] for step in steps[2:]] == expected


def test_without_lag_a_log_can_be_read_as_it_grows(make_api):
    """For those who want to see it at once."""
    with emulator(clock="virtual", lag=0) as emu:
        emu.script_job(emu.job_id, seconds=60, steps=[("dbt build", "success", "So far")])
        run_id = emu.trigger()
        emu.clock.advance(30)
        steps = make_api(emu).data(f"/runs/{run_id}/", include_related="run_steps")["run_steps"]

    assert (steps[2]["status_humanized"], steps[2]["logs"]) == ("Running", "So far")


def test_people_need_not_wait(emu, run_id):
    """The page shows the log at once."""
    import requests

    page = requests.get(f"{emu.url}/deploy/1/projects/10/runs/{run_id}/", timeout=5)

    assert "Database Error" in page.text


def test_the_lag_is_configured():
    """The file's two numbers are kept apart."""
    config = {
        "account": {"token": "t"},
        "projects": [{"name": "P"}],
        "environments": [{"name": "E"}],
        "jobs": [{"name": "J", "steps": ["dbt run"], "script": {"artifacts": {"a.json": "{}"}}}],
        "lag": {"artifacts": 7, "logs": 0},
    }
    with emulator(config, clock="virtual") as emu:
        run = emu.engine.run(emu.trigger())
        there = []
        for _ in range(2):
            there.append(emu.engine.history.artifacts_are_in(run))
            emu.clock.advance(7)
        last = emu.engine.history.steps(run)[-1]

    assert there == [False, True]
    assert emu.engine.history.log_is_in(last)
