"""Whose a run is when its task is killed: still this try's, or a later try's that goes on with it.

Airflow gives up a worker that is silent for some minutes (frozen, or cut off) and starts the task's next try,
which goes on with the run. When the first worker comes back Airflow kills the task there: it must not take
the run from its successor.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from airflow_provider_dbtcloud_dlt.compat import (
    is_present_try,
    is_refusal,
    task_state,
    task_xcom,
)
from airflow_provider_dbtcloud_dlt.links.dbt_cloud import JOB_RUN_ID

log = logging.getLogger(__name__)

KILLED_STATES = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})
"""States of a task that no longer waits: marked so by a person, or by what happened to its DAG run."""

ASK_TIMEOUT = 2.0
"""Seconds that Airflow has for its answers: five after the first signal it kills for good."""

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """What a try knows of the run that it started, or that it took over from an earlier try.

    Attributes:
        task: the task instance: `dag_id`, `run_id`, `task_id` and `map_index`.
        try_id: Airflow's id of the task instance, which each try has anew.
        run_id: the dbt Cloud run.
    """

    task: Mapping[str, Any]
    try_id: UUID
    run_id: int


@dataclass(frozen=True)
class Standing:
    """What Airflow knows of the task now.

    Attributes:
        state: its state; ``None`` after a clear.
        is_present_try: whether Airflow has not given up the try that asks.
        run_id: the run that the task has shown last; ``None`` when the present try has shown none yet.
    """

    state: str | None
    is_present_try: bool = True
    run_id: int | None = None


def why_left(claim: Claim, standing: Standing) -> str | None:
    """Why a try leaves its run alone; ``None`` when it is the one to cancel it."""
    state = standing.state
    if state == "restarting":  # cleared while it worked: it is to begin anew
        return None
    if standing.is_present_try:
        # Where it does not work any more, a triggerer waits, or a worker is about to go on.
        return None if state == "running" or state in KILLED_STATES else f"its task is {state or 'cleared'}"
    if standing.run_id not in (claim.run_id, None):
        return None  # a later try has another run: nobody waits for this one
    if state == "success":
        return "a later try of its task has taken it as its result"
    if state in KILLED_STATES:
        return None
    return f"it is left to a later try of its task, which is {state or 'cleared'}"


def ask_why_left(claim: Claim) -> str | None:
    """`why_left` by what Airflow says now; it has two seconds to say it."""
    try:
        standing = _within(ASK_TIMEOUT, lambda: _ask(claim))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, there is a decision to make
        if is_refusal(error):
            # A worker renews its token while it lives: this one was away for longer than a token is valid.
            return "Airflow has given this worker up, and a later try of its task, if there is one, finds it"
        # Tasks that are killed are far more common than workers that were frozen.
        log.warning(
            "Airflow did not say whether a later try waits for job run %s: it is taken for this try's. %r",
            claim.run_id,
            error,
        )
        return None
    return why_left(claim, standing)


def is_given_up(try_id: UUID) -> bool:
    """Whether Airflow has given a try up, for a later one or for none; False as well when it does not say."""
    try:
        return not _within(ASK_TIMEOUT, lambda: is_present_try(try_id))
    except Exception as error:  # noqa: BLE001 - without an answer the task goes on
        log.debug("Airflow did not say whether this is the task's present try. %r", error)
        return is_refusal(error)


def _ask(claim: Claim) -> Standing:
    state = task_state(**claim.task)
    if is_present_try(claim.try_id):
        return Standing(state)
    return Standing(state, False, task_xcom(JOB_RUN_ID, **claim.task))


def _within(seconds: float, question: Callable[[], T]) -> T:
    """Ask in a thread of its own, and wait for the answer only so long.

    A signal handler must not ask by itself: the code that it interrupted may hold the lock on the way to
    Airflow, and does not go on before the handler returns. The thread then stays behind, and harms nobody.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(seconds)
