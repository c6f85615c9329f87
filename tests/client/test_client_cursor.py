"""The cursor over ended runs: nothing is told twice or left out, whatever lists show and when."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.cursor import LATEST, Cursor

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def run(run_id: int, end: float) -> Run:
    return Run(id=run_id, status=RunStatus.SUCCESS, finished_at=at(end))  # type: ignore[arg-type]


def listed(runs: list[tuple[int, int, int]], cursor: Cursor, now: int) -> list[Run]:
    """What a list shows at a time: of (id, end, lag) those whose lag has passed."""
    found = [run(run_id, end) for run_id, end, lag in runs if end + lag <= now]
    return [one for one in found if one.finished_at >= cursor.since]  # type: ignore[operator]


# Few times, so that many are equal; gaps of more than LATEST, in which nobody looks.
TIMES = st.integers(-100, 4000).map(lambda seconds: seconds // 50 * 50)
LAGS = st.integers(0, int(LATEST.total_seconds()))
RUNS = st.lists(st.tuples(TIMES, LAGS), max_size=30).map(
    lambda found: [(run_id, end, lag) for run_id, (end, lag) in enumerate(found)]
)
LOOKS = st.lists(st.tuples(st.integers(0, 4000), st.booleans()), max_size=20).map(sorted)


@given(RUNS, LOOKS)
def test_each_run_is_told_of_once(runs: list[tuple[int, int, int]], looks: list[tuple[int, bool]]) -> None:
    """In whatever order they end, with equal times, late in the list, and over restarts."""
    cursor, told = Cursor.at(START), []
    for now, restarts in [*looks, (10_000, False)]:
        if restarts:
            cursor = Cursor.restored(json.loads(json.dumps(cursor.stored())))
        cursor, new = cursor.after(listed(runs, cursor, now), at(now))
        told += [one.id for one in new]
    assert sorted(told) == [run_id for run_id, end, _ in runs if end >= 0]


@given(RUNS, st.integers(0, 4000))
def test_they_are_told_of_by_their_ends(runs: list[tuple[int, int, int]], now: int) -> None:
    """Those of one look come in the order in which they ended."""
    cursor = Cursor.at(START)
    _, new = cursor.after(reversed(listed(runs, cursor, now)), at(now))
    assert [one.finished_at for one in new] == sorted(one.finished_at for one in new)  # type: ignore[type-var]


@given(RUNS, LOOKS)
def test_a_crash_repeats_but_never_loses(
    runs: list[tuple[int, int, int]], looks: list[tuple[int, bool]]
) -> None:
    """Who goes on from an older cursor tells of everything that came after it."""
    stored = cursor = Cursor.at(START)
    told: set[int] = set()
    for now, crashes in [*looks, (10_000, False)]:
        if crashes:
            cursor = stored
        stored = cursor
        cursor, new = cursor.after(listed(runs, cursor, now), at(now))
        told |= {one.id for one in new}
    assert told == {run_id for run_id, end, _ in runs if end >= 0}


def test_what_is_kept_does_not_grow() -> None:
    """Runs that can be listed no more are forgotten."""
    cursor = Cursor.at(START)
    for second in range(0, 7200, 10):
        cursor, _ = cursor.after([run(second, second)], at(second))
    assert len(cursor.told) <= LATEST.total_seconds() / 10 + 1


@pytest.mark.parametrize("stored", [{}, {"start": "x", "until": "y", "told": []}, [1]])
def test_what_is_no_cursor_is_refused(stored: object) -> None:
    """What another release may have stored is an error of these kinds."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Cursor.restored(stored)  # type: ignore[arg-type]
