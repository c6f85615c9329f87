"""What is told of a run while it goes on: its steps as they begin and end, and how long it has run.

Pure, with the time passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from airflow_provider_dbtcloud_dlt.client.cadence import Habit
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus, RunStep

FIRST_GLANCE_SECONDS = 30.0
"""What ends sooner costs no request, and has nothing to tell that its end does not."""
GLANCE_PAUSE_SECONDS = 60.0
INCLUDED = ("run_steps", "trigger")
"""What `Progress` needs to be embedded in a run."""

_SILENCE_SECONDS = 300.0
"""After so long without news it is said that the run goes on."""
_LONG_AGO_SECONDS = 120.0
"""What ended before that is no news to one who looks for the first time, as after a triggerer's restart."""
_NAME_LENGTH = 160
_ROUGHLY = 10.0


@dataclass(slots=True)
class Progress:
    """Feed it what was seen of one run; it says what is new. There are thousands of these, so it is small."""

    _told: tuple[int, ...] = ()
    _told_at: float | None = None

    def lines(self, run: Run, now: float, habit: Habit | None = None) -> list[str]:
        """What is to be told, a sentence each; mostly nothing.

        Args:
            run: as it was seen now, with its steps and trigger.
            now: seconds since the epoch, by dbt Cloud's clock.
            habit: when runs of its job usually end, if that is known.
        """
        lines = self._news(run, now)
        silent_for = float("inf") if self._told_at is None else now - self._told_at
        if not run.is_terminal and (lines or not 0 <= silent_for < _SILENCE_SECONDS):
            lines.append(f"{_state(run, now)}{_estimate(run, now, habit)}.")
        if lines:
            self._told_at = now
        return lines

    def _news(self, run: Run, now: float) -> list[str]:
        lines: list[str] = []
        earlier: list[int] = []
        told = dict(_pair(mark) for mark in self._told)
        for number, step in _numbered(run):
            ended = step.status.is_terminal and step.has_begun
            if not (ended or _is_running(step)) or (number in told and told[number] >= ended):
                continue
            told[number] = ended
            if self._told_at is None and ended and _ended_long_ago(step, now):
                earlier.append(number)
            else:
                lines.append(_news_of(run, number, step, now))
        self._told = tuple(2 * number + ended for number, ended in told.items())
        if earlier:
            count = f"{len(earlier)} step{'s' if len(earlier) > 1 else ''}"
            lines.insert(
                0, f"{count} of job run {run.id} had ended before, the last of them step {earlier[-1]}."
            )
        return lines


def _pair(mark: int) -> tuple[int, bool]:
    return mark // 2, bool(mark % 2)


def _numbered(run: Run) -> list[tuple[int, RunStep]]:
    steps = [
        (place if step.index is None else step.index, step) for place, step in enumerate(run.run_steps, 1)
    ]
    return sorted(steps, key=lambda one: one[0])


def _is_running(step: RunStep) -> bool:
    return not step.status.is_terminal and (step.status is RunStatus.RUNNING or step.started_at is not None)


def _ended_long_ago(step: RunStep, now: float) -> bool:
    if step.status is not RunStatus.SUCCESS or step.finished_at is None:
        return False
    return now - step.finished_at.timestamp() > _LONG_AGO_SECONDS


def _news_of(run: Run, number: int, step: RunStep, now: float) -> str:
    name = step.name or ""
    name = repr(name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}…")
    seconds = _seconds(step, now)
    span = "" if seconds is None else f" {'after' if step.status.is_terminal else 'for'} {_span(seconds)}"
    what = f"ended as {step.status.humanized}" if step.status.is_terminal else "is running"
    return f"Step {number} of job run {run.id}, {name}, {what}{span}."


def _seconds(step: RunStep, now: float) -> float | None:
    """How long a step took, or has been running."""
    if step.started_at is None:
        return step.duration.total_seconds() if step.status.is_terminal and step.duration else None
    if not step.status.is_terminal:
        return now - step.started_at.timestamp()
    return None if step.finished_at is None else (step.finished_at - step.started_at).total_seconds()


def _state(run: Run, now: float) -> str:
    if run.started_at is not None:
        current = next((pair for pair in reversed(_numbered(run)) if _is_running(pair[1])), None)
        seconds = None if current is None else _seconds(current[1], now)
        its_step = f", step {current[0]} for {_span(seconds)}" if current and seconds is not None else ""
        return f"Job run {run.id} has run for {_span(now - run.started_at.timestamp())}{its_step}"
    since = "" if run.created_at is None else f", for {_span(now - run.created_at.timestamp())} by now"
    return f"Job run {run.id} is {run.status.humanized.lower()}{since}"


def _estimate(run: Run, now: float, habit: Habit | None) -> str:
    """When the run will end, if it does what earlier runs of its job did."""
    has_other_steps = run.retrying_run_id is not None or bool(run.trigger and run.trigger.steps_override)
    if habit is None or has_other_steps or run.started_at is None:
        return ""
    elapsed, usual = now - run.started_at.timestamp(), (habit.earliest + habit.latest) / 2
    if elapsed < usual:
        return f"; by its job's earlier runs about {_span(_roughly(usual - elapsed))} are left"
    if elapsed <= habit.latest:
        return "; by its job's earlier runs it is about to end"
    return f"; its job's earlier runs took about {_span(_roughly(usual))}"


def _roughly(seconds: float) -> float:
    return max(round(seconds / _ROUGHLY), 1) * _ROUGHLY


def _span(seconds: float) -> timedelta:
    return timedelta(seconds=max(0, round(seconds)))
