"""Runs that only pretend: they take so many seconds and end so, without dbt, a process or a thread.

What such a run looks like at any moment follows from the times in its record, so that thousands cost nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict

from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND
from airflow_provider_dbtcloud_dlt.emulator.commands import Step
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Status, StepRecord

Outcome = Literal["success", "error", "cancelled"]
STATUS: dict[Outcome, Status] = {
    "success": Status.SUCCESS,
    "error": Status.ERROR,
    "cancelled": Status.CANCELLED,
}


# A hundred years: what is longer is a mistake, and no date any more.
LONGEST_SECONDS = 100 * 365 * 86400.0
# An empty log of a step that has ended looks, to some clients, as if it was still to come.
NOTHING_TO_PREPARE = "This run only pretends: there is nothing to prepare.\n"


@dataclass(frozen=True)
class Script:
    """How a run pretends.

    Attributes:
        seconds: How long it is running (status 3).
        outcome: How it ends.
        starting_seconds: How long it is starting (status 2) before that.
        concurrent: It neither waits for a run slot nor for another run of its job.
        steps: `(name, outcome, log)` instead of the job's own steps, after those that prepare a run.
        artifacts: Path → text of the files that the run leaves behind.
        message: The run's `status_message` at the end.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    seconds: float = 0.0
    outcome: Outcome = "success"
    starting_seconds: float = 0.0
    concurrent: bool = False
    steps: tuple[tuple[str, Outcome, str], ...] = ()
    artifacts: dict[str, str] = field(default_factory=dict)
    message: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the script that was stored in a run's record."""
        told = tuple((name, outcome, logs) for name, outcome, logs in values["steps"])
        return cls(**{**values, "steps": told})

    def __post_init__(self) -> None:
        for seconds in (self.seconds, self.starting_seconds):
            if not 0 <= seconds <= LONGEST_SECONDS:
                raise ValueError(f"A scripted run takes between no time and {LONGEST_SECONDS:.0f} seconds.")

    @property
    def status(self) -> Status:
        """The status that the run ends with: a step that fails makes it fail."""
        if self.outcome == "success":
            return next((STATUS[end] for _, end, _ in self.steps if end != "success"), Status.SUCCESS)
        return STATUS[self.outcome]


def steps(run: Run, script: Script, plan: list[Step], now: int) -> list[StepRecord]:
    """Return the steps of a scripted run as they are at a moment.

    The time that the run takes is divided evenly between its dbt commands. A step that has not begun when the
    run ends shows as cancelled.

    Args:
        run: The record, already up to date with `now`.
        script: How the run pretends.
        plan: The steps that a real run would have.
        now: Microseconds since the epoch.
    """
    prepared = [one for one in plan if one.command is None]
    told = script.steps or _plain(script, [one for one in plan if one.command is not None])
    commands = {one.name: one.command for one in plan}
    share = script.seconds * SECOND / max(len(told), 1)
    records = []
    halted = False
    for index, (name, outcome, logs) in enumerate(
        [*((one.name, "success", NOTHING_TO_PREPARE) for one in prepared), *told], start=1
    ):
        place = max(index - len(prepared) - 1, 0)
        begins = ends = None
        if run.started_at is not None:
            begins = run.started_at + round(place * share)
            ends = (
                run.started_at + round((index - len(prepared)) * share) if index > len(prepared) else begins
            )
        until = min(now, run.finished_at if run.finished_at is not None else now)
        record = StepRecord(run.id, index, name, commands.get(name), Status.QUEUED, logs="")
        if halted or begins is None or ends is None or begins > until:
            record.status = Status.CANCELLED if halted or run.finished_at is not None else Status.QUEUED
        elif ends > until:
            cut = run.finished_at is not None
            record.status = Status.CANCELLED if cut else Status.RUNNING
            record.started_at, record.finished_at, record.logs = begins, run.finished_at, logs
        else:
            record.status = STATUS[outcome]
            record.started_at, record.finished_at, record.logs = begins, ends, logs
            halted = record.status is not Status.SUCCESS
        records.append(record)
    return records


def _plain(script: Script, commands: list[Step]) -> list[tuple[str, Outcome, str]]:
    """Tell the job's own steps: only the last one ends in whatever way the run does."""
    told: list[tuple[str, Outcome, str]] = []
    for one in commands:
        outcome: Outcome = script.outcome if one is commands[-1] else "success"
        told.append((one.name, outcome, f"This step is scripted to end as: {outcome}\n"))
    return told
