"""When a wait is over: the decision by itself, over all sequences, and the client's own loop around it."""

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    MalformedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RejectedRequestError,
    Run,
    RunStatus,
    RunTimeoutError,
    ServerError,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.waiting import Outage, Wait, ending_of

START = 1_800_000_000.0
FAILURES: list[DbtCloudError] = [
    ServerError("502", status_code=502),
    UnreachableError("no route"),
    MalformedAnswerError("HTML"),
    InvalidCredentialsException("401"),
    PermissionDeniedError("403"),
    RejectedRequestError("400", status_code=400),
]
MISSING = NotFoundError("404", status_code=404)
MakeRun = Callable[..., Run]


def _run(status: int, message: str | None = None) -> Run:
    return Run.from_api({"id": 5, "status": status, "status_message": message})


@pytest.mark.parametrize(
    ("status", "ending", "words"),
    [
        (10, "success", "Job run 5 has completed successfully."),
        (20, "error", "Job run 5 has failed."),
        (30, "cancelled", "Job run 5 has been cancelled."),
    ],
)
def test_end_of_a_run(status: int, ending: str, words: str) -> None:
    """Its status, and a sentence."""
    found = ending_of(_run(status))
    assert found is not None
    assert (found.status, found.message) == (ending, words)


def test_dbts_reason_is_in_the_sentence() -> None:
    """Such as that of a run's own time limit."""
    ending = ending_of(_run(30, "Exceeded its time limit."))
    assert ending is not None
    assert ending.message == "Job run 5 has been cancelled: Exceeded its time limit."


@pytest.mark.parametrize("status", [0, 1, 2, 3, 42, -1])
def test_unknown_status_goes_on(status: int) -> None:
    """Like an active one."""
    assert Wait(5).answered(_run(status), START) is None


# --- over any sequence of what can be seen ------------------------------------------------------------------

sights = st.sampled_from([1, 3, 42]) | st.sampled_from([10, 20, 30]) | st.sampled_from([*FAILURES, MISSING])
looks = st.lists(st.tuples(st.floats(0, 400) | st.floats(-400, 0), sights), max_size=25)


Look = tuple[float, Any]


def _ends_exactly_when_it_should(
    seen: Iterable[Look], timeout: float | None, execution: float | None, tolerance: float
) -> None:
    """Against a plain account of the rules: what the last answers were, and since when by the clock."""
    wait = Wait(
        5,
        end_time=None if timeout is None else START + timeout,
        execution_deadline=None if execution is None else START + execution,
        outage_tolerance=tolerance,
    )
    deadline = min([START + limit for limit in (timeout, execution) if limit is not None], default=None)
    now, answered, failing, missing = START, False, None, None
    for passed, what in seen:
        now += passed
        late = deadline is not None and now >= deadline
        if isinstance(what, int):
            ending = wait.answered(_run(what), now)
            expected = {10: "success", 20: "error", 30: "cancelled"}.get(what, "timeout" if late else None)
            failing = missing = None
            answered = True
        elif what is MISSING:
            ending = wait.failed(what, now)
            failing, missing = None, now if missing is None else missing
            expected = "error" if now - missing >= 60 else "timeout" if late else None
        else:
            ending = wait.failed(what, now)
            failing = now if failing is None else failing
            expected = "unreachable" if now - failing >= tolerance else "timeout" if late else None
        assert (ending.status if ending else None) == expected
        if ending is not None:
            assert "5" in ending.message
            assert ("it was never seen" in ending.message) == (ending.status == "timeout" and not answered)
            return


@given(looks, st.none() | st.floats(0, 3000), st.none() | st.floats(0, 3000), st.floats(1, 2000))
def test_wait_ends_exactly_when_it_should(
    seen: list[Look], timeout: float | None, execution: float | None, tolerance: float
) -> None:
    """And as it should."""
    _ends_exactly_when_it_should(seen, timeout, execution, tolerance)


