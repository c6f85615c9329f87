"""A run is started once: `RunStarter` against the emulator, crashes and lost answers included."""

import itertools
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
import requests
import responses

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    RejectedRequestError,
    RunStatus,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.marker import Marker
from airflow_provider_dbtcloud_dlt.client.starting import RunStarter, Started
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

MARKER = Marker("0123456789abcdef", 1)
OLDER = Marker(MARKER.work, 0)
OTHER = Marker("fedcba9876543210", 1)
TRIGGER = "POST .*/jobs/1000/run/"

Start = Callable[..., Started]


@pytest.fixture
def start(cloud: DBTCloudClientV2, emu: Emulator, time: Any) -> Start:
    """One try of a task: starts its run, or finds it."""

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        emu.clock.advance(seconds)

    def one_try(
        body: Mapping[str, Any] | None = None,
        *,
        look_first: bool = True,
        marker: Marker = MARKER,
        since: datetime | None = None,
        before_start: Callable[[], None] = lambda: None,
        **options: bool,
    ) -> Started:
        log = logging.getLogger("task")
        starter = RunStarter(cloud, emu.job_id, marker, since, log, sleep, before_start)
        return starter.start(
            {"cause": marker.cause("Airflow"), **(body or {})}, look_first=look_first, **options
        )

    return one_try


def _run_ids(emu: Emulator) -> list[int]:
    return [run["id"] for run in emu.runs()]


def test_first_try_only_triggers(start: Start, emu: Emulator) -> None:
    """One request: nothing can have happened before."""
    started = start(look_first=False)
    assert emu.requests == [("POST", "/api/v2/accounts/1/jobs/1000/run/")]
    assert emu.runs()[0]["trigger"]["cause"] == "[af:0123456789abcdef/1] Airflow"
    assert started.owned


def test_later_try_looks_with_one_request(start: Start, emu: Emulator) -> None:
    """Of the ordinary number of runs."""
    start()
    assert [method for method, _ in emu.requests] == ["GET", "POST"]


