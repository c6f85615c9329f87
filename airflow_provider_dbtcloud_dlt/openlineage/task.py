"""What is asked of Airflow's OpenLineage provider. It is not imported unless there is something to ask."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_provider_dbtcloud_dlt.client.logger import Logger

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import RunEvent
    from openlineage.common.provider.dbt import ParentRunMetadata

SHARE = 0.5
"""Of the time that the provider gives a task for lineage: the task's own event needs some as well."""


def is_on() -> bool:
    """Whether OpenLineage is installed, and Airflow's configuration says where events go."""
    # A namespace package without the provider has no such module either.
    try:
        if find_spec("airflow.providers.openlineage") is None:
            return False
    except ModuleNotFoundError:
        return False
    from airflow.providers.openlineage import conf

    return not conf.is_disabled()


def is_wanted(task_instance: Any) -> bool:
    """Whether events are to tell what this task has done: it may be taken out by OpenLineage's policy."""
    if not is_on():
        return False
    from airflow.providers.openlineage.utils.emission_policy import resolve_task_emission_policy

    policy = resolve_task_emission_policy(
        operator=task_instance.task, dag_id=task_instance.dag_id, task_id=task_instance.task_id
    )
    return bool(policy.emit and policy.extract_operator_metadata)


def parent_of(task_instance: Any) -> ParentRunMetadata:
    """The task, as the provider's listener calls it, and what that is itself a part of."""
    from airflow.providers.openlineage.plugins import macros
    from openlineage.common.provider.dbt import ParentRunMetadata

    return ParentRunMetadata(
        run_id=macros.lineage_run_id(task_instance),
        job_name=macros.lineage_job_name(task_instance),
        job_namespace=macros.lineage_job_namespace(),
        root_parent_run_id=macros.lineage_root_run_id(task_instance),
        root_parent_job_name=macros.lineage_root_job_name(task_instance),
        root_parent_job_namespace=macros.lineage_root_job_namespace(task_instance),
    )


def emit_all(pairs: Sequence[Sequence[RunEvent]], log: Logger) -> OperatorLineage:
    """Emit events as long as there is time for it; the task itself has no inputs and outputs then.

    Args:
        pairs: those of each node, which are emitted together.
        log: the task's.
    """
    from airflow.providers.openlineage import conf
    from airflow.providers.openlineage.api import emit
    from airflow.providers.openlineage.extractors import OperatorLineage

    seconds = SHARE * conf.execution_timeout()
    until = time.monotonic() + seconds
    for number, pair in enumerate(pairs):
        if time.monotonic() > until:
            log.warning(
                "OpenLineage's events of only %d of %d nodes were emitted in the %g seconds that there are "
                "for them: half of [openlineage] execution_timeout.",
                number,
                len(pairs),
                seconds,
            )
            break
        for event in pair:
            emit(event)
    return OperatorLineage()
