"""`RunStarter` through stories of trouble at the wire: lost answers, dead tries, clears, others' runs."""

import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError, Run
from airflow_provider_dbtcloud_dlt.client.marker import Marker, runs_of
from airflow_provider_dbtcloud_dlt.client.starting import RunStarter, Started
from airflow_provider_dbtcloud_dlt.emulator import payloads
from airflow_provider_dbtcloud_dlt.emulator.config import example
from airflow_provider_dbtcloud_dlt.emulator.faults import Kind
from airflow_provider_dbtcloud_dlt.emulator.store import Selection
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

JOBS = range(1000, 1100)
HOUR, DAY = 3_600, 86_400
TRIGGER = "POST .*/(run|retry)/"
LIST = "GET .*/runs/"
CANCELLED = 30
FAILED = (20, CANCELLED)
TASK: dict[str, Any] = {
    "deployment": "prod",
    "run_id": "scheduled__2026",
    "task_id": "transform",
    "map_index": 0,
}
OTHERS: list[dict[str, Any]] = [
    {"deployment": "staging"},
    {"run_id": "manual__2026"},
    {"task_id": "other"},
    {"map_index": 1},
]
Trouble = Literal[
    "none",
    "request lost",
    "answer lost",
    "answer lost, run not listed",
    "request lost, then the answer",
    "both requests lost",
    "both answers lost, run not listed",
    "answer lost, died looking",
]
LOSSES: dict[Trouble, list[Kind]] = {
    "none": [],
    "request lost": ["drop"],
    "answer lost": ["lose_answer"],
    "answer lost, run not listed": ["lose_answer"],
    "request lost, then the answer": ["drop", "lose_answer"],
    "both requests lost": ["drop", "drop"],
    "both answers lost, run not listed": ["lose_answer", "lose_answer"],
    "answer lost, died looking": ["lose_answer"],
}


@dataclass(frozen=True)
class Chapter:
    """One try and what comes after it.

    Attributes:
        others: whether others start runs of the job before it.
        trouble: what happens to its trigger.
        outcome: how the runs that it starts will end.
        then: what comes of the runs that are active before the next try.
        cleared: whether the next try is one of a cleared task; if not, this one died or its run failed.
    """

    others: bool
    trouble: Trouble
    outcome: Literal["success", "error"]
    then: Literal["they go on", "they end", "they are cancelled"]
    cleared: bool


class Died(BaseException):
    """The worker is gone."""


