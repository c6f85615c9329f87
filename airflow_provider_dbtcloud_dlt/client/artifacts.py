"""Reads artifacts of runs that have just ended: dbt Cloud has them some seconds later than the run's end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pendulum

from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.errors import NotFoundError
from airflow_provider_dbtcloud_dlt.client.logger import Logger

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between two looks for an artifact."""
LATE = 60.0
"""Seconds after a run's end in which artifacts that are not there may still come."""

_ResultT = TypeVar("_ResultT")


def when_there(
    client: DBTCloudClientV2,
    run_id: int | str,
    path: str,
    read: Callable[[], _ResultT],
    log: Logger,
    step: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> _ResultT:
    """Read an artifact, waiting a little for it if its run has only just ended.

    Args:
        client: asks for the run.
        run_id: the run's number.
        path: of the artifact, relative to dbt's target folder.
        read: reads it.
        log: is told about the wait.
        step: the step's number, from 1; default: the last step.
        sleep: waits so many seconds.

    Returns:
        What `read` returned.

    Raises:
        NotFoundError: there is no such artifact, and none is to be expected.
    """
    for pause in PAUSES:
        try:
            return read()
        except NotFoundError:
            if not _may_come(client, run_id, path, step):
                raise
            log.info(
                "Job run %s has just ended and has no artifacts yet; looking again in %d s.", run_id, pause
            )
        sleep(pause)
    return read()


def _may_come(client: DBTCloudClientV2, run_id: int | str, path: str, step: int | None) -> bool:
    ended = client.get_run(run_id).finished_at
    if ended is None or (pendulum.now("UTC") - ended).total_seconds() > LATE:
        return False
    # Artifacts come all at once: among some that have come without this one it is not to be expected.
    known = client.list_artifacts(run_id, step)
    return not known or path in known
