"""The fault matrix in a short form: few trials a row, and one row beside the official provider.

The long form, with both providers in every row, is `make faults`.
"""

import importlib.util
import os
from collections.abc import Iterator

import pytest
from fault_rows import ROWS, Row
from fault_stack import OFFICIAL, OURS, FaultStack, Trials
from faults import play, trials_of

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.faults]

SHORT = [row for row in ROWS if row.has_short_form]
CONTROL = next(row for row in ROWS if row.name == "worker-after-trigger")
TRIALS = 4
PEER_IS_THERE = (
    bool(os.environ.get("EXPECT_PEERS")) or importlib.util.find_spec("airflow.providers.dbt") is not None
)


@pytest.fixture(scope="module")
def trials() -> dict[str, list[Trials]]:
    """Each row's trials of both providers."""
    return trials_of(SHORT, [OURS, OFFICIAL], TRIALS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, trials: dict[str, list[Trials]]) -> Iterator[FaultStack]:
    """Airflow and the emulator, with the DAGs of all rows, and of one with the official provider."""
    played = [ours for ours, _ in trials.values()]
    if PEER_IS_THERE:
        played.append(trials[CONTROL.name][1])
    with FaultStack(tmp_path_factory.mktemp("faults"), played) as running:
        yield running


@pytest.mark.parametrize("row", SHORT, ids=lambda row: row.name)
def test_each_task_has_one_run_and_its_result(
    stack: FaultStack, trials: dict[str, list[Trials]], row: Row
) -> None:
    """No run is doubled or left running, and no task fails whose run succeeds."""
    result = play(stack, row, trials[row.name][:1], short=True)
    tally = result.tallies[OURS]
    by_chance = any("probability" in fault for fault in row.faults)  # of few requests none may be hit
    assert result.hits > 0 or by_chance
    assert tally.tasks > 0  # where each trial is struck by itself, one may be missed
    assert tally.runs == tally.tasks * row.runs
    assert tally.is_clean, tally


@pytest.mark.skipif(not PEER_IS_THERE, reason="needs `pip install '.[official]'`")
def test_the_matrix_sees_what_goes_wrong(stack: FaultStack, trials: dict[str, list[Trials]]) -> None:
    """The official provider starts a second run for each task killed, and leaves the first running."""
    tally = play(stack, CONTROL, trials[CONTROL.name][1:], short=True).tallies[OFFICIAL]
    assert (tally.tasks, tally.duplicates, tally.left) == (TRIALS, TRIALS, TRIALS)