class Story:
    """One task's tries, on a job and in a DAG run of their own."""

    numbers = itertools.count()

    def __init__(self, emu: Emulator, *, wait: bool, resume: bool) -> None:
        number = next(self.numbers)
        self.emu, self.wait, self.resume = emu, wait, resume
        self.job = JOBS[number % len(JOBS)]
        self.task = {**TASK, "dag_id": f"elt{number}"}
        self.epoch = self.tries = 0
        self.theirs: set[int] = set()
        emu.clock.advance(DAY)
        self.since = datetime.fromtimestamp(emu.clock.now() / 1e6, UTC)

    def play(self, chapter: Chapter) -> list[str]:
        """Return what went wrong."""
        if chapter.others:
            self._others_start()
        self.emu.script_job(self.job, seconds=HOUR, outcome=chapter.outcome)
        before = self._runs()
        started = self._try(chapter.trouble)
        broken = [] if started is None else list(self._broken(before, started))
        if "not listed" not in chapter.trouble and len(self._runs()) > len(before) + 1:
            broken.append("a lost answer's run is looked for")
        if chapter.then == "they are cancelled":
            for run in self._active():
                self.emu.engine.cancel(run.id)
        if chapter.then == "they end":
            self.emu.clock.advance(HOUR)
        self.epoch += chapter.cleared
        return broken

    def _marker(self, **changes: Any) -> Marker:
        return Marker.for_task(**{**self.task, **changes}, epoch=self.epoch)

    def _others_start(self) -> None:
        self.emu.script_job(self.job, seconds=DAY)
        causes = [self._marker(**changes).cause("Airflow") for changes in OTHERS]
        self.theirs.update(self.emu.trigger(self.job, cause) for cause in [*causes, "By hand"])

    def _try(self, trouble: Trouble) -> Started | None:
        """What a try has got; ``None`` if it failed or died."""

        def sleep(seconds: float) -> None:
            self.emu.clock.advance(seconds)
            if "died" in trouble:
                raise Died
            if "not listed" in trouble and not hidden:
                hidden.append(self.emu.inject("status", status=200, body='{"data": []}', path=LIST, times=6))

        hidden: list[int] = []
        for kind in LOSSES[trouble]:
            self.emu.inject(kind, path=TRIGGER, times=1)
        marker = self._marker()
        with DBTCloudClientV2(
            self.emu.token,
            self.emu.account_id,
            f"{self.emu.url}/api",
            sleep=self.emu.clock.advance,
            clock=lambda: self.emu.clock.now() / 1e6,
        ) as client:
            starter = RunStarter(client, self.job, marker, self.since, logging.getLogger("task"), sleep)
            try:
                return starter.start(
                    {"cause": marker.cause("Airflow")},
                    look_first=self.tries > 0,
                    wait=self.wait,
                    retry_from_failure=self.resume,
                )
            except (DbtCloudError, Died):
                return None
            finally:
                self.tries += 1
                self.emu.clear_faults()

    def _runs(self) -> dict[int, Run]:
        shown, _ = self.emu.engine.runs(Selection(["job_id = ?"], [self.job], limit=-1))
        runs = [payloads.run(run, self.emu.engine, self.emu.url, {"trigger"}) for run in shown]
        return {run["id"]: Run.from_api(run) for run in runs}

    def _ours(self, runs: Iterable[Run]) -> dict[int, int]:
        """Epochs of the runs of this work."""
        return {run.id: epoch for epoch, run in runs_of(self._marker(), runs)}

    def _active(self) -> list[Run]:
        runs = self._runs()
        return [runs[id] for id in self._ours(runs.values()) if not runs[id].is_terminal]

    def _broken(self, before: dict[int, Run], started: Started) -> Iterator[str]:
        after, run = self._runs(), started.run
        ours = self._ours(before.values())
        mine = [before[id] for id, epoch in ours.items() if epoch == self.epoch]
        if run.id in self.theirs or any(after[id].status == CANCELLED for id in self.theirs):
            yield "others are left alone"
        if any(one.id != run.id for one in self._active()):
            yield "nothing goes on beside the run"
        if after.keys() != before.keys() and any(one.status not in FAILED or not self.wait for one in mine):
            yield "no run is made beside one of this epoch"
        found = before.get(run.id)
        if found is not None and self.wait and found.status in FAILED:
            yield "a failure is no result"
        is_retry = run.retrying_run_id is not None and not run.is_terminal
        if found is not None and ours[run.id] != self.epoch and not (self.resume and is_retry):
            yield "no older epoch's run is adopted"


stories = st.lists(
    st.builds(
        Chapter,
        others=st.sampled_from([False, False, True]),
        trouble=st.sampled_from([*LOSSES]),
        outcome=st.sampled_from(["success", "error"]),
        then=st.sampled_from(["they go on", "they end", "they are cancelled"]),
        cleared=st.booleans(),
    ),
    min_size=2,
    max_size=6,
)
of_each_kind_of_task = pytest.mark.parametrize(
    ("wait", "resume"), [(True, False), (True, True), (False, False), (False, True)]
)


@pytest.fixture(scope="module")
def many_jobs() -> Iterator[Emulator]:
    """One emulator for all stories: a start takes longer than a story."""
    jobs = [{"id": id, "name": f"Job {id}", "steps": ["dbt build"], "script": {}} for id in JOBS]
    with emulator({**example(), "jobs": jobs}, clock="virtual", lag=0) as emu:
        yield emu


@of_each_kind_of_task
@settings(max_examples=20)
@given(chapters=stories)
def test_one_run_whatever_happens(
    many_jobs: Emulator, wait: bool, resume: bool, chapters: list[Chapter]
) -> None:
    """To triggers, tries, runs and the task: it has one run, and others have theirs."""
    story = Story(many_jobs, wait=wait, resume=resume)
    for chapter in chapters:
        assert story.play(chapter) == []


@pytest.mark.slow
@of_each_kind_of_task
@settings(max_examples=40)
@given(chapters=stories)
def test_one_run_whatever_happens_more_often(
    many_jobs: Emulator, wait: bool, resume: bool, chapters: list[Chapter]
) -> None:
    """Likewise, for longer than anybody waits for at each change."""
    story = Story(many_jobs, wait=wait, resume=resume)
    for chapter in chapters:
        assert story.play(chapter) == []
