"""How runs are asked for when the server does not list them by their ids: with the same guarantees."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import (
    DbtCloudError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitError,
    RejectedRequestError,
    Run,
    ServerError,
)
from airflow_provider_dbtcloud_dlt.client.waiting import Wait
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.triggers import ladder as ladder_module
from airflow_provider_dbtcloud_dlt.triggers.ladder import Ladder, Question, Rung
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller
from airflow_provider_dbtcloud_dlt.triggers.schedule import Schedule

BY_IDS = r"/runs/\?pk__in"
BY_RANGE = r"/runs/\?id__gt"
SINGLY = r"/runs/\d+/$"


def refuse(emu: Emulator, *, path: str) -> None:
    """The server does not know this question."""
    words = (
        '{"status": {"code": 400, "user_message": "No."}, "data": "Additional properties are not allowed"}'
    )
    emu.fail_next(10_000, status=400, path=path, body=words)


def answer_with(emu: Emulator, runs: list[dict[str, int]], *, path: str) -> None:
    """The server takes no notice of what is asked."""
    body = json.dumps({"status": {"code": 200}, "data": runs})
    emu.fail_next(10_000, status=200, path=path, body=body)


def wait_for(emu: Emulator, run_ids: list[int]) -> list[str]:
    """Wait for runs, as triggers do, and return how they ended."""

    async def wait(run_id: int) -> str:
        async with Poller.shared("dbt_cloud_default", None, {}).subscribed(Wait(run_id), 0.05) as waiter:
            return str((await waiter.ended).status)

    async def main() -> list[str]:
        return await asyncio.wait_for(asyncio.gather(*map(wait, run_ids)), 20)

    return asyncio.run(main())


def asked(emu: Emulator, pattern: str) -> int:
    return sum(bool(re.search(pattern, path)) for _, path in emu.requests)


def ends(emu: Emulator) -> list[int]:
    """Runs that end differently, and some of others between them."""
    found = []
    for outcome in ("success", "error", "cancelled"):
        emu.script_job(emu.job_id, outcome=outcome)
        found.append(emu.trigger())
        for _ in range(60):
            emu.trigger()
    emu.requests.clear()
    return found


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not list" in record.getMessage()]


# --- through the poller ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        lambda emu: refuse(emu, path=BY_IDS),
        lambda emu: answer_with(emu, [{"id": 5, "status": 10}, {"id": 6, "status": 10}], path=BY_IDS),
        lambda emu: emu.inject("pk_in_refused"),
        lambda emu: emu.inject("pk_in_ignored"),
    ],
    ids=["refused", "ignored", "emulated refusal", "emulated ignorance"],
)
def test_ranges_take_the_place_of_ids(
    emu: Emulator, caplog: pytest.LogCaptureFixture, trouble: Callable[[Emulator], None]
) -> None:
    """Each waiter hears its run's ending, by few requests; that the server can't do better is said once."""
    run_ids = ends(emu)
    trouble(emu)
    assert wait_for(emu, run_ids) == ["success", "error", "cancelled"]
    assert asked(emu, BY_IDS) == 1
    assert asked(emu, BY_RANGE) == 1
    assert asked(emu, SINGLY) <= 1  # of a hundred runs, for the one beyond them
    assert [line.partition(";")[2].split(".")[0] for line in said(caplog)] == [
        " asking for them by ranges of ids"
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        lambda emu: refuse(emu, path=BY_RANGE),
        lambda emu: answer_with(emu, [{"id": 5, "status": 10}], path=BY_RANGE),
        lambda emu: answer_with(
            emu, [{"id": 80403110000005, "status": 3}, {"id": 80403110000004, "status": 3}], path=BY_RANGE
        ),
    ],
    ids=["refused", "ignored", "unordered"],
)
def test_single_requests_take_the_place_of_ranges(
    emu: Emulator, caplog: pytest.LogCaptureFixture, trouble: Callable[[Emulator], None]
) -> None:
    """At last each run is asked for by itself."""
    run_ids = ends(emu)
    refuse(emu, path=BY_IDS)
    trouble(emu)
    assert wait_for(emu, run_ids) == ["success", "error", "cancelled"]
    assert asked(emu, BY_RANGE) == 1
    assert asked(emu, SINGLY) == 3
    assert len(said(caplog)) == 2


def test_list_that_leaves_out_runs_is_not_believed(emu: Emulator, mocker: MockerFixture) -> None:
    """Runs that are not listed are asked for singly; a list that goes on so for long is given up."""
    mocker.patch.object(ladder_module, "_LEFT_OUT_SECONDS", 0.2)
    emu.script_job(emu.job_id, seconds=1.5)
    run_ids = [emu.trigger(), emu.trigger()]
    answer_with(emu, [], path=r"/runs/\?")
    assert wait_for(emu, run_ids) == ["success", "success"]
    assert 2 <= asked(emu, BY_IDS) <= 10
    assert 2 <= asked(emu, BY_RANGE) <= 10


def test_list_that_lags_is_kept(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A new run may be missing once or twice."""
    emu.script_job(emu.job_id, seconds=0.4)
    run_ids = [emu.trigger(), emu.trigger()]
    emu.fail_next(2, status=200, path=BY_IDS, body='{"status": {"code": 200}, "data": []}')
    assert wait_for(emu, run_ids) == ["success", "success"]
    assert said(caplog) == []


