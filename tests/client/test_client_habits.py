"""What is known of the jobs' habits: read once per job, and only where it is worth a request."""

from collections.abc import Iterator
from typing import Any

import pendulum
import pytest

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, Run, RunStatus, ServerError
from airflow_provider_dbtcloud_dlt.client.habits import Habits, earlier_runs
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

START = 1_000_000.0


def running(job_id: int | None = 7) -> Run:
    return Run(
        id=1,
        status=RunStatus.RUNNING,
        job_definition_id=job_id,
        started_at=pendulum.from_timestamp(START),
    )


def history() -> list[Run]:
    times = {"started_at": pendulum.from_timestamp(0), "finished_at": pendulum.from_timestamp(600)}
    return [Run(id=number, status=RunStatus.SUCCESS, **times) for number in range(5)]


def test_job_is_asked_for_once() -> None:
    """However many runs of it are waited for."""
    habits = Habits()
    habits.of(running(), START + 30)
    habits.of(running(), START + 30)
    assert habits.next_wanted(START + 30) == 7
    habits.of(running(), START + 31)
    assert not habits.are_wanted


def test_habit_is_known_once_it_is_learnt() -> None:
    """And stays so for hours."""
    habits = Habits()
    habits.learn(7, history(), START)
    habit = habits.of(running(), START + 3600)
    assert habit is not None
    assert habit.earliest < 600 < habit.latest
    assert not habits.are_wanted


def test_job_without_a_habit_is_not_asked_for_again() -> None:
    """That too is an answer."""
    habits = Habits()
    habits.learn(7, [], START)
    assert habits.of(running(), START + 3600) is None
    assert not habits.are_wanted


def test_old_habit_is_learnt_anew() -> None:
    """Jobs change; until then the old one counts."""
    habits = Habits()
    habits.learn(7, history(), START)
    assert habits.of(running(), START + 7 * 3600) is not None
    assert habits.are_wanted


def test_short_run_is_not_worth_a_request() -> None:
    """It may have ended before its history was of any use."""
    habits = Habits()
    habits.of(running(), START + 10)
    assert not habits.are_wanted


def test_run_of_no_known_job_has_no_habit() -> None:
    """Nothing can be asked for."""
    habits = Habits()
    assert habits.of(running(job_id=None), START + 100) is None
    assert not habits.are_wanted


@pytest.mark.parametrize(("after", "is_wanted"), [(299, False), (301, True)])
def test_failed_request_is_made_again_in_some_minutes(after: float, is_wanted: bool) -> None:
    """Not at every look."""
    habits = Habits()
    habits.of(running(), START + 30)
    habits.next_wanted(START + 30)
    habits.learn(7, ServerError("no"), START + 30)
    habits.of(running(), START + 30 + after)
    assert habits.are_wanted == is_wanted


def test_earlier_runs_are_the_jobs_latest_successes(emu: Emulator) -> None:
    """In one request, ten at most."""
    emu.script_job(emu.job_id, outcome="error")
    emu.trigger()
    emu.script_job(emu.job_id)
    run_ids = [emu.trigger() for _ in range(12)]
    client = DBTCloudClientV2(emu.token, emu.account_id, f"{emu.host}/api")
    emu.requests.clear()
    assert [run.id for run in earlier_runs(client, emu.job_id)] == run_ids[:1:-1]
    assert len(emu.requests) == 1


class Server:
    """Knows a job's earlier runs, by a clock of its own."""

    retry_budget = 60.0

    def __init__(self, clock_skew: float = 0.0) -> None:
        self.clock_skew = clock_skew
        self.asked = 0

    def list_runs(self, *, limit: int | None = None, **filters: Any) -> Iterator[Run]:
        self.asked += 1
        return iter(history())


@pytest.mark.parametrize("skew", [-300.0, 0.0, 300.0])
def test_pause_is_by_the_servers_clock(skew: float) -> None:
    """Which also tells when the run began; ours may be minutes away."""
    here = START + 590 - skew
    assert Habits().pause(Server(skew), running(), here, 2.0, 3600.0) <= 5.0


@pytest.mark.parametrize("skew", [-30_000.0, 0.0, 30_000.0])
def test_other_clock_makes_nobody_ask_again(skew: float) -> None:
    """How long a habit lasts is counted by the clock here."""
    habits = Habits()
    for look in range(3):
        habits.of(running(), START + 300 - skew + look, skew)
        habits.next_wanted(START + 300 - skew + look)
        habits.learn(7, history(), START + 300 - skew + look)
    habits.of(running(), START + 310 - skew, skew)
    assert not habits.are_wanted


def test_who_has_little_time_does_not_ask_for_the_history() -> None:
    """Asking, with all attempts, might outlast the wait."""
    server = Server()
    Habits().pause(server, running(), START + 300, 2.0, left=100.0)
    assert server.asked == 0
