"""What differs between the supported Airflows (3.1 to 3.3): nowhere else is a version looked at.

Each name is bound once, to whatever this Airflow offers; newer Airflows warn when an old place is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from airflow import __version__ as airflow_version
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from packaging.version import Version

try:  # Airflow 3.2 and newer
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf

try:  # Airflow 3.2 and newer
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTerminated,
        AirflowTaskTimeout,
        TaskDeferred,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined, no-redef]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTerminated,
        AirflowTaskTimeout,
        TaskDeferred,
    )

try:  # Airflow 3.2 and newer
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # Airflow 3.1
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment]

__all__ = [
    "STARTS_IN_TRIGGERER",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowPlugin",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTerminated",
    "AirflowTaskTimeout",
    "TaskDeferred",
    "airflow_base_url",
    "delete_task_xcom",
    "has_trigger_queues",
    "is_present_try",
    "is_refusal",
    "is_trigger_timeout",
    "task_state",
    "task_xcom",
]

STARTS_IN_TRIGGERER = Version(airflow_version) >= Version("3.3.1")
"""Whether a task can begin and end in the triggerer; 3.3.0 does it as well, but then knows no retries."""


def airflow_base_url() -> str:
    """This Airflow's address, as far as this process is told; empty when it is not."""
    return str(conf.get("api", "base_url", fallback="") or "")


def has_trigger_queues() -> bool:
    """Whether triggerers may be there for some queues only (Airflow 3.2 and newer)."""
    return bool(conf.getboolean("triggerer", "queues_enabled", fallback=False))


def task_state(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """The state in which a task instance is now; None after a clear, ``removed`` when there is none any more.

    Asks Airflow, and blocks.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # no DAG file needs it

    states = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=None if map_index < 0 else map_index
    )
    key = task_id if map_index < 0 else f"{task_id}_{map_index}"
    state = states.get(run_id, {}).get(key, "removed")
    return None if state is None else str(state)


def task_xcom(key: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """What a task instance has pushed under a key; None when it has not. Asks Airflow, and blocks."""
    from airflow.sdk.execution_time.xcom import XCom  # no DAG file needs it

    return XCom.get_one(key=key, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


async def delete_task_xcom(key: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> None:
    """Delete what a task instance has pushed under a key, if it has; from a trigger."""
    from airflow.sdk.execution_time import task_runner  # no DAG file needs it
    from airflow.sdk.execution_time.comms import DeleteXCom

    # Not by `XCom.delete`, which reads the value first: where there is none, Airflow logs an error.
    question = DeleteXCom(key=key, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    await task_runner.SUPERVISOR_COMMS.asend(question)


def is_present_try(try_id: UUID) -> bool:
    """Whether a try is its task's present one: Airflow knows it by its id no more when there is a later one.

    Asks Airflow, and blocks.
    """
    from airflow.sdk.execution_time import task_runner  # no DAG file needs it
    from airflow.sdk.execution_time.comms import ValidateInletsAndOutlets

    try:
        # Of the questions that name a task instance by its id, this one changes nothing.
        task_runner.SUPERVISOR_COMMS.send(ValidateInletsAndOutlets(ti_id=try_id))
    except AirflowRuntimeError as error:
        if _status(error) == 404:
            return False
        raise
    return True


def is_trigger_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Whether Airflow resumes a task since its own limit for the trigger has passed."""
    if not STARTS_IN_TRIGGERER:
        return False
    from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

    reason = (next_kwargs or {}).get("error")
    return next_method == TRIGGER_FAIL_REPR and reason == TriggerFailureReason.TRIGGER_TIMEOUT


def is_refusal(error: BaseException) -> bool:
    """Whether Airflow refused a worker's question because it does not accept its token (any more)."""
    return _status(error) in (401, 403)


def _status(error: BaseException) -> int | None:
    if not isinstance(error, AirflowRuntimeError):
        return None
    return (error.error.detail or {}).get("status_code")