@pytest.mark.parametrize("timeout", [None, 100])
def test_wait_ends_exactly_when_it_should_over_all_short_sequences(timeout: int | None) -> None:
    """Chance seldom fails for long enough: here all that can be seen in five looks is."""
    one_look = itertools.product([40, -30], [3, 10, MISSING, FAILURES[0]])
    for seen in itertools.product(list(one_look), repeat=5):
        _ends_exactly_when_it_should(seen, timeout, None, 70)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.just(0) | st.integers(0, 400), sights), max_size=25),
    st.integers(1, 500),
    st.integers(1, 300),
)
def test_clock_that_steps_back_ends_no_wait_early(
    seen: list[tuple[int, int, Any]], timeout: int, tolerance: int
) -> None:
    """No limit is over, and no failure has lasted for too long, before so much time has really passed."""
    wait = Wait(5, end_time=START + timeout, outage_tolerance=tolerance)
    passed, behind, failing, missing = 0, 0, None, None
    for seconds, back, what in seen:
        passed, behind = passed + seconds, behind + back
        now = START + passed - behind
        if isinstance(what, int):
            ending = wait.answered(_run(what), now)
            failing = missing = None
        else:
            ending = wait.failed(what, now)
            failing = None if what is MISSING else passed if failing is None else failing
            missing = passed if what is MISSING and missing is None else missing
        if ending is None:
            continue
        unseen = passed - (passed if missing is None else missing)
        outage = passed - (passed if failing is None else failing)
        assert {
            "success": what == 10,
            "error": what == 20 or (what is MISSING and unseen >= 60),
            "cancelled": what == 30,
            "timeout": passed >= timeout,
            "unreachable": outage >= tolerance,
        }[ending.status]
        return


def test_404_is_tolerated_for_a_minute() -> None:
    """A fresh run may be unknown; one that stays so does not exist."""
    wait = Wait(5)
    assert wait.failed(MISSING, START) is None
    assert wait.failed(MISSING, START + 59.9) is None
    ending = wait.failed(MISSING, START + 60)
    assert ending is not None
    assert (ending.status, ending.message) == ("error", "Job run 5 was not found. 404")


def test_404_starts_anew_after_an_answer() -> None:
    """The minute counts from the last time that the run was seen."""
    wait = Wait(5)
    wait.failed(MISSING, START)
    wait.answered(_run(3), START + 30)
    assert wait.failed(MISSING, START + 70) is None


def test_failure_between_two_404_tells_nothing_of_the_run() -> None:
    """Else a flaky API would keep a wait alive for a run that does not exist."""
    wait = Wait(5)
    wait.failed(MISSING, START)
    wait.failed(FAILURES[0], START + 50)
    assert wait.failed(MISSING, START + 70) is not None


def test_outage_counts_from_its_begin() -> None:
    """An answer in between ends it."""
    wait = Wait(5, outage_tolerance=100)
    wait.failed(FAILURES[0], START)
    wait.answered(_run(3), START + 90)
    assert wait.failed(FAILURES[0], START + 110) is None


def test_limit_that_is_hit_is_no_outage() -> None:
    """An API that asks for patience is there, however often it does."""
    wait = Wait(5, outage_tolerance=60)
    for seconds in range(0, 3600, 50):
        assert wait.failed(RateLimitError("429"), START + seconds) is None


def test_outage_message_says_how_long_and_why() -> None:
    """And that the run may be going on."""
    wait = Wait(5, outage_tolerance=600)
    wait.failed(FAILURES[0], START)
    ending = wait.failed(FAILURES[1], START + 660)
    assert ending is not None
    assert "for 11 minutes, longer than outage_tolerance" in ending.message
    assert ending.message.endswith("Last failure: no route")


