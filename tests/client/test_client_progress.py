"""What is told of a run while it goes on."""

from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus, RunStep, RunTrigger
from airflow_provider_dbtcloud_dlt.client.cadence import Habit
from airflow_provider_dbtcloud_dlt.client.progress import Progress

START = 1_000_000.0
PENDING, RUNNING, SUCCESS, ERROR, CANCELLED = (RunStatus(number) for number in (1, 3, 10, 20, 30))


def at(seconds: float | None) -> pendulum.DateTime | None:
    return None if seconds is None else pendulum.from_timestamp(START + seconds)


def step(
    index: int | None, status: RunStatus, began: float | None = None, ended: float | None = None, **more: Any
) -> RunStep:
    values = {"name": f"dbt build {index}", "started_at": at(began), "finished_at": at(ended), **more}
    return RunStep(id=100 + (index or 0), index=index, status=status, **values)


def run(*steps: RunStep, began: float | None = 0.0, **more: Any) -> Run:
    values = {"status": RUNNING, "created_at": at(-20), "started_at": at(began), **more}
    return Run(id=7, run_steps=steps, **values)


def told(*seen: tuple[float, Run], habit: Habit | None = None) -> list[str]:
    """All that is told of a run that is seen at these times."""
    progress = Progress()
    return [line for seconds, one in seen for line in progress.lines(one, START + seconds, habit)]


# --- steps -----------------------------------------------------------------------------------------------


def test_step_is_told_when_it_begins_and_when_it_ends() -> None:
    """Each once, with the time that it has taken, and then how long the run has."""
    begun, ended = run(step(1, RUNNING, 10)), run(step(1, SUCCESS, 10, 45))
    assert told((30, begun), (60, begun), (90, ended), (120, ended)) == [
        "Step 1 of job run 7, 'dbt build 1', is running for 0:00:20.",
        "Job run 7 has run for 0:00:30, step 1 for 0:00:20.",
        "Step 1 of job run 7, 'dbt build 1', ended as Success after 0:00:35.",
        "Job run 7 has run for 0:01:30.",
    ]


def test_step_that_began_and_ended_unseen_is_one_line() -> None:
    """Its end says all."""
    lines = told((30, run()), (60, run(step(1, SUCCESS, 31, 40))))
    assert [line for line in lines if "Step 1" in line] == [
        "Step 1 of job run 7, 'dbt build 1', ended as Success after 0:00:09."
    ]


def test_failed_step_is_told_as_such() -> None:
    """Also of a run that has ended with it, whose times are the task's to tell."""
    ended = run(step(1, ERROR, 0, 20), step(2, CANCELLED), status=ERROR)
    assert told((30, ended)) == ["Step 1 of job run 7, 'dbt build 1', ended as Error after 0:00:20."]


def test_step_that_is_skipped_is_not_told() -> None:
    """One that never began, whether it still may or not."""
    lines = told((30, run(step(1, PENDING), step(2, CANCELLED), step(3, RUNNING, 5))))
    assert [line[:6] for line in lines] == ["Step 3", "Job ru"]


def test_step_without_times_is_told() -> None:
    """Without its duration."""
    lines = told((30, run(step(1, RUNNING))), (60, run(step(1, SUCCESS, logs="done"))))
    assert lines[0] == "Step 1 of job run 7, 'dbt build 1', is running."
    assert lines[2] == "Step 1 of job run 7, 'dbt build 1', ended as Success."


def test_step_without_number_is_told_by_its_place() -> None:
    """The API's index is optional here."""
    assert told((30, run(step(None, SUCCESS, 1, 2), step(None, RUNNING, 3))))[1].startswith("Step 2 of")


def test_step_that_appears_late_is_told() -> None:
    """The API may show a step only when it begins, or one before it later."""
    lines = told((30, run(step(2, RUNNING, 5))), (60, run(step(1, SUCCESS, 1, 5), step(2, RUNNING, 5))))
    assert lines[2] == "Step 1 of job run 7, 'dbt build 1', ended as Success after 0:00:04."


def test_after_a_restart_what_ended_long_ago_is_summed_up() -> None:
    """Only what is new, or has just ended, is told as if for the first time."""
    steps = [step(number, SUCCESS, number * 10, number * 10 + 10) for number in range(1, 5)]
    lines = told((600, run(*steps, step(5, SUCCESS, 50, 590), step(6, RUNNING, 590))))
    assert [line[:12] for line in lines] == ["4 steps of j", "Step 5 of jo", "Step 6 of jo", "Job run 7 ha"]
    assert lines[0] == "4 steps of job run 7 had ended before, the last of them step 4."


