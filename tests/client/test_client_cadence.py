"""How long a run is left alone between two looks."""

from collections.abc import Sequence

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.cadence import SHORTEST_PAUSE, Habit, pause_for

START = 1_000_000.0
seconds = st.floats(1, 100_000)


def ended(lasted: float, status: RunStatus = RunStatus.SUCCESS, **fields: object) -> Run:
    times = {
        "started_at": pendulum.from_timestamp(START),
        "finished_at": pendulum.from_timestamp(START + lasted),
    }
    return Run(id=1, status=status, **{**times, **fields})


def running(**fields: object) -> Run:
    return Run(id=2, status=RunStatus.RUNNING, started_at=pendulum.from_timestamp(START), **fields)


def watch(lasts: float, habit: Habit | None, joined: float = 5.0) -> tuple[int, float]:
    """Watch a run from `joined` on; return the looks, and how late its end was seen."""
    now, looks = joined, 1
    while now < lasts:
        now += pause_for(running(), START + now, habit)
        looks += 1
    return looks, now - lasts


# --- without a history -----------------------------------------------------------------------------------


@given(lasts=seconds, joined=st.floats(0, 10))
def test_end_is_seen_late_by_a_hundredth_at_most(lasts: float, joined: float) -> None:
    """Of the time that the run took, or by the shortest pause."""
    _, late = watch(lasts, None, joined)
    assert late <= max(SHORTEST_PAUSE, lasts / 100) or late <= joined


@given(elapsed=st.floats(-100, 1e7), habit=st.none() | st.builds(Habit, seconds, seconds))
def test_pause_is_never_shorter_than_the_shortest(elapsed: float, habit: Habit | None) -> None:
    """Whatever the habit, and however the clocks differ."""
    assert pause_for(running(), START + elapsed, habit) >= SHORTEST_PAUSE


@given(elapsed=seconds, shortest=st.floats(1, 100))
def test_shortest_pause_can_be_chosen(elapsed: float, shortest: float) -> None:
    """Who has a request for each look to himself looks less often."""
    assert pause_for(running(), START + elapsed, None, shortest) >= shortest


# --- with one --------------------------------------------------------------------------------------------


def test_long_job_with_a_regular_history_costs_a_few_dozen_looks() -> None:
    """A run of three hours is seen within seconds of its end, after 60 looks at most."""
    habit = Habit.of([ended(10_800 + wobble) for wobble in (-60, -30, 0, 20, 60)])
    looks, late = zip(*(watch(10_800 + wobble, habit) for wobble in range(-80, 90, 10)), strict=True)
    assert max(looks) <= 60
    assert max(late) <= 12


@given(lasts=seconds, habit=st.builds(Habit, seconds, seconds))
def test_end_at_the_usual_time_or_later_is_seen_as_without_a_history(lasts: float, habit: Habit) -> None:
    """From the earliest usual end on, an end is seen late by a hundredth at most as well."""
    if lasts < habit.earliest:
        return
    _, late = watch(lasts, habit)
    assert late <= max(5.0, SHORTEST_PAUSE, lasts / 100)


@given(lasts=seconds, habit=st.builds(Habit, seconds, seconds))
def test_early_end_is_seen_in_time(lasts: float, habit: Habit) -> None:
    """A run that fails long before its job's usual time is seen late by a fifth of what it took, at most."""
    _, late = watch(lasts, habit)
    assert late <= max(5.0, SHORTEST_PAUSE, lasts / 5, habit.earliest / 100)


def test_queued_run_is_looked_at_seldom() -> None:
    """It can't end before it has started, and then takes its time."""
    queued = Run(id=3, status=RunStatus.QUEUED, created_at=pendulum.from_timestamp(START))
    assert pause_for(queued, START + 50, Habit(6000, 7000)) == 60


def test_long_queued_run_without_a_history() -> None:
    """How long it has been queued counts, then."""
    queued = Run(id=3, status=RunStatus.QUEUED, created_at=pendulum.from_timestamp(START))
    assert pause_for(queued, START + 1000) == 10


# --- the habit -------------------------------------------------------------------------------------------


@given(longest=st.floats(20, 100_000), shares=st.lists(st.floats(0.9, 1), min_size=3, max_size=6))
def test_habit_holds_all_of_few_runs(longest: float, shares: list[float]) -> None:
    """Its window has a margin on both sides."""
    lasted = [longest * share for share in shares]
    habit = Habit.of(map(ended, lasted))
    assert habit is not None
    assert 0 <= habit.earliest <= min(lasted) <= max(lasted) <= habit.latest


def test_runs_that_differ_are_no_habit() -> None:
    """Their ends would be seen late: what holds without a history is better then."""
    assert Habit.of(map(ended, [6000, 8000, 10_000])) is None


def test_one_odd_run_of_many_does_not_spoil_the_habit() -> None:
    """The shortest and the longest of many are left out."""
    habit = Habit.of([ended(one) for one in (5, 600, 600, 600, 600, 600, 9000)])
    assert habit is not None
    assert 580 < habit.earliest < habit.latest < 620


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [ended(600), ended(600)],
        [ended(600, RunStatus.ERROR)] * 5,
        [ended(600, retrying_run_id=7)] * 5,
        [ended(600, started_at=None)] * 5,
        [ended(600, finished_at=None)] * 5,
    ],
    ids=["none", "two", "failed", "retries", "no start", "no end"],
)
def test_runs_that_tell_no_habit(runs: Sequence[Run]) -> None:
    """Few runs, failed ones, those that were taken up again, and those without times."""
    assert Habit.of(runs) is None