@pytest.mark.parametrize("status", [403, 404, 405, 500])
def test_lists_that_fail_in_another_way_are_left_as_well(emu: Emulator, status: int) -> None:
    """Where single requests work, lists that go on failing are no reason to lose a wait."""
    run_ids = ends(emu)
    emu.fail_next(10_000, status=status, path=r"/runs/\?", body="{}")
    assert wait_for(emu, run_ids) == ["success", "error", "cancelled"]


def test_thousands_of_waits_without_ids(emu: Emulator) -> None:
    """Ranges of ids serve neighbours, as the runs of one evening are: a request for a hundred of them."""
    run_ids = [emu.trigger() for _ in range(1000)]
    emu.inject("pk_in_refused")
    emu.requests.clear()
    assert wait_for(emu, run_ids) == ["success"] * 1000
    assert len(emu.requests) <= 24  # at first four ask by ids, then there are at most twice the ten ranges


# --- the decisions ---------------------------------------------------------------------------------------

ids = st.integers(1, 400)


def run_of(run_id: int) -> Run:
    return Run(id=run_id)


def due(run_ids: set[int]) -> Schedule:
    schedule = Schedule()
    for run_id in run_ids:
        schedule.put(run_id, 0.0)
    return schedule


def test_missing_runs_and_lists_take_turns() -> None:
    """A thousand runs that no list has do not keep the others' lists waiting."""
    ladder, schedule = Ladder("a server"), due(set(range(1, 101)))
    question = ladder.next_question(schedule, 1.0)
    assert question is not None
    ladder.read(question, [], 1.0)
    for run_id in range(1, 201):
        schedule.put(run_id, 1.0)
    questions = [ladder.next_question(schedule, 1.0) for _ in range(4)]
    assert {one.rung for one in questions if one} == {Rung.SINGLY, Rung.BY_IDS}


@pytest.mark.parametrize("error", [ServerError("bad gateway"), RateLimitError("slow down")], ids=str)
@given(failures=st.integers(1, 60), at_once=st.integers(1, 10))
def test_outage_is_no_reason_to_give_lists_up(error: DbtCloudError, failures: int, at_once: int) -> None:
    """However many requests it lasts, and whichever is the first to be answered again."""
    ladder, schedule = Ladder("a server"), due(set(range(1, 301)))
    left = failures
    while left > -20:  # until some more were answered
        questions = []
        while len(questions) < at_once and (question := ladder.next_question(schedule, 1.0)):
            questions.append(question)
        for question in questions:
            left -= 1
            ladder.read(question, error if left >= 0 else [run_of(one) for one in question.run_ids], 1.0)
            for run_id in question.run_ids:
                schedule.put(run_id, 0.0)
    assert ladder.rung is Rung.BY_IDS


def test_range_takes_along_those_due_next() -> None:
    """Waits that began one after the other do not stay alone, each with a request of its own."""
    ladder, schedule = Ladder("a server"), Schedule()
    ladder.rung = Rung.BY_RANGE
    for run_id in range(1, 51):
        schedule.put(run_id, 0.1 * run_id)
    question = ladder.next_question(schedule, 0.1)
    assert question == Question(Rung.BY_RANGE, list(range(1, 51)))