def test_name_stays_on_its_line() -> None:
    """Whatever somebody calls a step, it fakes no line of the log, and fills none."""
    (line, _) = told((30, run(step(1, RUNNING, 5, name="x\nJob run 7 has failed" + "y" * 10_000))))
    assert "\n" not in line
    assert len(line) < 300


def test_silence_is_broken_after_five_minutes() -> None:
    """A long step is heard of now and then."""
    going = run(step(1, RUNNING, 0))
    lines = told(*((float(seconds), going) for seconds in range(30, 1000, 60)))
    assert [line for line in lines if line.startswith("Job run")] == [
        "Job run 7 has run for 0:00:30, step 1 for 0:00:30.",
        "Job run 7 has run for 0:05:30, step 1 for 0:05:30.",
        "Job run 7 has run for 0:10:30, step 1 for 0:10:30.",
        "Job run 7 has run for 0:15:30, step 1 for 0:15:30.",
    ]


def test_queued_run_says_for_how_long() -> None:
    """It has no steps yet."""
    assert told((10, run(began=None, status=PENDING))) == ["Job run 7 is queued, for 0:00:30 by now."]


# --- the estimate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elapsed", "said"),
    [
        (100, "; by its job's earlier runs about 0:15:00 are left."),
        (1010, "; by its job's earlier runs it is about to end."),
        (1500, "; its job's earlier runs took about 0:16:40."),
    ],
)
def test_estimate_is_by_earlier_runs(elapsed: float, said: str) -> None:
    """What is left; when that is up, that it is."""
    (line,) = told((elapsed, run()), habit=Habit(900, 1100))
    assert line.endswith(said)


@pytest.mark.parametrize(
    "odd",
    [
        {"trigger": RunTrigger(steps_override=("dbt run --select x",))},
        {"retrying_run_id": 6},
        {"started_at": None},
    ],
)
def test_run_that_does_something_else_has_no_estimate(odd: dict[str, Any]) -> None:
    """Earlier runs tell nothing of one with other steps, or that takes up a failed one, or still waits."""
    (line,) = told((100, run(**odd)), habit=Habit(900, 1100))
    assert "earlier" not in line


def test_without_a_habit_there_is_no_estimate() -> None:
    """It is told how long the run has gone on, and no more."""
    assert told((100, run())) == ["Job run 7 has run for 0:01:40."]


# --- whatever comes --------------------------------------------------------------------------------------

times = st.none() | st.floats(-1e6, 1e6)
steps = st.lists(
    st.builds(
        step,
        st.none() | st.integers(-3, 400),
        st.sampled_from([PENDING, RUNNING, SUCCESS, ERROR, CANCELLED, RunStatus(0), RunStatus(77)]),
        times,
        times,
        name=st.none() | st.text(max_size=20),
        duration=st.none() | st.timedeltas(),
    ),
    max_size=8,
)
runs = st.builds(
    lambda all_steps, **more: run(*all_steps, **more),
    steps,
    began=times,
    status=st.sampled_from([PENDING, RUNNING, SUCCESS, ERROR, CANCELLED, RunStatus(77)]),
)


@given(
    seen=st.lists(st.tuples(st.floats(-1e6, 1e6), runs), max_size=6),
    habit=st.none() | st.builds(Habit, st.floats(0, 1e6), st.floats(0, 1e6)),
)
def test_whatever_is_seen_can_be_told(seen: list[tuple[float, Run]], habit: Habit | None) -> None:
    """However odd the steps and times: lines, each of one line."""
    assert all("\n" not in line for line in told(*seen, habit=habit))


@given(
    lasts=st.lists(st.floats(0.1, 400), min_size=1, max_size=8),
    looks=st.lists(st.floats(0, 3000), min_size=1, max_size=30).map(sorted),
    shows_pending=st.booleans(),
)
def test_each_beginning_and_end_is_told_once(
    lasts: list[float], looks: list[float], shows_pending: bool
) -> None:
    """Whenever one looks: no line of a step comes twice, and what has ended by the last look was told."""

    def seen_at(now: float) -> Run:
        steps, began = [], 0.0
        for index, seconds in enumerate(lasts, 1):
            ended = began + seconds
            if ended <= now:
                steps.append(step(index, SUCCESS, began, ended))
            elif began <= now:
                steps.append(step(index, RUNNING, began))
            elif shows_pending:
                steps.append(step(index, PENDING))
            began = ended
        return run(*steps)

    lines = told(*((now, seen_at(now)) for now in looks))
    numbers = [
        line.split()[1] + (" ended" if "ended as" in line else "") for line in lines if line[:5] == "Step "
    ]
    assert len(numbers) == len(set(numbers))
    ended = sum(one.status is SUCCESS for one in seen_at(looks[-1]).run_steps)
    summed = sum(int(line.split()[0]) for line in lines if "had ended before" in line)
    assert summed + sum(number.endswith("ended") for number in numbers) == ended
