"""What survives the end of the emulator."""

import sqlite3

import yaml

from airflow_provider_dbtcloud_dlt.emulator.clock import VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


def test_runs_are_there_after_a_restart(tmp_path):
    """The state folder is all there is to keep."""
    with emulator(state_dir=tmp_path) as emu:
        run_id = emu.trigger(cause="Remember me")

    with emulator(state_dir=tmp_path) as emu:
        (run,) = emu.runs()
    assert (run["id"], run["trigger"]["cause"]) == (run_id, "Remember me")


def test_a_scripted_run_goes_on_while_nobody_serves(tmp_path):
    """An outage of dbt Cloud's API does not stop its runs."""
    clock = VirtualClock()
    with emulator(state_dir=tmp_path, clock=clock) as emu:
        emu.script_job(emu.job_id, seconds=60)
        emu.trigger()
    clock.advance(61)

    with emulator(state_dir=tmp_path, clock=clock) as emu:
        assert [run["status"] for run in emu.runs()] == [10]


def test_a_clock_that_was_moved_stays_so(tmp_path):
    """What was told as past does not lie in the future after a restart."""
    with emulator(state_dir=tmp_path) as emu:
        emu.clock.advance(86_400)
        run_id = emu.trigger()

    with emulator(state_dir=tmp_path) as emu:
        assert emu.clock.now() >= emu.engine.run(run_id).finished_at


def test_ids_are_never_given_twice(tmp_path):
    """Numbers go on after a restart."""
    ids = []
    for _ in range(2):
        with emulator(state_dir=tmp_path) as emu:
            ids.append(emu.trigger())

    assert ids[0] < ids[1]


def test_runs_of_a_job_that_was_removed_remain(tmp_path):
    """A queued run whose job is gone ends as an error; everything stays readable."""
    config = {
        "account": {"token": "t"},
        "projects": [{"name": "P"}],
        "environments": [{"name": "E"}],
        "jobs": [{"id": 1, "name": "gone", "steps": ["dbt run"], "script": {"seconds": 9}}],
    }
    with emulator(config, state_dir=tmp_path, clock="virtual") as emu:
        emu.trigger()

    with emulator(state_dir=tmp_path) as emu:
        (run,) = emu.runs()
    assert (run["status"], run["status_message"]) == (20, "The job of this run is no longer configured.")


def test_a_queued_run_whose_project_lost_its_folder_ends_as_an_error(tiny_project):
    """There is no dbt to run any more: the run says so, and the other runs go on."""
    served = yaml.safe_load((tiny_project / "emulator.yaml").read_text())
    served["projects"][0]["dir"] = str(tiny_project / "dbt")
    state = tiny_project / "state"
    # With one slot taken by a scripted run, the one with dbt is still queued when the emulator stops.
    served["account"]["run_slots"] = 1
    with emulator(served, state_dir=state, clock="virtual") as emu:
        emu.script_job(1001, seconds=9, concurrent=False)
        emu.trigger(1001)
        queued = emu.trigger(1000)

    del served["projects"][0]["dir"]
    for job in served["jobs"]:
        job["script"] = {"seconds": 1}
    clock = VirtualClock()
    with emulator(served, state_dir=state, clock=clock) as emu:
        clock.advance(10)
        emu.trigger(1001)
        clock.advance(10)
        by_id = {run["id"]: run for run in emu.runs()}
    assert by_id[queued]["status"] == 20
    assert "its project is configured without `dir`" in by_id[queued]["status_message"]
    assert [run["status"] for run in by_id.values()] == [10, 20, 10]


def test_the_state_of_an_earlier_release_is_read(tmp_path):
    """A database that lacks what has come since is brought up to date."""
    with emulator(state_dir=tmp_path) as emu:
        run_id = emu.trigger(cause="Old")
    with sqlite3.connect(tmp_path / "emulator.sqlite") as database:
        for column in ("git_branch", "git_sha"):
            database.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    database.close()

    with emulator(state_dir=tmp_path) as emu:
        old, new = emu.engine.run(run_id), emu.engine.run(emu.trigger(git_branch="main"))
    assert (old.git_branch, new.git_branch) == (None, "main")
