"""The requests that an account is asked at most."""

import gc
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import RateLimitError
from airflow_provider_dbtcloud_dlt.triggers.budget import Budget


@given(steps=st.lists(st.floats(0, 3), min_size=1, max_size=300), per_minute=st.integers(1, 600))
def test_no_minute_has_more_than_the_budget_and_a_burst(steps: list[float], per_minute: int) -> None:
    """However the requests come: in no minute more than a minute's and ten seconds' worth."""
    budget, now, sent = Budget("x", per_minute), 0.0, []
    for step in steps:
        now += step
        sent.append(budget.reserve(now))
    for at in sent:
        assert sum(at <= other < at + 60 for other in sent) <= per_minute * 70 / 60 + 1


@given(steps=st.lists(st.floats(0, 3), min_size=1, max_size=100), per_minute=st.integers(1, 600))
def test_requests_go_in_the_order_in_which_they_came(steps: list[float], per_minute: int) -> None:
    """So that of two who want more than there is, each gets a share."""
    budget, now, sent = Budget("x", per_minute), 0.0, []
    for step in steps:
        now += step
        sent.append(budget.reserve(now))
    assert sent == sorted(sent)


def test_what_the_budget_bears_is_not_delayed() -> None:
    """One request a second of sixty a minute goes at once."""
    budget = Budget("x", 60)
    assert [budget.reserve(float(second)) for second in range(200)] == list(range(200))


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=300),
    per_minute=st.integers(1, 6000),
)
def test_what_is_taken_of_the_rest_delays_no_wait(steps: list[tuple[float, bool]], per_minute: int) -> None:
    """After it was taken, a wait's request could still be made at once."""
    budget, now = Budget("x", per_minute), 0.0
    for step, is_a_wait in steps:
        now += step
        if is_a_wait:
            budget.reserve(now)
        elif budget.spare_in(now) == 0.0:
            assert budget.reserve(now) == now


@given(steps=st.lists(st.floats(0, 3), min_size=1, max_size=300), per_minute=st.integers(12, 6000))
def test_of_the_rest_a_tenth_of_the_budget_is_taken_at_most(steps: list[float], per_minute: int) -> None:
    """And never more than a hundred requests a minute."""
    budget, now, taken = Budget("x", per_minute), 0.0, []
    for step in steps:
        now += step
        if budget.spare_in(now) == 0.0:
            taken.append(now)
    for at in taken:
        assert sum(at <= other < at + 60 for other in taken) <= min(per_minute / 10, 100) + 1


def test_the_rest_can_be_had_after_the_time_that_is_told() -> None:
    """Who sleeps for so long gets one."""
    budget = Budget("x", 2000)
    assert budget.spare_in(100.0) == 0.0
    assert budget.spare_in(100.0 + budget.spare_in(100.0)) == 0.0


def test_nothing_is_left_over_during_a_cool_down() -> None:
    """Until the account's limit is no longer hit."""
    budget = Budget("x", 2000)
    budget.refused(RateLimitError("slow down", retry_after=30.0), 100.0)
    assert budget.spare_in(100.0) == 30.0


def test_after_a_refusal_nobody_asks_for_as_long_as_the_server_says() -> None:
    """Also who had the right to ask before."""
    budget = Budget("x", 60)
    reserved = budget.reserve(100.0)
    budget.refused(RateLimitError("slow down", retry_after=30.0), 100.0)
    assert budget.opens(reserved) == 130.0


def test_server_is_believed_for_five_minutes_at_most() -> None:
    """A gateway may say a day."""
    budget = Budget("x", 60)
    budget.refused(RateLimitError("slow down", retry_after=86_400.0), 0.0)
    assert budget.opens(0.0) == 300.0


def test_without_a_word_of_the_server_the_pauses_grow() -> None:
    """Up to five minutes, dbt's own cool-down."""
    budget, now, pauses = Budget("x", 60), 0.0, []
    for _ in range(11):
        budget.refused(RateLimitError("slow down"), now)
        pauses.append(budget.opens(now) - now)
        now = budget.opens(now)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_refusals_of_requests_that_were_on_their_way_count_once() -> None:
    """Ten answers to ten requests that were sent together are one refusal."""
    budget = Budget("x", 60)
    for _ in range(10):
        budget.refused(RateLimitError("slow down"), 0.0)
    budget.refused(RateLimitError("slow down"), 5.0)
    assert budget.opens(5.0) == 7.0


def test_answer_makes_the_next_pause_a_short_one() -> None:
    """The limit was hit, and is not any more."""
    budget = Budget("x", 60)
    for now in (0.0, 5.0, 10.0):
        budget.refused(RateLimitError("slow down"), now)
    budget.answered(50.0)
    budget.refused(RateLimitError("slow down"), 100.0)
    assert budget.opens(100.0) == 101.0


def test_beyond_a_burst_requests_are_spread_evenly() -> None:
    """Ten seconds' worth may go at once, then one after the other."""
    budget = Budget("x", 60)
    assert [budget.reserve(0.0) for _ in range(13)] == [0.0] * 11 + [1.0, 2.0]


def test_shortage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """When it begins, with what to change, and when it is over for a minute."""
    caplog.set_level(logging.INFO)
    budget = Budget("account 1 at host", 60)
    for now in [0.0] * 14 + [30.0, 60.0]:
        budget.reserve(now)
    assert len(caplog.records) == 1
    budget.reserve(60.1)
    budget.reserve(62.0)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "account 1 at host" in said[0]
    assert "more than 60 requests a minute (requests_per_minute)" in said[0]
    assert "as often as asked for again" in said[1]


def test_answer_to_a_request_from_before_the_limit_was_hit_does_not_count() -> None:
    """The pauses grow in spite of it."""
    budget = Budget("x", 60)
    budget.refused(RateLimitError("slow down"), 0.0)
    budget.answered(0.5)
    budget.refused(RateLimitError("slow down"), 1.0)
    assert budget.opens(1.0) == 3.0


def test_account_has_one_budget() -> None:
    """Two connections to one account share it, and the more modest one counts."""
    first = Budget.shared("host", "1", "a", 600)
    assert Budget.shared("host", "1", "b", 60) is first
    assert first.per_minute == 60


def test_connection_may_be_corrected() -> None:
    """What a connection said before is forgotten."""
    Budget.shared("corrected", "1", "a", 6)
    assert Budget.shared("corrected", "1", "a", 600).per_minute == 600


def test_budget_outlives_its_users() -> None:
    """A cool-down must not be forgotten because the last wait has ended."""
    Budget.shared("closed", "1", "a", 60).refused(RateLimitError("slow down", retry_after=300.0), 0.0)
    gc.collect()
    assert Budget.shared("closed", "1", "a", 60).opens(1.0) == 300.0


def test_accounts_have_budgets_of_their_own() -> None:
    """Another account, or the same number at another host."""
    budgets = [Budget.shared(host, account, "a", 9) for host, account in [("x", "1"), ("x", "2"), ("y", "1")]]
    assert len(set(map(id, budgets))) == 3


def test_pause_of_no_seconds_is_none_that_was_asked_for() -> None:
    """A server that says so goes on refusing: the cool-down grows all the same."""
    budget = Budget("an account", 600)
    budget.refused(RateLimitError("slow down", retry_after=0.0), 100.0)
    assert budget.opens(0.0) > 100.0
