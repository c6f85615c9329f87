"""Says why a run failed: the step, and the end of its log."""

from __future__ import annotations

import re

from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus, RunStep

LOG_LINES = 60
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def failing_steps(run: Run) -> list[RunStep]:
    """The steps that failed or were cancelled, in order; needs ``include_related=["run_steps"]``."""
    return [step for step in run.run_steps if step.status in (RunStatus.ERROR, RunStatus.CANCELLED)]


def summary(run: Run) -> str:
    """One sentence: which run ended how, at which step."""
    ended = "has failed" if run.status is RunStatus.ERROR else "has been cancelled"
    steps = failing_steps(run)
    where = f" at step {steps[0].index}, {steps[0].name!r}" if steps else ""
    reason = f": {run.status_message.rstrip('.')}" if run.status_message else ""
    page = f" See {run.href}" if run.href else ""
    return f"Job run {run.id} {ended}{where}{reason}.{page}"


def log_tail(step: RunStep, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a step's log, without terminal colours."""
    text = _COLOUR.sub("", step.logs or "").rstrip()
    return text.splitlines()[-lines:]