@given(existing=st.sets(ids), wanted=st.sets(ids, min_size=1), rung=st.sampled_from(Rung))
def test_every_run_gets_its_answer(existing: set[int], wanted: set[int], rung: Rung) -> None:
    """Whatever exists, on each rung: with no more requests than runs, and one for each that a list lacks."""
    ladder, schedule = Ladder("x"), due(wanted)
    ladder.rung = rung
    seen: dict[int, object] = {}
    requests = 0
    while question := ladder.next_question(schedule, 1.0):
        requests += 1
        answer = answered(question, existing)
        found = ladder.read(question, answer, 1.0)
        seen |= found
        for run_id in question.run_ids:
            if run_id not in found:
                schedule.put(run_id, 0.0)
        for run_id in found:
            schedule.remove(run_id)
    for run_id in wanted:
        expected = Run if run_id in existing else NotFoundError
        assert isinstance(seen[run_id], expected)
    lists = -(-len(wanted) // 100) if rung is not Rung.SINGLY else 0
    assert requests <= len(wanted) + lists


def answered(question: Question, existing: set[int]) -> list[Run] | NotFoundError:
    """What an honest server says."""
    if question.rung is Rung.SINGLY:
        (run_id,) = question.run_ids
        return [run_of(run_id)] if run_id in existing else NotFoundError("no such run")
    if question.rung is Rung.BY_IDS:
        return [run_of(run_id) for run_id in question.run_ids if run_id in existing]
    return [run_of(run_id) for run_id in sorted(existing) if run_id >= min(question.run_ids)][:100]


def test_passing_trouble_is_every_asked_runs() -> None:
    """A 502 to a list is told to all whose runs were asked for; nothing is given up."""
    ladder, error = Ladder("x"), ServerError("bad gateway")
    question = Question(Rung.BY_IDS, [1, 2])
    assert ladder.read(question, error, 0.0) == {1: error, 2: error}
    assert ladder.rung is Rung.BY_IDS


def test_refusal_of_a_single_request_is_that_runs() -> None:
    """It says nothing of lists."""
    ladder, error = Ladder("x"), RejectedRequestError("no", status_code=400)
    assert ladder.read(Question(Rung.SINGLY, [1]), error, 0.0) == {1: error}
    assert ladder.rung is Rung.BY_IDS


def test_late_refusal_of_the_rung_before_changes_nothing() -> None:
    """Several requests may be on their way when the first refusal comes."""
    ladder, error = Ladder("x"), RejectedRequestError("no", status_code=400)
    for _ in range(3):
        ladder.read(Question(Rung.BY_IDS, [1, 2]), error, 0.0)
    assert ladder.rung is Rung.BY_RANGE


def test_run_that_appears_at_last_is_no_proof_against_the_list() -> None:
    """Before it was there, no list could have it."""
    ladder = Ladder("x")
    for now in (0.0, 100.0, 200.0):
        ladder.read(Question(Rung.BY_IDS, [1, 2]), [run_of(2)], now)
        ladder.read(Question(Rung.SINGLY, [1]), NotFoundError("not yet"), now)
    ladder.read(Question(Rung.BY_IDS, [1, 2]), [run_of(2)], 300.0)
    ladder.read(Question(Rung.SINGLY, [1]), [run_of(1)], 300.0)
    assert ladder.rung is Rung.BY_IDS


def test_range_answers_waits_that_were_not_due() -> None:
    """What a page holds beside what was asked for is not thrown away."""
    ladder = Ladder("x")
    assert set(ladder.read(Question(Rung.BY_RANGE, [2, 5]), list(map(run_of, range(2, 9))), 0.0)) == set(
        range(2, 9)
    )


def test_ranges_leave_nobody_out() -> None:
    """Waits whose ids lie far apart are each asked for in turn, however seldom a request can be made."""
    ladder, schedule, asked_for = Ladder("x"), due(set(range(0, 3000, 100))), set()
    ladder.rung = Rung.BY_RANGE
    for now in range(30):  # each is due again before the next request
        question = ladder.next_question(schedule, float(now))
        assert question is not None
        seen = ladder.read(
            question, [run_of(run_id) for run_id in range(min(question.run_ids), 4000)][:100], 0.0
        )
        asked_for |= set(seen) & set(range(0, 3000, 100))
        for run_id in question.run_ids:
            schedule.put(run_id, now + 0.5 if run_id in seen else 0.0)
    assert len(asked_for) == 30


def test_list_that_leaves_out_an_existing_run_for_a_minute_is_given_up() -> None:
    """Not before: listing may lag."""
    ladder = Ladder("x")
    for now, rung in [(0.0, Rung.BY_IDS), (59.0, Rung.BY_IDS), (60.0, Rung.BY_RANGE)]:
        ladder.read(Question(Rung.BY_IDS, [1, 2]), [run_of(2)], now)
        ladder.read(Question(Rung.SINGLY, [1]), [run_of(1)], now)
        assert ladder.rung is rung


def test_better_rung_is_tried_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """A passing refusal does not last; and it is logged once."""
    ladder, error = Ladder("x"), RejectedRequestError("no", status_code=400)
    ladder.read(Question(Rung.BY_IDS, [1, 2]), error, 0.0)
    ladder.next_question(due({1, 2}), 899.0)
    assert ladder.rung is Rung.BY_RANGE
    ladder.next_question(due({1, 2}), 900.0)
    assert ladder.rung is Rung.BY_IDS
    ladder.read(Question(Rung.BY_IDS, [1, 2]), error, 900.0)
    assert len(said(caplog)) == 1


def test_lists_404_is_no_runs_404() -> None:
    """It says nothing of any run."""
    seen = Ladder("x").read(Question(Rung.BY_IDS, [1, 2]), NotFoundError("no such page"), 0.0)
    assert not any(isinstance(one, NotFoundError) for one in seen.values())


def test_answer_with_another_run_is_a_failure() -> None:
    """It is not asked for again at once, for ever."""
    seen = Ladder("x").read(Question(Rung.SINGLY, [1]), [run_of(2)], 0.0)
    assert isinstance(seen[1], MalformedAnswerError)
