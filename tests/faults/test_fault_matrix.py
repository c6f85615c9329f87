"""The fault matrix in a short form: few trials a row, and one row beside the official provider.

The long form, with both providers in every row, is `make faults`.
"""

from collections.abc import Iterator

import official_provider
import pytest
from fault_rows import ROWS, Row
from fault_stack import OFFICIAL, OURS, FaultStack, Provider, Trials
from faults import play, trials_of

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.faults]

SHORT = [row for row in ROWS if row.has_short_form]
CONTROL = next(row for row in ROWS if row.name == "worker-after-trigger")
SIZE = 4
TRIALS = trials_of(SHORT, [OURS, OFFICIAL], SIZE)


def trials(row: Row, provider: Provider) -> list[Trials]:
    return [one for one in TRIALS[row.name] if one.provider is provider]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    """Airflow and the emulator, with the DAGs of all rows, and of one with the official provider."""
    played = [one for row in SHORT for one in trials(row, OURS)]
    if official_provider.is_installed():
        played += trials(CONTROL, OFFICIAL)
    with FaultStack(tmp_path_factory.mktemp("faults"), played) as running:
        yield running


@pytest.mark.parametrize("row", SHORT, ids=lambda row: row.name)
def test_each_task_has_one_run_and_its_result(stack: FaultStack, row: Row) -> None:
    """No run is doubled or left running, and no task fails whose run succeeds."""
    result = play(stack, row, trials(row, OURS), short=True)
    tally = result.tallies[OURS]
    by_chance = any("probability" in fault for fault in row.faults)  # of few requests none may be hit
    assert result.hits > 0 or by_chance
    assert tally.tasks > 0  # where each trial is struck by itself, one may be missed
    assert tally.runs == tally.tasks * row.runs
    assert tally.is_clean, tally


def test_the_matrix_sees_what_goes_wrong(stack: FaultStack) -> None:
    """The official provider starts a second run for each task killed, and leaves the first running."""
    official_provider.require()
    tally = play(stack, CONTROL, trials(CONTROL, OFFICIAL), short=True).tallies[OFFICIAL]
    assert (tally.tasks, tally.duplicates, tally.left) == (SIZE, SIZE, SIZE)
