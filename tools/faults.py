"""The fault matrix: real processes killed for real, with this provider and the official one side by side.

A real Airflow runs the tasks of both providers at the same time, against the emulator; the same blows hit
both. A trial is a task. Afterwards the dbt runs are counted that were started for it.

    make faults                                         # everything, in an hour and a half
    .venv/bin/python tools/faults.py --rows token,cleared
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counts import Counts
from fault_rows import ROWS, Play, Row, is_settled
from fault_stack import OFFICIAL, OURS, FaultStack, Provider, Trial, Trials
from processes import exit_on_signals
from rich.console import Console
from rich.table import Table

from airflow_provider_dbtcloud_dlt.client import RunStatus

COLUMNS = (
    "tasks",
    "runs started",
    "duplicates",
    "tasks failed though the run succeeded",
    "runs left running",
)


@dataclass
class Tally(Counts):
    """What became of the trials of a row with one provider.

    Attributes:
        tasks: how many trials.
        runs: dbt runs that were started.
        duplicates: those beyond what the trials should start.
        failed: tasks whose last state is not that of their run.
        left: runs that went on while no task waited for them.
    """

    tasks: int = 0
    runs: int = 0
    duplicates: int = 0
    failed: int = 0
    left: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.failed or self.left)


@dataclass
class Result:
    """A row that was played: the tallies by provider, how many blows were dealt, and how long it took."""

    row: Row
    tallies: dict[Provider, Tally]
    hits: int = 0
    seconds: float = 0.0


def trials_of(
    rows: Iterable[Row], providers: Sequence[Provider], size: int | None = None
) -> dict[str, list[Trials]]:
    """Each row's trials by its name; `size` instead of what the rows say."""
    found = {}
    for index, row in enumerate(rows):
        found[row.name] = [
            Trials(
                row=row.name.replace("-", "_"),
                provider=provider,
                size=size or -(-row.trials // row.batches),
                job_id=1000 + 10 * index + number,
                arguments=tuple(row.arguments.items()),
                retries=row.retries,
                max_active_tasks=row.max_active_tasks,
            )
            for number, provider in enumerate(providers)
        ]
    return found


def play(stack: FaultStack, row: Row, trials: Sequence[Trials], *, short: bool = False) -> Result:
    """Play all batches of a row, or one if it is to be short."""
    begin = time.monotonic()
    result = Result(row, {one.provider: Tally() for one in trials})
    for _ in range(1 if short else row.batches):
        for fault in row.faults:
            stack.emulator.admin("POST", "faults", **{"kind": "status", **fault})
        try:
            batch = Play(stack, stack.begin(trials), short)
            row.act(batch)
            ended = _finish(batch, row)
            result.hits += batch.hits or _hits(stack)
        finally:
            stack.emulator.admin("DELETE", "faults")
        for one, tally in ended.items():
            result.tallies[one] += tally
    result.seconds = time.monotonic() - begin
    return result


def _hits(stack: FaultStack) -> int:
    return sum(int(one["hits"]) for one in stack.emulator.admin("GET", "faults")["faults"])


def _finish(batch: Play, row: Row) -> dict[Provider, Tally]:
    """Let the dbt runs end whenever nothing else happens, until all tasks have ended; then count."""
    left: set[int] = set()
    while True:
        batch.until(is_settled, "waits or has ended")
        trials = batch.settle()
        if not all(map(is_settled, trials)):
            continue
        left.update(run.id for trial in trials for run in trial.runs_left)
        if all(trial.has_ended for trial in trials):
            break
        batch.stack.end_runs()
        time.sleep(1)
    if row.ends:
        batch.stack.end_runs()
        trials = batch.trials()
    found: dict[Provider, Tally] = {}
    for trial in trials:
        provider = trial.trials.provider
        if batch.struck is not None and trial.name not in batch.struck:
            continue  # the blow has missed it: its being clean would show nothing
        found[provider] = found.get(provider, Tally()) + _tally(trial, row, left)
    return found


def _tally(trial: Trial, row: Row, left: set[int]) -> Tally:
    ended_well = any(run.status is RunStatus.SUCCESS for run in trial.runs)
    # No run fails by itself: one that was cancelled would have ended well too.
    wrong = trial.state == "failed" and bool(trial.runs) if row.ends else ended_well
    return Tally(
        tasks=1,
        runs=len(trial.runs),
        duplicates=max(0, len(trial.runs) - row.runs),
        failed=int(wrong or (trial.state == "success" and not ended_well)),
        left=sum(run.id in left for run in trial.runs),
    )


def table(results: Iterable[Result]) -> Table:
    """The matrix, for a terminal."""
    shown = Table(title="Fault matrix", show_lines=True)
    shown.add_column("what goes wrong")
    shown.add_column("blows", justify="right")
    shown.add_column("provider")
    for column in COLUMNS:
        shown.add_column(column, justify="right")
    for result in results:
        cells = [
            "\n".join(str(tally.cells[index]) for tally in result.tallies.values())
            for index in range(len(COLUMNS))
        ]
        names = "\n".join(provider.name for provider in result.tallies)
        shown.add_row(result.row.title, str(result.hits), names, *cells)
    return shown


def markdown(results: Iterable[Result]) -> str:
    """The matrix, for the documentation."""
    lines = [
        "| " + " | ".join(("What goes wrong", "blows", "provider", *COLUMNS)) + " |",
        "|---|--:|---|" + "--:|" * len(COLUMNS),
    ]
    for result in results:
        head = f"{result.row.title} | {result.hits}"
        for provider, tally in result.tallies.items():
            cells = (str(cell) for cell in tally.cells)
            lines.append(f"| {head} | {provider.name} | " + " | ".join(cells) + " |")
            head = " | "
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", help=f"only these, with commas: {', '.join(names)}")
    parser.add_argument("--trials", type=int, help="how many a DAG run has; default: what each row says")
    parser.add_argument("--short", action="store_true", help="one batch a row, and shorter blows")
    parser.add_argument("--only", choices=[OURS.connection_id, OFFICIAL.connection_id], help="one provider")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to a file as well")
    parser.add_argument("--folder", type=Path, help="keep databases and logs in this folder")
    options = parser.parse_args()
    wanted = options.rows.split(",") if options.rows else names
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        parser.error(f"There is no row {', '.join(unknown)}; there are: {', '.join(names)}.")
    rows = [row for row in ROWS if row.name in wanted]
    providers = [one for one in (OURS, OFFICIAL) if options.only in (None, one.connection_id)]
    exit_on_signals()
    console = Console()
    trials = trials_of(rows, providers, options.trials)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        folder = options.folder or Path(temporary)
        console.print(f"Starting Airflow and the emulator; logs are in {folder}/logs", soft_wrap=True)
        with FaultStack(folder, [one for several in trials.values() for one in several]) as stack:
            for row in rows:
                console.print(f"{row.title} …", highlight=False)
                results.append(play(stack, row, trials[row.name], short=options.short))
                told = (f"{one.name} {tally.cells}" for one, tally in results[-1].tallies.items())
                console.print(f"  {results[-1].seconds:.0f} s, {results[-1].hits} blows: {', '.join(told)}")
                if options.markdown:
                    options.markdown.write_text(markdown(results))
    console.print(table(results))
    return 0 if all(one.tallies.get(OURS, Tally()).is_clean for one in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
