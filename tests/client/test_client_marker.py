"""Who started a run, and what a later try does with it: design's table row by row, and in general."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.client.marker import Adopt, Marker, Retry, Start, decide, runs_of

MakeRun = Callable[..., Run]
MARKER = Marker("0123456789abcdef", 2)
OLDER = Marker(MARKER.work, 1)
OTHER = Marker("fedcba9876543210", 2)
TASK: dict[str, Any] = {
    "deployment": "prod",
    "dag_id": "elt",
    "run_id": "scheduled__2026",
    "task_id": "transform",
    "map_index": -1,
    "epoch": 0,
}
markers = st.builds(
    Marker,
    st.text("0123456789abcdef", min_size=16, max_size=16),
    st.integers(0, 999_999_999),
)


# --- the marker ---------------------------------------------------------------------------------------------


@given(markers, st.text())
def test_cause_tells_its_marker(marker: Marker, reason: str) -> None:
    """Whatever the reason: the cause fits into 255 characters and the marker is read back from it."""
    cause = marker.cause(reason)
    assert len(cause) <= 255
    assert Marker.of(Run.from_api({"id": 1, "trigger": {"cause": cause}})) == marker


@given(markers, st.text(min_size=1).map(str.strip))
def test_reason_that_fits_is_kept(marker: Marker, reason: str) -> None:
    """Up to `reason_length` characters."""
    fitting = reason[: marker.reason_length].rstrip()
    assert marker.cause(fitting).removeprefix(str(marker)).strip() == fitting


def test_marker_looks_as_designed() -> None:
    """People see it in dbt Cloud."""
    assert MARKER.cause("Triggered by Airflow") == "[af:0123456789abcdef/2] Triggered by Airflow"


@pytest.mark.parametrize(
    "cause",
    [None, "", "Triggered via API", "x [af:0123456789abcdef/2]", "[af:0123456789abcdeg/2] x"]
    + ["[af:0123456789abcdef] x", "[af:0123/2] x", "[AF:0123456789abcdef/2]"],
)
def test_cause_without_marker_is_nobodys(cause: str | None, make_run: MakeRun) -> None:
    """Only a marker at its begin counts."""
    assert Marker.of(make_run(cause=cause)) is None


def test_same_task_has_the_same_marker() -> None:
    """In every process."""
    assert Marker.for_task(**TASK) == Marker.for_task(**TASK)
    assert Marker.for_task(**TASK).work == "a2d7dbc9af9244e6"


def test_epoch_is_no_part_of_the_work() -> None:
    """A cleared task is the same work."""
    assert Marker.for_task(**{**TASK, "epoch": 3}) == Marker(Marker.for_task(**TASK).work, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deployment", "staging"),
        ("dag_id", "other"),
        ("run_id", "manual__2026"),
        ("task_id", "transform2"),
        ("map_index", 0),
    ],
)
def test_work_differs_when_a_part_differs(name: str, value: object) -> None:
    """Each part of a task instance's name counts."""
    assert Marker.for_task(**{**TASK, name: value}).work != Marker.for_task(**TASK).work


names = st.text("ab.:/_-", max_size=4)
parts = st.tuples(names, names, names, names, st.integers(-1, 3))


