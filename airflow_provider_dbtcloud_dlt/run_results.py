"""Reads what dbt says of an ended run, from the artifacts of its steps, and tells it in a task's log."""

from __future__ import annotations

import filecmp
import mmap
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError, Run
from airflow_provider_dbtcloud_dlt.client.artifacts import PAUSES, RunArtifacts
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.results import telling
from airflow_provider_dbtcloud_dlt.results.manifest import Node, read_nodes, reduced
from airflow_provider_dbtcloud_dlt.results.outcome import FILES, NodeResult, Outcome, latest, read_results
from airflow_provider_dbtcloud_dlt.results.picture import picture

MANIFEST = "manifest.json"

XCOM_KEY = "dbt_cloud_run_results"
"""Where a task leaves the summary."""

PICTURE_KEY = "dbt_cloud_run_picture"
"""Where it leaves what the picture of the run shows; the plug-in's page asks for it by this name."""

_ResultT = TypeVar("_ResultT")

Use = Callable[[RunArtifacts, Outcome], object]
"""Makes something of a run's artifacts and its outcome."""


def report_results(
    client: DBTCloudClientV2,
    run: Run,
    log: Logger,
    uses: Sequence[Use] = (),
    *,
    tell: bool = True,
    with_manifest: bool = True,
    max_bytes: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    pauses: Sequence[float] = PAUSES,
) -> str:
    """Log how the nodes of an ended run ended, and do with it what else is wanted.

    Never raises a failure of its own: it must not hide the run's. Airflow's time-outs do come through.

    Args:
        client: asks for the artifacts.
        run: the run; if it has no steps, they are asked for.
        log: where to.
        uses: called one after the other; what one raises ends that one, with a warning.
        tell: whether anything is logged; if not, the clause is empty.
        with_manifest: whether the manifests are read, which are large.
        max_bytes: the size of a file above which it is not read.
        sleep: waits so many seconds.
        pauses: seconds between two looks for artifacts that are not there yet.

    Returns:
        A clause that says which nodes failed; empty if none did.
    """
    told = ""
    with _warned(log, f"The results of job run {run.id} can't be told"):
        with opened_results(
            client, run, log, with_manifest=with_manifest, max_bytes=max_bytes, sleep=sleep, pauses=pauses
        ) as (artifacts, outcome):
            if tell:
                told = _tell(artifacts.run, outcome, log)
            for use in uses:
                with _warned(log, f"Of the results of job run {run.id} not all could be used"):
                    use(artifacts, outcome)
    return told


def xcoms(push: Callable[[str, dict[str, Any]], object]) -> list[Use]:
    """What leaves a run's summary and its picture in a task's XComs; each does without the other.

    Args:
        push: takes key and value.
    """
    return [
        lambda artifacts, outcome: push(XCOM_KEY, telling.summary(artifacts.run, outcome)),
        lambda artifacts, outcome: push(PICTURE_KEY, picture(artifacts.run, outcome)),
    ]


@contextmanager
def opened_results(
    client: DBTCloudClientV2,
    run: Run,
    log: Logger,
    *,
    with_manifest: bool = True,
    max_bytes: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    pauses: Sequence[float] = PAUSES,
) -> Iterator[tuple[RunArtifacts, Outcome]]:
    """Read how the nodes of an ended run ended; arguments as in `report_results`.

    Yields:
        The run's artifacts, which can be had as long as the context lasts, and the outcome.

    Raises:
        DbtCloudError: the artifacts could not be listed.
    """
    if not run.run_steps:
        run = client.get_run(run.id, include_related=["run_steps"])
    with tempfile.TemporaryDirectory(prefix="dbt-cloud-run-") as folder:
        artifacts = RunArtifacts.listed(client, run, Path(folder), log, sleep, pauses)
        yield artifacts, Reader(artifacts, log, max_bytes).outcome(with_manifest=with_manifest)