@pytest.mark.parametrize(
    ("end_time", "execution", "words"),
    [(10, 20, "within the timeout;"), (20, 10, "within the execution_timeout;")],
)
def test_timeout_names_the_limit(end_time: int, execution: int, words: str) -> None:
    """The earlier of the two, and the run's last known state."""
    ending = Wait(5, START + end_time, START + execution).answered(_run(3), START + 10)
    assert ending is not None
    assert words in ending.message
    assert "last known state is Running" in ending.message


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat()


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"created_at": _at(-900), "started_at": _at(-754)}, "Running, it has run for 0:12:34."),
        ({"created_at": _at(-754)}, "Running, it was queued for 0:12:34."),
        ({"created_at": _at(60)}, "Running, it was queued for 0:00:00."),  # dbt Cloud's clock is ahead
        ({}, "Running."),
    ],
)
def test_timeout_says_how_long_the_run_ran(times: dict[str, str], words: str) -> None:
    """Or how long it was queued, as far as the API tells."""
    run = Run.from_api({"id": 5, "status": 3, **times})
    ending = Wait(5, START).answered(run, START)
    assert ending is not None
    assert ending.message.endswith(f"its last known state is {words}")


def test_timeout_counts_to_the_last_look(make_run: MakeRun) -> None:
    """What the run has done since nobody knows."""
    wait = Wait(5, START + 1000)
    wait.answered(make_run(5, 3, started_at=_at(-60)), START)
    ending = wait.failed(FAILURES[0], START + 1000)
    assert ending is not None
    assert ending.message.endswith("it has run for 0:01:00.")


@given(st.floats(0.1, 1000), st.none() | st.floats(-100, 1000))
def test_next_look_is_no_later_than_the_deadline(interval: float, left: float | None) -> None:
    """And never in the past."""
    pause = Wait(5, end_time=None if left is None else START + left).next_look(interval, START)
    assert 0 <= pause <= interval
    assert left is None or START + pause <= max(START + left, START)
    assert left is None or left < interval or pause == pytest.approx(interval, abs=1e-5)


# --- Outage -------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans()))
def test_outage_is_logged_at_its_begin_and_end(answers: list[bool]) -> None:
    """Once each, not at every look."""
    records: list[logging.LogRecord] = []
    logger = logging.Logger("outage")
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    outage = Outage(logger, "dbt Cloud")
    for number, good in enumerate(answers):
        if good:
            outage.answered(START + number)
        else:
            outage.failed(FAILURES[0], START + number)
    changes = [good for good, before in zip(answers, [True, *answers], strict=False) if good != before]
    assert [record.levelno == logging.INFO for record in records] == changes


def test_end_of_an_outage_says_how_long_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """In seconds."""
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("outage"), "dbt Cloud (x)")
    outage.failed(FAILURES[0], START)
    outage.answered(START + 125)
    assert caplog.messages[-1] == "dbt Cloud (x) answers again after 125 s."


# --- the client's loop --------------------------------------------------------------------------------------

RUN = "https://dbt.test/api/v2/accounts/7/runs/5/"