@given(parts, parts)
def test_work_is_the_same_only_for_the_same_parts(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Nothing slides from one part into the next."""

    def work(values: tuple[Any, ...]) -> str:
        names = ("deployment", "dag_id", "run_id", "task_id", "map_index")
        return Marker.for_task(**dict(zip(names, values, strict=True)), epoch=0).work

    assert (work(one) == work(other)) == (one == other)


# --- whose run is it ----------------------------------------------------------------------------------------


def test_runs_of_are_newest_first(make_run: MakeRun) -> None:
    """With their epochs; runs of others are left out."""
    runs = [
        make_run(3, cause=str(MARKER)),
        make_run(9, cause=str(OLDER)),
        make_run(4, cause=str(OTHER)),
        make_run(5),
    ]
    assert [(epoch, run.id) for epoch, run in runs_of(MARKER, runs)] == [(1, 9), (2, 3)]


def test_retry_belongs_to_the_run_that_it_retries(make_run: MakeRun) -> None:
    """It bears no marker of its own; neither does the retry of a retry."""
    runs = [
        make_run(3, 20, cause=str(MARKER)),
        make_run(4, 20, cause="Retry", retrying_run_id=3),
        make_run(5, 3, retrying_run_id=4),
        make_run(6, 3, retrying_run_id=999),
    ]
    assert [run.id for _, run in runs_of(MARKER, runs)] == [5, 4, 3]


@pytest.mark.parametrize("pairs", [[(3, 3)], [(3, 4), (4, 3)], [(3, 4), (4, 5), (5, 4)]])
def test_circles_of_retries_do_not_hang(pairs: list[tuple[int, int]], make_run: MakeRun) -> None:
    """Though no API should answer so."""
    assert runs_of(MARKER, [make_run(id, 3, retrying_run_id=other) for id, other in pairs]) == []


# --- design's table -----------------------------------------------------------------------------------------


def test_no_run_of_this_work_is_started(make_run: MakeRun) -> None:
    """Row 1; runs of others do not matter."""
    assert decide(MARKER, [make_run(1, 3, cause=str(OTHER)), make_run(2, 3)]) == Start()


@pytest.mark.parametrize("status", [1, 2, 3, 42])
def test_active_run_is_adopted(status: int, make_run: MakeRun) -> None:
    """Row 2; an unknown status counts as active."""
    run = make_run(1, status, cause=str(MARKER))
    assert decide(MARKER, [run]) == Adopt(run)


def test_succeeded_run_is_taken(make_run: MakeRun) -> None:
    """Row 3: had its result been delivered, there would be no later try."""
    run = make_run(1, 10, cause=str(MARKER))
    assert decide(MARKER, [run]) == Adopt(run)


@pytest.mark.parametrize("status", [20, 30])
def test_failed_run_is_started_anew(status: int, make_run: MakeRun) -> None:
    """Row 4, without `retry_from_failure`."""
    assert decide(MARKER, [make_run(1, status, cause=str(MARKER), can_retry=True)]) == Start()


@pytest.mark.parametrize("status", [20, 30])
def test_failed_run_is_retried(status: int, make_run: MakeRun) -> None:
    """Row 4, with it, where the API allows it."""
    run = make_run(1, status, cause=str(MARKER), can_retry=True)
    assert decide(MARKER, [run], retry_from_failure=True) == Retry(run)


@pytest.mark.parametrize("can_retry", [False, None])
def test_run_that_cannot_be_retried_is_started_anew(can_retry: bool | None, make_run: MakeRun) -> None:
    """Row 4: the API says so."""
    run = make_run(1, 20, cause=str(MARKER), can_retry=can_retry)
    assert isinstance(decide(MARKER, [run], retry_from_failure=True), Start)


@pytest.mark.parametrize(
    ("status", "fields", "why"),
    [
        (30, {"retry_not_supported_reason": "X"}, "Job run 1 (Cancelled) can't be retried: X."),
        (20, {}, "Job run 1 (Error) can't be retried: dbt Cloud does not say why."),
        (3, {}, "Job run 1 (Running) can't be retried: it had not ended when this task was cleared."),
    ],
)
def test_start_says_why_it_is_no_retry(
    status: int, fields: dict[str, Any], why: str, make_run: MakeRun
) -> None:
    """Though `retry_from_failure` asks for one."""
    run = make_run(1, status, cause=str(OLDER), can_retry=False, **fields)
    decision = decide(MARKER, [run], retry_from_failure=True)
    assert isinstance(decision, Start)
    assert decision.no_retry == why


def test_start_says_that_there_is_nothing_to_retry(make_run: MakeRun) -> None:
    """Only runs of others."""
    decision = decide(MARKER, [make_run(1, 20, cause=str(OTHER), can_retry=True)], retry_from_failure=True)
    assert decision == Start(no_retry="This task has no earlier job run that could be retried.")


def test_retry_is_adopted(make_run: MakeRun) -> None:
    """Of a run of this epoch, made by an earlier try."""
    retry = make_run(2, 3, retrying_run_id=1)
    runs = [retry, make_run(1, 20, cause=str(MARKER), can_retry=True)]
    assert decide(MARKER, runs, retry_from_failure=True) == Adopt(retry)


@pytest.mark.parametrize("status", [1, 3, 10, 20, 30, 42])
def test_run_is_the_result_of_who_does_not_wait(status: int, make_run: MakeRun) -> None:
    """Row 5: any state."""
    run = make_run(1, status, cause=str(MARKER), can_retry=True)
    assert decide(MARKER, [run], wait=False, retry_from_failure=True) == Adopt(run)


def test_active_run_of_an_older_epoch_is_cancelled(make_run: MakeRun) -> None:
    """Row 6: cleared while deferred; what has ended is left alone."""
    left, ended = make_run(2, 3, cause=str(OLDER)), make_run(1, 20, cause=str(OLDER))
    assert decide(MARKER, [left, ended]) == Start(cancel=(left,))


def test_success_of_an_older_epoch_is_not_taken(make_run: MakeRun) -> None:
    """Whoever clears a task wants it to run again."""
    assert decide(MARKER, [make_run(1, 10, cause=str(OLDER))]) == Start()


def test_failure_of_an_older_epoch_is_retried(make_run: MakeRun) -> None:
    """`retry_from_failure` looks across epochs."""
    run = make_run(1, 20, cause=str(OLDER), can_retry=True)
    assert decide(MARKER, [run], retry_from_failure=True) == Retry(run)


def test_retry_of_an_older_epochs_run_is_adopted(make_run: MakeRun) -> None:
    """It was made by an earlier try of this epoch, but bears the marker of the run that it retries."""
    retry = make_run(2, 3, retrying_run_id=1)
    runs = [retry, make_run(1, 20, cause=str(OLDER), can_retry=False)]
    assert decide(MARKER, runs, retry_from_failure=True) == Adopt(retry)


@pytest.mark.parametrize("newer", [20, 30, 3])
@pytest.mark.parametrize("older", [3, 10])
def test_older_twin_is_adopted(newer: int, older: int, make_run: MakeRun) -> None:
    """Of two runs of one epoch the newer is the one that was cancelled, or will be."""
    twin = make_run(1, older, cause=str(MARKER))
    other = make_run(2, newer, cause=str(MARKER))
    expected = other if (newer, older) == (3, 10) else twin
    decision = decide(MARKER, [other, twin], retry_from_failure=True)
    assert isinstance(decision, Adopt)
    assert decision.run == expected


def test_younger_active_twin_is_cancelled(make_run: MakeRun) -> None:
    """One run is enough; whoever looks decides the same."""
    oldest, *younger = (make_run(number, 3, cause=str(MARKER)) for number in (1, 2, 3))
    assert decide(MARKER, [oldest, *younger]) == Adopt(oldest, cancel=tuple(reversed(younger)))


@pytest.mark.parametrize("status", [3, 10])
@pytest.mark.parametrize("wait", [True, False])
def test_older_epochs_run_does_not_go_on_beside_this_ones(status: int, wait: bool, make_run: MakeRun) -> None:
    """Its trigger was under way for so long that the task was cleared, and had another run, by then."""
    mine, late = make_run(1, status, cause=str(MARKER)), make_run(2, 3, cause=str(OLDER))
    assert decide(MARKER, [late, mine], wait=wait) == Adopt(mine, cancel=(late,))


def test_older_epochs_run_does_not_go_on_beside_a_retry(make_run: MakeRun) -> None:
    """Of two runs of a lost trigger the younger was cancelled; then the task was cleared."""
    left, twin = make_run(1, 3, cause=str(OLDER)), make_run(2, 30, cause=str(OLDER), can_retry=True)
    assert decide(MARKER, [twin, left], retry_from_failure=True) == Retry(twin, cancel=(left,))


@pytest.mark.parametrize("status", [3, 20])
def test_active_retry_is_adopted_though_a_run_is_newer(status: int, make_run: MakeRun) -> None:
    """An older epoch's trigger took effect late: that is no reason to leave the retry, or to make another."""
    failed = make_run(1, 20, cause=str(OLDER))
    retry = make_run(2, 3, retrying_run_id=1)
    late = make_run(3, status, cause=str(OLDER), can_retry=True)
    cancel = (late,) if status == 3 else ()
    assert decide(MARKER, [late, retry, failed], retry_from_failure=True) == Adopt(retry, cancel=cancel)


def test_ended_retry_of_an_older_epochs_run_is_not_taken(make_run: MakeRun) -> None:
    """Nothing tells whether this epoch made it and died, or the older one did: a cleared task runs again."""
    runs = [make_run(2, 10, retrying_run_id=1), make_run(1, 20, cause=str(OLDER))]
    assert isinstance(decide(MARKER, runs, retry_from_failure=True), Start)


runs_strategy = st.lists(
    st.tuples(
        st.sampled_from([1, 3, 10, 20, 30, 42]),
        st.sampled_from([str(MARKER), str(OLDER), str(OTHER), "By hand", None]),
        st.none() | st.integers(1, 8),
        st.none() | st.booleans(),
    ),
    max_size=8,
)


@given(runs_strategy, st.booleans(), st.booleans(), st.randoms())
def test_decisions_are_safe(
    described: list[tuple[int, str | None, int | None, bool | None]],
    wait: bool,
    retry: bool,
    random: Any,
) -> None:
    """Over any runs in any order: others' are left alone, and none is started beside an active one."""
    runs = [
        Run.from_api(
            {
                "id": number,
                "status": status,
                "trigger": {"cause": cause},
                "retrying_run_id": retrying,
                "can_retry": can_retry,
            }
        )
        for number, (status, cause, retrying, can_retry) in enumerate(described, start=1)
    ]
    ours = {run.id: epoch for epoch, run in runs_of(MARKER, runs)}
    active = [run for run in runs if run.id in ours and not run.is_terminal]
    decision = decide(MARKER, runs, wait=wait, retry_from_failure=retry)
    adopted = [decision.run] if isinstance(decision, Adopt) else []
    assert set(decision.cancel) == set(active) - set(adopted)
    if isinstance(decision, Start):
        assert bool(decision.no_retry) == retry
    if isinstance(decision, Adopt):
        assert ours[decision.run.id] == MARKER.epoch or decision.run.retrying_run_id is not None
        assert not wait or decision.run.status not in (20, 30)
        twins = [run for run in decision.cancel if ours[run.id] == MARKER.epoch]
        assert all(run.id > decision.run.id for run in twins)
    else:
        assert all(ours[run.id] != MARKER.epoch for run in active)
    if isinstance(decision, Retry):
        assert retry
        assert decision.run.id in ours
        assert decision.run.is_terminal
        assert decision.run.can_retry
    shuffled = random.sample(runs, len(runs))
    assert decide(MARKER, shuffled, wait=wait, retry_from_failure=retry) == decision
