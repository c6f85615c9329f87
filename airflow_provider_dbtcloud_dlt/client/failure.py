"""Says why a run failed: the step, and the end of its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.errors import DbtCloudError
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus, RunStep

LOG_LINES = 60
LOG_PAUSES = (0.0, 2.0, 4.0)
"""Seconds before each look for a failing step's log, which may come a little after the run's end."""

_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def report_failure(
    client: DBTCloudClientV2,
    run: Run,
    log: Logger,
    sleep: Callable[[float], None] = time.sleep,
    ask_nodes: Callable[[Run], str] | None = None,
    pauses: Sequence[float] = LOG_PAUSES,
) -> str:
    """Log the failing steps of a run that has failed or was cancelled, each with the end of its log.

    Never raises: what can't be learnt of the steps must not hide the run's own result.

    Args:
        client: asks for the steps.
        run: the run as it ended.
        log: where to.
        sleep: waits so many seconds.
        ask_nodes: called with the run and its steps; returns what failed of the dbt project, or nothing.
        pauses: seconds before each look for a failing step's log.

    Returns:
        One sentence: which run ended how, at which step, what failed, and where a person can look.
    """
    try:
        for pause in pauses:
            sleep(pause)
            run = client.get_run(run.id, include_related=["run_steps"])
            if all(step.logs for step in _failing_steps(run)):
                break
    except DbtCloudError as error:
        log.warning("The steps of job run %s could not be read. %s", run.id, error)
    for step in _failing_steps(run):
        lines = _COLOUR.sub("", step.logs or "(it has no log)").rstrip().splitlines()
        log.error(
            "Step %s of job run %s, %r, ended as %s. The end of its log:\n%s",
            step.index,
            run.id,
            step.name,
            step.status.humanized,
            "\n".join(lines[-LOG_LINES:]),
        )
    return _summary(run, ask_nodes(run) if ask_nodes else "")


def _failing_steps(run: Run) -> list[RunStep]:
    """The steps that failed or were cut short; those after them that never began have nothing to tell."""
    return [
        step
        for step in run.run_steps
        if step.status is RunStatus.ERROR or (step.status is RunStatus.CANCELLED and step.has_begun)
    ]


def _summary(run: Run, nodes: str) -> str:
    ended = "has failed" if run.status is RunStatus.ERROR else "has been cancelled"
    steps = _failing_steps(run)
    where = f" at step {steps[0].index}, {steps[0].name!r}" if steps else ""
    reasons = [nodes, (run.status_message or "").rstrip(".")]
    reason = f": {'; '.join(filter(None, reasons))}" if any(reasons) else ""
    page = f" See {run.href}" if run.href else ""
    return f"Job run {run.id} {ended}{where}{reason}.{page}"