class Cloud:
    """Plays the API: one answer a look; the last one is repeated."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.mock = mock

    def shows(self, *looks: int) -> None:
        """Statuses of the run below 100, HTTP statuses from there on."""
        for look in looks:
            if look < 100:
                self.mock.get(RUN, json={"data": {"id": 5, "status": look}})
            else:
                self.mock.get(RUN, status=look)


@pytest.fixture
def api() -> Iterator[Cloud]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield Cloud(mock)


@pytest.fixture
def impatient(time: Any, token: str) -> DBTCloudClientV2:
    """A client that does not repeat requests by itself, so that the wait sees each answer."""
    return DBTCloudClientV2(
        token, 7, "https://dbt.test/api", retry_budget=0, sleep=time.sleep, clock=time.clock
    )


@pytest.mark.parametrize("end", [10, 20, 30])
def test_wait_returns_the_ended_run(impatient: DBTCloudClientV2, api: Cloud, time: Any, end: int) -> None:
    """However it ended, after a look every `poll_interval` seconds."""
    api.shows(1, 2, 3, end)
    assert impatient.wait_for_run(5, poll_interval=7).status == end
    assert time.slept == [7, 7, 7]


def test_wait_without_an_interval_asks_for_the_jobs_history(impatient: DBTCloudClientV2, time: Any) -> None:
    """Once, when the run has gone on for a while; then the looks are sparse until its usual end is near."""
    started = time.now

    def stamp(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).isoformat()

    def the_run(_: Any) -> Any:
        status = 10 if time.now >= started + 600 else 3
        run = {"id": 5, "status": status, "job_definition_id": 8, "started_at": stamp(started)}
        return 200, {}, json.dumps({"data": run})

    earlier = {"status": 10, "started_at": stamp(0), "finished_at": stamp(600)}
    history = {"data": [{"id": number, **earlier} for number in range(5)]}
    with responses.RequestsMock() as mock:
        mock.add_callback("GET", "https://dbt.test/api/v2/accounts/7/runs/5/", the_run)
        asked = mock.get("https://dbt.test/api/v2/accounts/7/runs/", json=history)
        assert impatient.wait_for_run(5).status is RunStatus.SUCCESS
    assert asked.call_count == 1
    assert len(time.slept) < 40
    assert time.now - started < 606


@given(
    st.sampled_from([1, 2, 3, 42]),
    st.lists(st.sampled_from([1, 3, 42, 400, 401, 403, 404, 429, 500, 502, 503, 504]), max_size=4),
    st.sampled_from([10, 20, 30]),
)
def test_end_is_neither_missed_nor_taken_from_a_failure(first: int, looks: list[int], end: int) -> None:
    """Whatever was seen in the minute before; afterwards nothing is asked."""
    now = [START]
    client = DBTCloudClientV2(
        "t",
        7,
        "https://dbt.test/api",
        retry_budget=0,
        sleep=lambda seconds: now.append(now[-1] + seconds),
        clock=lambda: now[-1],
    )
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        Cloud(mock).shows(first, *looks, end, 3)
        assert client.wait_for_run(5).status == end
        assert len(mock.calls) == len(looks) + 2


def test_every_look_is_reported(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """To whoever wants to show progress."""
    api.shows(1, 42, 10)
    seen: list[int] = []
    impatient.wait_for_run(5, on_answer=lambda run: seen.append(run.status))
    assert seen == [1, 42, 10]


def test_unknown_status_is_logged_once(
    impatient: DBTCloudClientV2, api: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """And waited through."""
    api.shows(3, 42, 42, 502, 42, 10)
    impatient.wait_for_run(5)
    assert [text for text in caplog.messages if "42" in text] == [
        "Job run 5 has a status that is not known: 42."
    ]


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_interval_is_positive(impatient: DBTCloudClientV2, interval: float) -> None:
    """Nobody asks without a pause."""
    with pytest.raises(InvalidRequestError, match="poll_interval must be more than 0 seconds"):
        impatient.wait_for_run(5, poll_interval=interval)


def test_passing_failures_are_outlived(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """404 just after the trigger, 5xx, the rate limit, a token that is being rotated."""
    api.shows(404, 502, 1, 503, 401, 403, 429, 404, 10)
    assert impatient.wait_for_run(5).status is RunStatus.SUCCESS


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedRequestError),
        (401, InvalidCredentialsException),
        (403, PermissionDeniedError),
    ],
)
def test_lasting_failure_at_the_first_look_ends_the_wait(
    impatient: DBTCloudClientV2, api: Cloud, time: Any, status: int, kind: type[DbtCloudError]
) -> None:
    """A mistyped token is not waited on for half an hour."""
    api.shows(status)
    with pytest.raises(kind):
        impatient.wait_for_run(5)
    assert time.slept == []


def test_missing_account_ends_the_wait(time: Any) -> None:
    """Nothing can be asked."""
    client = DBTCloudClientV2("t", None, "https://dbt.test/api", sleep=time.sleep, clock=time.clock)
    with pytest.raises(InvalidCredentialsException, match="account_id is missing"):
        client.wait_for_run(5)


def test_run_that_does_not_exist_ends_the_wait(impatient: DBTCloudClientV2, api: Cloud, time: Any) -> None:
    """After a minute."""
    api.shows(404)
    with pytest.raises(NotFoundError):
        impatient.wait_for_run(5)
    assert sum(time.slept) == 60


def test_outage_beyond_tolerance_raises_the_failure(
    impatient: DBTCloudClientV2, api: Cloud, time: Any
) -> None:
    """The last one."""
    api.shows(3, 502)
    with pytest.raises(ServerError):
        impatient.wait_for_run(5, poll_interval=10, outage_tolerance=100)
    assert sum(time.slept) == 110


def test_outage_is_logged_once(
    impatient: DBTCloudClientV2, api: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """A line at its begin, one at its end."""
    caplog.set_level(logging.INFO, "airflow_provider_dbtcloud_dlt.client.blocking")
    api.shows(3, 502, 502, 502, 10)
    impatient.wait_for_run(5)
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "dbt Cloud (dbt.test) gives no usable answer",
        "dbt Cloud (dbt.test) answers again after 30 s.",
    ]


def test_retry_after_stretches_the_pause(impatient: DBTCloudClientV2, api: Cloud, time: Any) -> None:
    """Five minutes are five minutes, though a look was due in ten seconds."""
    api.shows(3)
    api.mock.get(RUN, status=429, headers={"Retry-After": "300"})
    api.shows(10)
    impatient.wait_for_run(5, poll_interval=10)
    assert time.slept == [10, 300]


def test_retry_after_does_not_stall_the_wait(impatient: DBTCloudClientV2, api: Cloud, time: Any) -> None:
    """A gateway that says "tomorrow" is asked again after dbt's own cool-down."""
    api.mock.get(RUN, status=503, headers={"Retry-After": "86400"})
    api.shows(10)
    impatient.wait_for_run(5)
    assert time.slept == [300]


