"""Reads artifacts of runs that have just ended: dbt Cloud has them some seconds later than the run's end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pendulum

from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.errors import NotFoundError
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.models import Run

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
    if not _ended_just_now(client, client.get_run(run_id)):
        return False
    # Artifacts come all at once: among some that have come without this one it is not to be expected.
    known = client.list_artifacts(run_id, step)
    return not known or path in known


class RunArtifacts:
    """The artifacts of an ended run, of all its steps; each is downloaded once at most.

    Args:
        client: downloads them.
        run: the run, with its steps.
        folder: where to.
        by_step: the paths of each step's artifacts.
    """

    def __init__(
        self, client: DBTCloudClientV2, run: Run, folder: Path, by_step: Mapping[int | None, list[str]]
    ) -> None:
        self.run = run
        self.by_step = by_step
        self._client = client
        self._folder = folder

    @classmethod
    def listed(
        cls,
        client: DBTCloudClientV2,
        run: Run,
        folder: Path,
        log: Logger,
        sleep: Callable[[float], None] = time.sleep,
        pauses: Sequence[float] = PAUSES,
    ) -> RunArtifacts:
        """List them, waiting a little if the run has only just ended and none are there yet."""
        for pause in pauses:
            by_step = _by_step(client, run)
            if by_step or not _may_have_any(run) or not _ended_just_now(client, run):
                break
            log.info(
                "Job run %s has just ended and has no artifacts yet; looking again in %d s.", run.id, pause
            )
            sleep(pause)
        else:
            by_step = _by_step(client, run)
        return cls(client, run, folder, by_step)

    def file(self, step: int | None, path: str) -> Path:
        """Where an artifact is; downloaded if it is not yet there."""
        # By a digest: what an artifact is called need be no name of a file here.
        name = hashlib.blake2b(f"{step}/{path}".encode(), digest_size=16).hexdigest()
        target = self._folder / name
        if not target.exists():
            self._client.download_artifact(self.run.id, path, target, step)
        return target


def _by_step(client: DBTCloudClientV2, run: Run) -> dict[int | None, list[str]]:
    """The artifacts of those steps that have some; of the last one if the steps are not known."""
    found: dict[int | None, list[str]] = {}
    steps: list[int | None] = [step.index for step in run.run_steps if step.index and step.has_begun]
    for step in steps or [None]:
        try:
            paths = client.list_artifacts(run.id, step)
        except NotFoundError:
            continue
        if paths:
            found[step] = paths
    return found


def _may_have_any(run: Run) -> bool:
    """Whether a step has begun that runs dbt: a run whose checkout failed has no artifacts."""
    return not run.run_steps or any("dbt " in (step.name or "") for step in run.run_steps if step.has_begun)


def _ended_just_now(client: DBTCloudClientV2, run: Run) -> bool:
    if run.finished_at is None:
        return False
    now = pendulum.now("UTC").add(seconds=client.clock_skew)
    return (now - run.finished_at).total_seconds() <= LATE
