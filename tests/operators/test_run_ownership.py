"""Whose a run is when its task is killed: the decision by itself, row by row and in general."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.ownership import (
    KILLED_STATES,
    WORKING_STATES,
    Claim,
    Standing,
    why_left,
)

RUN, OTHER = 5, 6
MINE = 2


def claim(is_shown: bool = True) -> Claim:
    return Claim({"dag_id": "elt"}, MINE, RUN, is_shown)


@pytest.mark.parametrize("state", sorted(KILLED_STATES))
def test_ended_task_has_nobody_who_waits(state: str) -> None:
    """Whatever its tries have shown."""
    assert why_left(claim(), Standing(state, MINE + 1, RUN)) is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("up_for_retry", "its task is up_for_retry"),
        ("up_for_reschedule", "its task is up_for_reschedule"),
        ("scheduled", "its task is scheduled"),
        ("queued", "its task is queued"),
        ("deferred", "its task is deferred"),
        ("a state of a newer Airflow", "its task is a state of a newer Airflow"),
        (None, "its task is cleared"),
    ],
)
def test_task_that_goes_on_elsewhere_keeps_its_run(state: str | None, words: str) -> None:
    """A later try finds the run by its marker."""
    assert why_left(claim(), Standing(state)) == words


@pytest.mark.parametrize("state", sorted(WORKING_STATES))
@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ((MINE, RUN), None),
        ((MINE + 1, RUN), "try 3 of its task waits for it"),
        ((MINE + 1, None), "try 3 of its task waits for it"),
        ((MINE + 1, OTHER), None),
        ((MINE - 1, OTHER), None),
        ((None, None), "a later try of its task has begun"),
    ],
)
def test_task_on_a_worker_is_whose_run_was_shown_last(
    state: str, shown: tuple[int | None, int | None], words: str | None
) -> None:
    """This try's, one of a later try that goes on with it, or one that nobody waits for."""
    assert why_left(claim(), Standing(state, *shown)) == words


def test_run_that_was_not_shown_yet_is_this_trys() -> None:
    """That nothing is shown is then no sign of a later try."""
    assert why_left(claim(is_shown=False), Standing("running")) is None


standings = st.builds(
    Standing,
    st.none() | st.sampled_from([*sorted(KILLED_STATES | WORKING_STATES), "queued", "deferred"]),
    st.none() | st.integers(1, 4),
    st.none() | st.sampled_from([RUN, OTHER]),
)


@given(standings, st.booleans())
def test_run_that_a_later_try_waits_for_is_never_cancelled(standing: Standing, is_shown: bool) -> None:
    """Unless that try was killed as well."""
    adopted = (standing.try_number or 0) > MINE and standing.run_id == RUN
    if adopted and standing.state not in KILLED_STATES:
        assert why_left(claim(is_shown), standing)


@given(standings, st.booleans())
def test_run_is_cancelled_only_by_a_task_that_works_or_has_ended(standing: Standing, is_shown: bool) -> None:
    """In every other state somebody comes for it."""
    if why_left(claim(is_shown), standing) is None:
        assert standing.state in KILLED_STATES | WORKING_STATES