def test_timeout_has_the_run_as_last_seen(impatient: DBTCloudClientV2, api: Cloud, time: Any) -> None:
    """And the last pause is cut to what is left."""
    api.shows(3)
    with pytest.raises(RunTimeoutError, match=r"Job run 5 has not ended within the timeout") as raised:
        impatient.wait_for_run(5, poll_interval=10, timeout=25)
    assert raised.value.run is not None
    assert raised.value.run.status is RunStatus.RUNNING
    assert time.slept == [10, 10, 5]


def test_run_that_ends_with_the_time_is_no_timeout(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """The last look counts."""
    api.shows(3, 10)
    assert impatient.wait_for_run(5, timeout=10).status is RunStatus.SUCCESS


def test_timeout_leaves_the_run_alone_by_default(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """It may be somebody else's."""
    api.shows(3)
    with pytest.raises(RunTimeoutError):
        impatient.wait_for_run(5, timeout=10)
    assert {call.request.method for call in api.mock.calls} == {"GET"}


def test_timeout_cancels_on_request(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """And says so."""
    api.shows(3)
    cancel = api.mock.post(f"{RUN}cancel/", json={"data": {"id": 5, "status": 30}})
    with pytest.raises(RunTimeoutError, match=r"It was cancelled\.$"):
        impatient.wait_for_run(5, timeout=10, cancel_on_timeout=True)
    assert cancel.call_count == 1


def test_timeout_cancels_after_a_cool_down(impatient: DBTCloudClientV2, api: Cloud, time: Any) -> None:
    """The run would go on for hours."""
    api.shows(3)
    api.mock.post(f"{RUN}cancel/", status=429, headers={"Retry-After": "300"})
    api.mock.post(f"{RUN}cancel/", json={"data": {"id": 5, "status": 30}})
    with pytest.raises(RunTimeoutError, match=r"It was cancelled\.$"):
        impatient.wait_for_run(5, poll_interval=10, timeout=10, cancel_on_timeout=True)
    assert time.slept == [10, 300]


def test_failed_cancel_does_not_hide_the_timeout(impatient: DBTCloudClientV2, api: Cloud) -> None:
    """Both are told."""
    api.shows(3)
    api.mock.post(f"{RUN}cancel/", status=502)
    with pytest.raises(RunTimeoutError, match=r"timeout; .* could not be cancelled and may go on: .*502"):
        impatient.wait_for_run(5, timeout=10, cancel_on_timeout=True)
