"""What happens to runs as time goes by: slots, queue, end, cancel."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_dbtcloud_dlt.emulator import config as configuration
from airflow_provider_dbtcloud_dlt.emulator.clock import VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.store import Selection, Status

QUEUED, STARTING, RUNNING, SUCCESS, ERROR, CANCELLED = 1, 2, 3, 10, 20, 30


@pytest.fixture
def status(queued):
    """Ask for the status of a run."""
    return lambda run_id: int(queued.engine.run(run_id).status)


def test_a_run_passes_through_every_state(queued, status):
    """Queued, starting, running, success, each when it is due."""
    run_id = queued.trigger(1000)
    seen = [status(run_id)]
    for seconds in (0.9, 0.2, 9.8, 0.2):
        queued.clock.advance(seconds)
        seen.append(status(run_id))

    assert seen == [STARTING, STARTING, RUNNING, RUNNING, SUCCESS]


def test_times_are_those_at_which_things_were_due(queued):
    """A long silence does not change when a run began and ended."""
    run_id = queued.trigger(1000)
    queued.clock.advance(3600)
    run = queued.engine.run(run_id)

    assert (run.started_at - run.created_at, run.finished_at - run.created_at) == (1_000_000, 11_000_000)


def test_runs_of_one_job_follow_one_another(queued, status):
    """The second run of a job waits for the first and says so."""
    first, second = queued.trigger(1000), queued.trigger(1000)

    assert (status(first), status(second)) == (STARTING, QUEUED)
    assert queued.runs()[1]["blocked_by"] == [first]
    queued.clock.advance(11)
    assert (status(first), status(second)) == (SUCCESS, STARTING)


def test_run_slots_limit_the_account(queued, status):
    """With two slots the third job waits for both."""
    runs = [queued.trigger(job) for job in (1000, 1001, 1002)]

    assert [status(run) for run in runs] == [STARTING, STARTING, QUEUED]
    assert queued.runs()[2]["blocked_by"] == runs[:2]


def test_a_freed_slot_is_taken_at_the_time_it_was_freed(queued):
    """The next run begins when the one before it ended, not when somebody looked."""
    first, second = queued.trigger(1000), queued.trigger(1000)
    queued.clock.advance(3600)

    assert queued.engine.run(second).dequeued_at == queued.engine.run(first).finished_at


@pytest.mark.parametrize("seconds", [0, 0.5, 5])
def test_cancel_ends_a_run_at_every_stage(queued, seconds):
    """Queued, starting or running: cancelled by the user, once and for all."""
    queued.trigger(1000)
    run_id = queued.trigger(1000 if seconds == 0 else 1001)
    queued.clock.advance(seconds)

    queued.engine.cancel(run_id)
    queued.clock.advance(100)
    run = queued.engine.run(run_id)

    assert (run.status, run.status_message) == (Status.CANCELLED, "Cancelled by user.")


def test_cancel_is_idempotent(queued):
    """Cancelling what has ended changes nothing."""
    run_id = queued.trigger(1000)
    queued.clock.advance(11)
    before = queued.engine.run(run_id)

    assert queued.engine.cancel(run_id) == before


def test_a_cancelled_run_frees_its_slot(queued, status):
    """The next in the queue begins."""
    first, second = queued.trigger(1000), queued.trigger(1000)

    queued.engine.cancel(first)

    assert status(second) == STARTING


def test_a_run_beyond_its_timeout_is_cancelled_with_a_message(queued):
    """The run's own time-out ends it as 30, as dbt Cloud does."""
    run_id = queued.trigger(1000, timeout_seconds_override=5)
    queued.clock.advance(60)
    run = queued.engine.run(run_id)

    assert (run.status, run.finished_at - run.started_at) == (Status.CANCELLED, 5_000_000)
    assert "longer than 5 seconds" in run.status_message


def test_steps_follow_the_time(emu):
    """Half way through, the first of two commands is done and the second runs."""
    emu.script_job(emu.job_id, seconds=10)
    run_id = emu.trigger(steps_override=["dbt run", "dbt test"])
    emu.clock.advance(6)
    steps = emu.engine.history.steps(emu.engine.run(run_id))

    assert [(step.name, int(step.status)) for step in steps[2:]] == [
        ("Invoke dbt with `dbt run`", SUCCESS),
        ("Invoke dbt with `dbt test`", RUNNING),
    ]