@contextmanager
def _warned(log: Logger, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the run's own result stands, whatever is wrong with this
        log.warning("%s: %s", what, " ".join(f"{type(error).__name__}: {error}".split())[:1000])


def _tell(run: Run, outcome: Outcome, log: Logger) -> str:
    if not outcome.results:
        log.info("Job run %s has left no results of dbt's nodes.", run.id)
        return ""
    log.info("dbt's results of job run %s, %s\n%s", run.id, telling.heading(outcome), telling.table(outcome))
    if told := telling.errors(outcome):
        log.error("What failed in job run %s:\n%s", run.id, told)
    return telling.clause(outcome)


class Reader:
    """Reads a run's artifacts; what can't be read is told and left out.

    Args:
        artifacts: the run's.
        log: where to.
        max_bytes: the size of a file above which it is not read.
    """

    def __init__(self, artifacts: RunArtifacts, log: Logger, max_bytes: int | None) -> None:
        self._artifacts = artifacts
        self._log = log
        self._max_bytes = max_bytes

    def outcome(self, *, with_manifest: bool) -> Outcome:
        """How the run's nodes ended."""
        every = [one for name in FILES for one in self._results(name)]
        results = latest(every)
        nodes = self._nodes(results.values()) if with_manifest else {}
        return Outcome(results, nodes, self._artifacts.by_step, every)

    def own(self, name: str) -> Iterator[tuple[int | None, Path]]:
        """An artifact of each step that has written it: other steps may show that of the step before."""
        before: Path | None = None
        for step, paths in self._artifacts.by_step.items():
            if name not in paths:
                continue
            file = self.file(step, name)
            if file is None or (before and filecmp.cmp(before, file, shallow=False)):
                continue
            before = file
            yield step, file

    def file(self, step: int | None, name: str) -> Path | None:
        """Where an artifact is; None if it can't be had."""
        try:
            return self._artifacts.file(step, name)
        except DbtCloudError as error:
            self._log.warning("%s of step %s can't be had. %s", name, step, error)
            return None

    def read(
        self, file: Path, step: int | None, name: str, read: Callable[[Any], _ResultT]
    ) -> _ResultT | None:
        """What `read` makes of a file's content; None if it is too large, or `read` raises a ValueError."""
        size = file.stat().st_size
        if self._max_bytes is not None and size > self._max_bytes:
            self._log.info("%s of step %s is not read here: it has %d MB.", name, step, size // 1_000_000)
            return None
        try:
            # A map, not bytes: the pages of a large file are the system's to drop again.
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return read(content)
        except ValueError as error:  # of mmap too: the file is empty
            self._log.warning("%s of step %s can't be read: %s.", name, step, error)
            return None

    def _results(self, name: str) -> Iterator[NodeResult]:
        for step, file in self.own(name):
            yield from self.read(file, step, name, partial(read_results, step=step, name=name)) or ()

    def _nodes(self, results: Collection[NodeResult]) -> dict[str, Node]:
        """What the manifests say of the nodes that ran.

        All steps have much the same: an earlier step's is read only for results that the later ones do not
        know as they are, such as after a ``--target`` of another schema.
        """
        found: dict[str, Node] = {}
        ran = {one.unique_id for one in results}
        for step, paths in reversed(list(self._artifacts.by_step.items())):
            wanted = {one.unique_id for one in results if one.step == step and not _is_known(one, found)}
            if wanted and MANIFEST in paths and (file := self.file(step, MANIFEST)):
                nodes = reduced(self.read(file, step, MANIFEST, read_nodes) or {}, ran)
                wanted |= ran - found.keys()
                found |= {unique_id: nodes[unique_id] for unique_id in wanted & nodes.keys()}
        return found


def _is_known(result: NodeResult, nodes: dict[str, Node]) -> bool:
    node = nodes.get(result.unique_id)
    return node is not None and (result.relation is None or result.relation == node.relation)
