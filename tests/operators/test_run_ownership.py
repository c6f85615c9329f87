"""Whose a run is when its task is killed: the decision by itself, row by row and in general."""

from uuid import uuid4

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
CLAIM = Claim({"dag_id": "elt"}, uuid4(), RUN)
LATER = "a later try of its task goes on with it"


@pytest.mark.parametrize("state", sorted(KILLED_STATES))
@pytest.mark.parametrize("present", [True, False])
def test_ended_task_has_nobody_who_waits(state: str, present: bool) -> None:
    """Whatever its tries have shown."""
    assert why_left(CLAIM, Standing(state, present, RUN)) is None


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
    """Who comes next finds the run, by its marker or in the trigger's event."""
    assert why_left(CLAIM, Standing(state)) == words


@pytest.mark.parametrize("state", sorted(WORKING_STATES))
@pytest.mark.parametrize(
    ("present", "shown", "words"),
    [
        (True, None, None),
        (True, RUN, None),
        (False, None, LATER),
        (False, RUN, LATER),
        (False, OTHER, None),
    ],
)
def test_task_on_a_worker_is_its_present_trys(
    state: str, present: bool, shown: int | None, words: str | None
) -> None:
    """Of a later try's run, the first try leaves the one that goes on, and cancels one beside it."""
    assert why_left(CLAIM, Standing(state, present, shown)) == words


standings = st.builds(
    Standing,
    st.none() | st.sampled_from([*sorted(KILLED_STATES | WORKING_STATES), "queued", "deferred"]),
    st.booleans(),
    st.none() | st.sampled_from([RUN, OTHER]),
)


@given(standings)
def test_run_that_a_later_try_waits_for_is_never_cancelled(standing: Standing) -> None:
    """Unless that try was killed as well."""
    if not standing.is_present_try and standing.run_id == RUN and standing.state not in KILLED_STATES:
        assert why_left(CLAIM, standing)


@given(standings)
def test_run_is_cancelled_only_by_a_task_that_works_or_has_ended(standing: Standing) -> None:
    """In every other state somebody comes for it."""
    if why_left(CLAIM, standing) is None:
        assert standing.state in KILLED_STATES | WORKING_STATES