def test_steps_after_a_failure_are_not_run(emu):
    """The step that fails is an error, what follows it is skipped, and so is the run."""
    emu.script_job(emu.job_id, steps=[("a", "success", ""), ("b", "error", "boom"), ("c", "success", "")])
    run = emu.engine.run(emu.trigger())
    steps = emu.engine.history.steps(run)

    assert run.status is Status.ERROR
    assert [int(step.status) for step in steps[2:]] == [SUCCESS, ERROR, CANCELLED]


def test_generated_docs_are_a_step_and_a_flag(emu):
    """The override adds the step that makes the documentation."""
    run = emu.engine.run(emu.trigger(generate_docs_override=True))

    assert emu.engine.history.steps(run)[-1].name == "Invoke dbt with `dbt docs generate`"
    assert run.has_docs_generated


def test_a_long_queue_goes_on(queued):
    """Thousands of runs of one job wait: each says for which one, and they end one after the other."""
    runs = [queued.engine.trigger(1000, {"cause": "many"}).id for _ in range(2000)]
    queued.engine.settle()  # the first one begins
    queued.clock.advance(11 * 1000)
    page, _ = queued.engine.runs(Selection(order="id DESC", limit=100))
    blockers = {tuple(queued.engine.blocked_by(run)) for run in page}

    assert blockers == {(runs[1000],)}


def test_whoever_is_told_of_ended_runs_cannot_hold_them_up(tmp_path):
    """A callback that fails, as when nobody reads the terminal any more, changes nothing."""

    def fail(run, history):
        raise SystemExit(1)

    engine = Engine(configuration.parse(configuration.example(), Path.cwd()), tmp_path, VirtualClock(), fail)
    try:
        runs = [engine.run(engine.trigger(1000, {"cause": "x"}).id) for _ in range(2)]
    finally:
        engine.close()
    assert [run.status for run in runs] == [Status.SUCCESS, Status.SUCCESS]


def test_nothing_begins_while_it_closes(queued):
    """A run that is cancelled then does not make room for the next."""
    first, second = queued.trigger(1000), queued.trigger(1000)
    queued.engine._closing.set()
    queued.engine.cancel(first)

    assert queued.engine.run(second).status is Status.QUEUED


class Queue(RuleBasedStateMachine):
    """Whatever is triggered, cancelled and waited for: slots, order and times stay right."""

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots):
        script = {"seconds": 10, "starting_seconds": 1}
        content = {
            "account": {"token": "t", "run_slots": slots},
            "projects": [{"name": "P"}],
            "environments": [{"name": "E"}],
            "jobs": [{"name": name, "steps": ["dbt build"], "script": script} for name in "abc"],
        }
        self.slots = slots
        self.folder = tempfile.TemporaryDirectory()
        self.config = configuration.parse(content, Path.cwd())
        self.clock = VirtualClock()
        self.engine = Engine(self.config, Path(self.folder.name), self.clock)
        self.ended = {}

    def teardown(self):
        if hasattr(self, "engine"):
            self.engine.close()
            self.folder.cleanup()

    @rule(job=st.sampled_from([1000, 1001, 1002]))
    def trigger(self, job):
        self.engine.trigger(job, {"cause": "x"})

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(data=st.data())
    def cancel(self, data):
        runs, _ = self.engine.runs(Selection())
        if runs:
            self.engine.cancel(data.draw(st.sampled_from([run.id for run in runs])))

    @rule()
    def restart(self):
        self.engine.close()
        self.engine = Engine(self.config, Path(self.folder.name), self.clock)

    @invariant()
    def holds(self):
        if not hasattr(self, "engine"):
            return
        runs, _ = self.engine.runs(Selection())
        active = [run for run in runs if run.status in (Status.STARTING, Status.RUNNING)]
        waiting = [run for run in runs if run.status is Status.QUEUED]
        assert len(active) <= self.slots
        assert len({run.job_id for run in active}) == len(active)
        assert len(active) == self.slots or not {run.job_id for run in waiting} - {
            run.job_id for run in active
        }
        for run in waiting:
            assert self.engine.blocked_by(run)
        for run in runs:
            times = [at for at in (run.created_at, run.dequeued_at, run.started_at, run.finished_at) if at]
            assert times == sorted(times)
            if run.status.is_final:
                assert self.ended.setdefault(run.id, run) == run


Queue.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestQueue = Queue.TestCase
