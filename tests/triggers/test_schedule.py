"""The order in which runs are asked for."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from airflow_provider_dbtcloud_dlt.triggers.schedule import Schedule

NOW = 100.0
times = st.floats(0, 200)


def scheduled(dues: list[float]) -> Schedule:
    """Runs 0, 1, 2 … that are due at these times."""
    schedule = Schedule()
    for run_id, due in enumerate(dues):
        schedule.put(run_id, due)
    return schedule


@given(dues=st.lists(times, max_size=350), size=st.integers(1, 120))
def test_who_is_taken(dues: list[float], size: int) -> None:
    """Those who are due first, as many as there are places; none when none is due."""
    taken = scheduled(dues).take(NOW, size)
    if min(dues, default=NOW + 1) > NOW:
        assert taken == []
    else:
        assert len(taken) == min(size, len(dues))
        left = [due for run_id, due in enumerate(dues) if run_id not in set(taken)]
        assert max(dues[run_id] for run_id in taken) <= min(left, default=NOW * 2)


@given(dues=st.lists(times, max_size=50))
def test_who_is_due(dues: list[float]) -> None:
    """All whose time has come, the longest overdue first."""
    due = list(scheduled(dues).due(NOW))
    assert due == sorted((one for one, at in enumerate(dues) if at <= NOW), key=lambda one: (dues[one], one))


def test_who_is_not_to_be_asked_for_yet_is_not_taken_along() -> None:
    """A free place goes to the next one who may."""
    schedule = scheduled([NOW])
    schedule.put(7, NOW + 1, not_before=NOW + 0.5)
    schedule.put(8, NOW + 2, not_before=NOW)
    assert schedule.take(NOW, 2) == [0, 8]
    assert 7 in schedule


class Moves(RuleBasedStateMachine):
    """Runs are put, moved, removed and taken in any order, beside a plain dict that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.model: dict[int, float] = {}

    @rule(run_id=st.integers(0, 20), due=times)
    def put(self, run_id: int, due: float) -> None:
        self.schedule.put(run_id, due)
        self.model[run_id] = due

    @rule(run_id=st.integers(0, 20))
    def remove(self, run_id: int) -> None:
        self.schedule.remove(run_id)
        self.model.pop(run_id, None)

    @rule(now=times, size=st.integers(1, 5))
    def take(self, now: float, size: int) -> None:
        for run_id in self.schedule.take(now, size):
            del self.model[run_id]

    @invariant()
    def same(self) -> None:
        assert len(self.schedule) == len(self.model)
        assert all(run_id in self.schedule for run_id in self.model)
        assert self.schedule.next_due == min(self.model.values(), default=float("inf"))


TestMoves = Moves.TestCase


def test_runs_to_leave_are_left() -> None:
    """They stay where they are, and their places go to others."""
    schedule = scheduled([NOW - 2, NOW - 1, NOW + 1, NOW + 2])
    assert schedule.take(NOW, 2, leave={0, 2}) == [1, 3]
    assert 0 in schedule


def test_runs_to_leave_are_not_due() -> None:
    """They alone are no reason to ask."""
    assert scheduled([NOW - 1, NOW + 1]).take(NOW, 2, leave={0}) == []
