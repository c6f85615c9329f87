"""What survives the end of the emulator."""

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
