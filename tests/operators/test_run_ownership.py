"""Whose a run is when its task is killed: the decision by itself, row by row and in general."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.ownership import KILLED_STATES, Claim, Standing, why_left

RUN, OTHER = 5, 6
CLAIM = Claim({"dag_id": "elt"}, uuid4(), RUN)
WAITING_STATES = ["up_for_retry", "up_for_reschedule", "scheduled", "queued", "deferred", "a newer Airflow's"]


@pytest.mark.parametrize("state", ["running", "restarting", *sorted(KILLED_STATES)])
def test_present_try_that_is_killed_cancels_its_run(state: str) -> None:
    """Its time is up, it was cleared while it worked, or somebody has ended the task."""
    assert why_left(CLAIM, Standing(state)) is None


@pytest.mark.parametrize("state", [*WAITING_STATES, None])
def test_present_try_that_waits_elsewhere_keeps_its_run(state: str | None) -> None:
    """A triggerer waits, or a worker is about to go on."""
    assert why_left(CLAIM, Standing(state)) == f"its task is {state or 'cleared'}"


@pytest.mark.parametrize("shown", [RUN, None])
@pytest.mark.parametrize("state", ["running", *WAITING_STATES, None])
def test_later_try_keeps_the_run(state: str | None, shown: int | None) -> None:
    """It goes on with it, or is about to find it by its marker."""
    words = f"it is left to a later try of its task, which is {state or 'cleared'}"
    assert why_left(CLAIM, Standing(state, False, shown)) == words


@pytest.mark.parametrize("state", ["running", *WAITING_STATES, *sorted(KILLED_STATES), None])
def test_run_beside_that_of_a_later_try_is_cancelled(state: str | None) -> None:
    """Nobody waits for it, and nobody will look for it again."""
    assert why_left(CLAIM, Standing(state, False, OTHER)) is None


def test_run_that_a_later_try_took_for_its_result_is_left() -> None:
    """A task that does not wait has succeeded with it while it goes on."""
    assert why_left(CLAIM, Standing("success", False, RUN))


@pytest.mark.parametrize("state", sorted(KILLED_STATES - {"success"}))
def test_run_of_a_later_try_that_was_killed_is_cancelled(state: str) -> None:
    """Nobody waits for it any more."""
    assert why_left(CLAIM, Standing(state, False, RUN)) is None


def test_task_that_is_to_begin_anew_cancels_its_run() -> None:
    """Airflow gives a task that is cleared while it works another id at once: that is no later try yet."""
    assert why_left(CLAIM, Standing("restarting", False, RUN)) is None


states = st.none() | st.sampled_from(["running", "restarting", *WAITING_STATES, *sorted(KILLED_STATES)])
standings = st.builds(Standing, states, st.booleans(), st.sampled_from([RUN, OTHER, None]))


@given(standings)
def test_run_that_is_waited_for_is_never_cancelled(standing: Standing) -> None:
    """By a later try on a worker or in a triggerer, or by the present one in a triggerer."""
    later = not standing.is_present_try and standing.run_id == RUN and standing.state == "running"
    if later or (standing.state == "deferred" and (standing.is_present_try or standing.run_id == RUN)):
        assert why_left(CLAIM, standing)
