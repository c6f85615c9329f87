"""The runs that the bench waits for: made at once, and released together."""

import pytest
from bench_runs import LAST_ENDS_LATER, waiting_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two groups of three runs, of which the first has been released."""
    with waiting_runs(tmp_path_factory.mktemp("bench"), size=3, groups=2) as made:
        made.release(0, group=0)
        made.emulator.admin("POST", "clock", advance_seconds=60)
        yield made


def test_the_runs_of_a_released_group_end(runs):
    """And those of the next one go on, whatever has become of the clock."""
    assert set(runs.ends()) == {runs.ended_run_id, *runs.groups[0]}


def test_the_ends_are_spread_evenly(runs):
    """A look that comes in between finds some of them ended."""
    first, second, third = (runs.ends()[run_id] for run_id in runs.groups[0])
    assert (second - first, third - first) == pytest.approx((LAST_ENDS_LATER / 2, LAST_ENDS_LATER))


def test_own_questions_are_not_counted(runs):
    """What the bench asks of the emulator itself is no client's connection."""
    _, before = runs.counted()
    runs.clock_ahead()
    _, after = runs.counted()
    assert after == before


def test_a_client_is_counted(runs):
    """Each list is one request."""
    before, _ = runs.counted()
    runs.ends()
    after, _ = runs.counted()
    assert after == before + 1
