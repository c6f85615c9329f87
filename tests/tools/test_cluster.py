"""How `make cluster` counts what became of a task."""

import dataclasses

import pendulum
import pytest
from cluster import QUICK, Count, counted, trials
from fault_stack import Trial

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus

NOON = pendulum.datetime(2026, 1, 1, 12)


def run(number: int, status: RunStatus, begun: int = 0, ended: int | None = None) -> Run:
    times = {"created_at": NOON.add(minutes=begun).isoformat()}
    if ended is not None:
        times["finished_at"] = NOON.add(minutes=ended).isoformat()
    return Run.from_api({"id": number, "status": status.value, **times})


def trial(state: str, *runs: Run, tries: int = 1) -> Trial:
    return Trial(trials(10)[0], 0, None, state, tries, None, runs)


SUCCESS, ERROR, RUNNING = RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.RUNNING


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (trial("success", run(1, SUCCESS, 0, 1)), {}),
        (trial("failed", run(1, ERROR, 0, 1), run(2, ERROR, 2, 3), tries=2), {"runs": 2}),
        (trial("success", run(1, SUCCESS, 0, 1), tries=2), {"tries_lost": 1}),
        (trial("success", run(1, SUCCESS, 0, 1), run(2, SUCCESS, 2, 3), tries=2), {"runs": 2, "twice": 1}),
        (trial("failed", run(1, ERROR, 0, 3), run(2, ERROR, 2, 3), tries=2), {"runs": 2, "twice": 1}),
        (trial("failed", run(1, SUCCESS, 0, 1)), {"wrong": 1}),
        (trial("success", run(1, ERROR, 0, 1)), {"wrong": 1}),
        (trial("failed"), {"runs": 0, "tries_lost": 1, "wrong": 1}),
        (trial("failed", run(1, RUNNING)), {"left": 1}),
    ],
    ids=[
        "its run has succeeded",
        "its runs have failed, one after the other",
        "a try was lost",
        "started again after a success",
        "started again while the first went on",
        "failed though the run has succeeded",
        "succeeded though the run has failed",
        "without a run",
        "its run goes on",
    ],
)
def test_what_became_of_a_task(one, expected):
    """Runs started needlessly, results that are not the run's, and runs that are left."""
    assert counted(one) == dataclasses.replace(Count(tasks=1, runs=1), **expected)


@pytest.mark.parametrize("name", sorted(set(QUICK) - {"API__MAXIMUM_PAGE_LIMIT"}))
def test_only_what_would_be_waited_for_is_other_than_in_the_compose_file(name):
    """All else that Airflow needs is in the file, or its containers would lack it."""
    assert name.endswith(("_TIMEOUT", "_INTERVAL", "_SEC", "_THRESHOLD"))


def test_tasks_wait_for_no_artifacts():
    """Scripted runs leave none, and a task that looked for them would hold a worker meanwhile."""
    assert all(one.described()["arguments"]["log_results"] is False for one in trials(10))


@pytest.mark.parametrize("wanted", [3, 40, 200])
def test_there_are_tasks_of_each_kind(wanted):
    """However few the runs are, some succeed, fail and are cancelled; in all as many as asked for."""
    sizes = [one.size for one in trials(wanted)]
    assert min(sizes) >= 1
    assert sum(sizes) == pytest.approx(wanted, abs=1)