def test_later_try_adopts_the_active_run(
    start: Start, emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker died; dbt goes on."""
    caplog.set_level(logging.INFO, "task")
    emu.script_job(emu.job_id, seconds=60)
    first = start(look_first=False)
    again = start()
    assert (again.run.id, again.owned) == (first.run.id, True)
    assert f"Job run {first.run.id} was started by an earlier try of this task" in caplog.text
    assert len(emu.runs()) == 1


def test_later_try_takes_the_succeeded_run(start: Start, emu: Emulator) -> None:
    """Its result was never delivered."""
    first = start(look_first=False)
    again = start()
    assert (again.run.id, again.run.status) == (first.run.id, RunStatus.SUCCESS)


def test_later_try_starts_anew_after_a_failure(start: Start, emu: Emulator) -> None:
    """With the same marker."""
    emu.script_job(emu.job_id, outcome="error")
    first = start(look_first=False)
    second = start()
    assert second.run.id != first.run.id
    assert [run["trigger"]["cause"] for run in emu.runs()] == [MARKER.cause("Airflow")] * 2


def test_runs_of_others_do_not_matter(start: Start, emu: Emulator) -> None:
    """By hand, or of another task."""
    emu.script_job(emu.job_id, seconds=60)
    theirs = {emu.trigger(cause="By hand"), emu.trigger(cause=OTHER.cause("x"))}
    assert start().run.id not in theirs


def test_left_behind_run_is_cancelled(start: Start, emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Of an older epoch, before a new one is started."""
    emu.script_job(emu.job_id, seconds=60)
    left = emu.trigger(cause=OLDER.cause("x"))
    started = start()
    assert {run["id"]: run["status"] for run in emu.runs()} == {left: 30, started.run.id: 3}
    assert f"Cancelling job run {left}, left behind when this task was cleared." in caplog.text


def test_run_is_the_result_of_who_does_not_wait(start: Start, emu: Emulator) -> None:
    """In any state."""
    emu.script_job(emu.job_id, outcome="error")
    first = start(look_first=False)
    assert start(wait=False).run.id == first.run.id


def test_runs_before_the_dag_run_are_not_read(start: Start, emu: Emulator) -> None:
    """The list is newest first and ends there."""
    emu.script_job(emu.job_id, seconds=60)
    old = emu.trigger(cause=MARKER.cause("x"))
    since = datetime.fromtimestamp(emu.clock.now() / 1e6, UTC) + timedelta(seconds=1)
    emu.clock.advance(2)
    assert start(since=since).run.id != old


# --- retry_from_failure -------------------------------------------------------------------------------------


@pytest.fixture
def failed(start: Start, emu: Emulator) -> int:
    """A run of this work that failed, and can be retried."""
    emu.script_job(emu.job_id, outcome="error")
    return start(look_first=False).run.id


def test_retry_takes_up_exactly_the_failed_run(start: Start, emu: Emulator, failed: int) -> None:
    """By `/runs/{id}/retry/`."""
    emu.requests.clear()
    retry = start(retry_from_failure=True)
    assert retry.run.retrying_run_id == failed
    assert emu.requests[-1] == ("POST", f"/api/v2/accounts/1/runs/{failed}/retry/")


def test_retry_is_found_again(start: Start, emu: Emulator, failed: int) -> None:
    """Though it bears no marker."""
    emu.script_job(emu.job_id, seconds=60)
    retry = start(retry_from_failure=True)
    assert start(retry_from_failure=True).run.id == retry.run.id


def test_failure_before_a_clear_is_retried(start: Start, emu: Emulator, failed: int) -> None:
    """`retry_from_failure` looks across epochs."""
    cleared = Marker(MARKER.work, MARKER.epoch + 1)
    assert start(marker=cleared, retry_from_failure=True).run.retrying_run_id == failed


def test_refused_retry_starts_anew(
    start: Start, emu: Emulator, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says why."""
    emu.fail_next(status=400, path="/retry/", body='{"data": "RETRY_NOT_LATEST_RUN"}')
    started = start(retry_from_failure=True)
    assert started.run.retrying_run_id is None
    assert "can't be retried, starting anew. " in caplog.text
    assert "RETRY_NOT_LATEST_RUN" in caplog.text


def test_refused_retry_leaves_nothing_behind(start: Start, emu: Emulator) -> None:
    """An active run from before the task was cleared is cancelled, however this try gets its own."""
    emu.script_job(emu.job_id, seconds=60)
    left = emu.trigger(cause=OLDER.cause("x"))
    emu.script_job(emu.job_id, outcome="error")
    emu.trigger(cause=OLDER.cause("x"))
    emu.fail_next(status=400, path="/retry/", body='{"data": "RETRY_NOT_LATEST_RUN"}')
    start(retry_from_failure=True)
    assert emu.engine.run(left).status_message == "Cancelled by user."


def test_lost_answer_to_a_retry_is_looked_for(start: Start, emu: Emulator, failed: int) -> None:
    """dbt Cloud has made the run all the same."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(path="/retry/", after_effect=True)
    assert start(retry_from_failure=True).run.retrying_run_id == failed
    assert len(emu.runs()) == 2


def test_twin_that_cannot_be_cancelled_endangers_nothing(
    start: Start, emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The run that is waited for is found all the same; the log says what may go on."""
    emu.script_job(emu.job_id, seconds=60)
    kept, twin = (emu.trigger(cause=MARKER.cause("x")) for _ in range(2))
    emu.fail_next(100, path="/cancel/")
    assert start().run.id == kept
    assert f"Job run {twin} could not be cancelled and may go on." in caplog.text


def test_log_says_what_retries_what(
    start: Start, emu: Emulator, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By the numbers of both runs."""
    caplog.set_level(logging.INFO, "task")
    retry = start(retry_from_failure=True)
    assert f"Job run {failed} failed; run {retry.run.id} takes it up at its point of failure." in caplog.text


def test_log_says_why_nothing_is_retried(
    start: Start, emu: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as for a run that somebody cancelled."""
    caplog.set_level(logging.INFO, "task")
    emu.script_job(emu.job_id, seconds=60)
    first = start(look_first=False)
    emu.engine.cancel(first.run.id)
    start(retry_from_failure=True)
    assert f"Job run {first.run.id} (Cancelled) can't be retried: RETRY_NOT_FAILED_RUN." in caplog.text


# --- nothing may be started any more ------------------------------------------------------------------------


class TooLateError(Exception):
    """What the one who starts raises."""


def too_late() -> None:
    raise TooLateError


def too_late_at_the_second_call() -> Callable[[], None]:
    calls = itertools.count()
    return lambda: too_late() if next(calls) else None


def test_nothing_is_started_when_it_is_too_late(start: Start, emu: Emulator) -> None:
    """Whoever asked for the run is gone."""
    with pytest.raises(TooLateError):
        start(look_first=False, before_start=too_late)
    assert emu.requests == []


def test_nothing_is_retried_when_it_is_too_late(start: Start, emu: Emulator, failed: int) -> None:
    """Likewise."""
    with pytest.raises(TooLateError):
        start(retry_from_failure=True, before_start=too_late)
    assert _run_ids(emu) == [failed]


def test_nothing_is_cancelled_when_it_is_too_late(start: Start, emu: Emulator) -> None:
    """What looks left behind by an older epoch may be a newer one's."""
    emu.script_job(emu.job_id, seconds=60)
    emu.trigger(cause=OLDER.cause("x"))
    with pytest.raises(TooLateError):
        start(before_start=too_late)
    assert emu.runs()[0]["status_humanized"] == "Running"


def test_lost_trigger_is_not_sent_again_when_it_is_too_late(start: Start, emu: Emulator) -> None:
    """It may have become so in the minute of looking."""
    emu.drop_next(path=TRIGGER)
    with pytest.raises(TooLateError):
        start(look_first=False, before_start=too_late_at_the_second_call())
    assert emu.runs() == []


# --- reuse_existing_run -------------------------------------------------------------------------------------


@pytest.fixture
def theirs(emu: Emulator) -> int:
    """An active run that somebody else started, with overrides."""
    emu.script_job(emu.job_id, seconds=600)
    return emu.trigger(
        cause="By hand", schema_override="pr_1", steps_override=["dbt run"], threads_override=4
    )


WANTED = {"schema_override": "pr_1", "steps_override": ["dbt run"], "threads_override": 4}


def test_equal_run_is_joined_and_not_owned(
    start: Start, theirs: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not ours is never cancelled."""
    caplog.set_level(logging.INFO, "task")
    joined = start(WANTED, look_first=False, reuse_existing_run=True)
    assert (joined.run.id, joined.owned) == (theirs, False)
    assert f"Joining the active job run {theirs} (cause: By hand)." in caplog.text


def test_rendered_overrides_are_equal(start: Start, theirs: int) -> None:
    """A template's number is text, a tuple of steps a list."""
    body = {**WANTED, "steps_override": ("dbt run",), "threads_override": "4"}
    assert start(body, look_first=False, reuse_existing_run=True).run.id == theirs


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_override": "pr_2"},
        {"schema_override": None},
        {"steps_override": ["dbt run", "dbt test"]},
        {"git_sha": "abc"},
        {"git_branch": "main"},
        {"threads_override": 8},
        {"generate_docs_override": True},
    ],
)
def test_run_with_other_overrides_is_not_joined(start: Start, theirs: int, changes: dict[str, Any]) -> None:
    """It does not do what this task wants."""
    started = start({**WANTED, **changes}, look_first=False, reuse_existing_run=True)
    assert started.run.id != theirs
    assert started.owned


def test_log_says_why_a_run_is_not_joined(
    start: Start, theirs: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By the names of the overrides."""
    caplog.set_level(logging.INFO, "task")
    start({**WANTED, "schema_override": "pr_2", "git_sha": "a"}, look_first=False, reuse_existing_run=True)
    assert f"Not joining job run {theirs}: it has another git_sha and schema_override" in caplog.text


def test_ended_run_is_not_joined(start: Start, emu: Emulator, theirs: int) -> None:
    """Only active ones are."""
    emu.clock.advance(601)
    assert start(WANTED, look_first=False, reuse_existing_run=True).run.id != theirs


def test_own_run_is_joined_as_owned(start: Start, emu: Emulator) -> None:
    """An earlier try started it."""
    emu.script_job(emu.job_id, seconds=60)
    mine = start(look_first=False)
    again = start(look_first=False, reuse_existing_run=True)
    assert (again.run.id, again.owned) == (mine.run.id, True)


# --- lost answers -------------------------------------------------------------------------------------------


def test_lost_answer_is_found_again(start: Start, emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """The connection broke after the run was started: it is not started twice."""
    caplog.set_level(logging.INFO, "task")
    emu.script_job(emu.job_id, seconds=60)
    emu.drop_next(path=TRIGGER, after_effect=True)
    started = start(look_first=False)
    assert _run_ids(emu) == [started.run.id]
    assert f"Job run {started.run.id} had been started all the same" in caplog.text


@pytest.mark.parametrize("outcome", ["success", "error"])
def test_lost_run_that_has_ended_is_found(start: Start, emu: Emulator, outcome: Any) -> None:
    """A fast job is over before anybody looks."""
    emu.script_job(emu.job_id, outcome=outcome)
    emu.drop_next(path=TRIGGER, after_effect=True)
    assert start(look_first=False).run.id == _run_ids(emu)[0]


def test_earlier_failure_is_not_taken_for_the_lost_run(start: Start, emu: Emulator, failed: int) -> None:
    """It was known before the trigger."""
    emu.drop_next(path=TRIGGER, after_effect=True)
    assert start().run.id not in (failed, None)
    assert len(emu.runs()) == 2


def test_run_that_is_listed_late_is_found(start: Start, emu: Emulator, time: Any) -> None:
    """Looking is repeated, through failures too."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(path=TRIGGER, after_effect=True)
    emu.fail_next(path="GET .*/runs/", body='{"data": []}', status=200, n=2)
    emu.fail_next(path="GET .*/runs/", status=400)
    assert start(look_first=False).run.id == _run_ids(emu)[0]
    assert time.slept[:4] == [1.0, 2.0, 4.0, 8.0]


def test_lost_request_is_sent_once_more_after_a_minute(start: Start, emu: Emulator, time: Any) -> None:
    """No run has appeared: it was the request that was lost."""
    emu.drop_next(path=TRIGGER)
    assert [start(look_first=False).run.id] == _run_ids(emu)
    assert sum(time.slept) == 60


def test_request_that_is_lost_twice_is_an_error(start: Start, emu: Emulator, time: Any) -> None:
    """The next try of the task starts it, if there is one."""
    emu.drop_next(2, path=TRIGGER)
    with pytest.raises(UnreachableError):
        start(look_first=False)
    assert sum(time.slept) == 120
    assert emu.runs() == []


def test_second_trigger_whose_answer_is_lost_is_found(start: Start, emu: Emulator) -> None:
    """First the request is lost, then the answer: one run."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(path=TRIGGER)
    emu.drop_next(path=TRIGGER, after_effect=True)
    assert [start(look_first=False).run.id] == _run_ids(emu)


@pytest.fixture
def twins(start: Start, emu: Emulator) -> tuple[Started, list[int]]:
    """The answer is lost, and for a minute no list shows the run: a second one is started."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(path=TRIGGER, after_effect=True)
    emu.fail_next(path="GET .*/runs/", body='{"data": []}', status=200, n=6)
    return start(look_first=False), _run_ids(emu)


def test_older_of_two_active_runs_stays(twins: tuple[Started, list[int]], emu: Emulator) -> None:
    """The other is cancelled."""
    started, (older, _) = twins
    assert started.run.id == older
    assert [run["status_humanized"] for run in emu.runs()] == ["Running", "Cancelled"]


def test_younger_run_is_cancelled_though_both_answers_were_lost(start: Start, emu: Emulator) -> None:
    """For a minute no list shows the first; then it shows both."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(2, path=TRIGGER, after_effect=True)
    emu.fail_next(path="GET .*/runs/", body='{"data": []}', status=200, n=6)
    started = start(look_first=False)
    assert started.run.id == _run_ids(emu)[0]
    assert [run["status_humanized"] for run in emu.runs()] == ["Running", "Cancelled"]


def test_younger_run_is_cancelled_though_it_is_not_listed_yet(start: Start, emu: Emulator) -> None:
    """Its trigger was answered: there is no doubt that it is there."""
    emu.script_job(emu.job_id, seconds=600)
    first = emu.trigger(cause=MARKER.cause("Airflow"))
    listed = json.dumps({"data": emu.runs()})
    emu.drop_next(path=TRIGGER)
    emu.fail_next(path="GET .*/runs/", body='{"data": []}', status=200, n=6)
    emu.fail_next(path="GET .*/runs/", body=listed, status=200)
    assert start(look_first=False).run.id == first
    assert [run["status_humanized"] for run in emu.runs()] == ["Running", "Cancelled"]


def test_later_try_cancels_the_younger_of_two_active_runs(start: Start, emu: Emulator) -> None:
    """A worker that died between its two triggers has left both."""
    emu.script_job(emu.job_id, seconds=600)
    older, younger = (emu.trigger(cause=MARKER.cause("Airflow")) for _ in range(2))
    assert start().run.id == older
    assert emu.engine.run(younger).status_message == "Cancelled by user."


def test_html_502_may_have_started_a_run(start: Start, emu: Emulator) -> None:
    """Nothing was started here; it was looked for before the second trigger, and once after it."""
    emu.fail_next(path=TRIGGER, status=502)
    start(look_first=False)
    assert [method for method, _ in emu.requests] == ["POST", *["GET"] * 6, "POST", "GET"]


# --- the rate limit -----------------------------------------------------------------------------------------

COOL_DOWN = {"Retry-After": "300"}


def test_cool_down_is_waited_for(
    start: Start, emu: Emulator, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as dbt documents it; the log says what is waited for."""
    emu.fail_next(status=429, path=TRIGGER, headers=COOL_DOWN)
    assert [start(look_first=False).run.id] == _run_ids(emu)
    assert time.slept == [300.0]
    assert "limits the rate of requests (429 for POST /accounts/1/jobs/1000/run/)" in caplog.text
    assert "Waiting 300 s for that to pass." in caplog.text


@pytest.mark.parametrize("path", ["GET .*/runs/", "/retry/"])
def test_cool_down_is_waited_for_by_a_later_try(
    start: Start, emu: Emulator, time: Any, failed: int, path: str
) -> None:
    """When it looks for the first one's run, and when it retries that."""
    emu.fail_next(status=429, path=path, headers=COOL_DOWN)
    assert start(retry_from_failure=True).run.retrying_run_id == failed
    assert time.slept == [300.0]


@pytest.mark.parametrize(
    ("asked", "slept"), [("300", [300]), ("3600", [300]), ("200", [200, 100])], ids=["all", "more", "twice"]
)
def test_cool_down_that_does_not_end_is_an_error(
    start: Start, emu: Emulator, time: Any, asked: str, slept: list[float]
) -> None:
    """It is waited for once in all, whatever is asked for."""
    emu.fail_next(100, status=429, path=TRIGGER, headers={"Retry-After": asked})
    with pytest.raises(RateLimitError):
        start(look_first=False)
    assert time.slept == slept
    assert emu.runs() == []


def test_cool_down_of_unknown_length_is_the_documented_one(start: Start, emu: Emulator, time: Any) -> None:
    """After the usual repetitions."""
    emu.fail_next(100, status=429, path=TRIGGER)
    with pytest.raises(RateLimitError):
        start(look_first=False)
    assert max(time.slept) == 300
    assert sum(time.slept) <= 60 + 300 + 60


def test_nothing_is_started_when_it_is_too_late_after_the_cool_down(start: Start, emu: Emulator) -> None:
    """Airflow may have given the task up in five minutes."""
    emu.fail_next(status=429, path=TRIGGER, headers=COOL_DOWN)
    with pytest.raises(TooLateError):
        start(look_first=False, before_start=too_late_at_the_second_call())
    assert emu.runs() == []


def test_lost_run_that_appears_in_the_cool_down_is_found(start: Start, emu: Emulator) -> None:
    """No list shows it for a minute, and the second trigger is refused: there is no third."""
    emu.script_job(emu.job_id, seconds=600)
    emu.drop_next(path=TRIGGER, after_effect=True)
    emu.fail_next(path="GET .*/runs/", body='{"data": []}', status=200, n=6)
    emu.fail_next(status=429, path=TRIGGER, headers=COOL_DOWN)
    assert [start(look_first=False).run.id] == _run_ids(emu)
    assert sum(path.endswith("/run/") for _, path in emu.requests) == 2


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "kind"), [(400, RejectedRequestError), (404, NotFoundError)])
def test_refusal_is_not_looked_for(start: Start, emu: Emulator, status: int, kind: type[Exception]) -> None:
    """dbt Cloud said no: there is no run."""
    emu.fail_next(path=TRIGGER, status=status)
    with pytest.raises(kind):
        start(look_first=False)
    assert len(emu.requests) == 1


def test_bad_body_is_refused_unsent(start: Start, emu: Emulator) -> None:
    """Before anything is asked."""
    with pytest.raises(InvalidRequestError, match="threads_override"):
        start({"threads_override": "many"}, look_first=False)
    assert emu.requests == []


def test_unsent_trigger_is_not_looked_for(time: Any) -> None:
    """No connection, no run, no minute of looking."""
    client = DBTCloudClientV2("t", 1, "https://dbt.test/api", retry_budget=0, sleep=time.sleep)
    starter = RunStarter(client, 1, MARKER, None, logging.getLogger("task"), time.sleep)
    with responses.RequestsMock() as server:
        server.post(
            "https://dbt.test/api/v2/accounts/1/jobs/1/run/",
            body=requests.exceptions.ConnectTimeout("x"),
        )
        with pytest.raises(UnreachableError):
            starter.start({"cause": "c"}, look_first=False)
    assert time.slept == []


def test_body_is_made_only_for_a_run_that_is_to_be_started(
    start: Start, cloud: DBTCloudClientV2, emu: Emulator
) -> None:
    """What an earlier try has started is found without it; it may cost requests, or refuse to be made."""
    run = start(look_first=False).run
    starter = RunStarter(cloud, emu.job_id, MARKER, None, logging.getLogger("task"))

    def body() -> NoReturn:
        raise AssertionError("It was made.")

    assert starter.start(body, look_first=True).run.id == run.id
