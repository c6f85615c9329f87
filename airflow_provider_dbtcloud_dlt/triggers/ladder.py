"""How runs are asked for: as many in a request as the server can answer.

Three rungs. Runs are listed by their ids; where a server does not do that, by ranges of ids, which answer at
least one wanted run a request; where it does not do that either, one by one. Each rung tells what it learnt
of a run in the same way, so that whoever waits does not notice.
"""

from __future__ import annotations

import enum
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    NotFoundError,
    RejectedRequestError,
    Run,
)
from airflow_provider_dbtcloud_dlt.client.protocol import PAGE_SIZE
from airflow_provider_dbtcloud_dlt.triggers.schedule import Schedule

log = logging.getLogger(__name__)

Seen = Run | DbtCloudError

_LEFT_OUT_TIMES = 3
"""A list may lag behind by some seconds: one that leaves out an existing run so often is not honest."""


class Rung(enum.Enum):
    """How runs are asked for; the value is for messages."""

    BY_IDS = "by their ids"
    BY_RANGE = "by ranges of ids"
    SINGLY = "one by one"


@dataclass(frozen=True)
class Question:
    """One request: for which runs, and how."""

    rung: Rung
    run_ids: Sequence[int]

    def ask(self, client: DBTCloudClientV2) -> list[Run]:
        """Ask; blocks.

        Raises:
            DbtCloudError: the request failed.
        """
        if self.rung is Rung.SINGLY:
            return [client.get_run(self.run_ids[0])]
        if self.rung is Rung.BY_IDS:
            return list(client.list_runs(pk__in=list(self.run_ids), limit=len(self.run_ids)))
        return list(client.list_runs(id__gt=min(self.run_ids) - 1, order_by="id", limit=PAGE_SIZE))


class Ladder:
    """Chooses the next question, and reads its answer.

    Args:
        whom: who is asked, for messages.
    """

    def __init__(self, whom: str) -> None:
        self.rung = Rung.BY_IDS
        self._whom = whom
        self._unlisted: deque[int] = deque()
        self._times_left_out: dict[int, int] = {}

    def next_question(self, schedule: Schedule, now: float) -> Question | None:
        """The runs that are to be asked for in one request, taken off the schedule; None when none is due."""
        while self._unlisted:
            run_id = self._unlisted.popleft()
            if run_id in schedule:
                schedule.remove(run_id)
                return Question(Rung.SINGLY, [run_id])
        if self.rung is Rung.BY_RANGE:
            run_ids = sorted(schedule.due(now))[:PAGE_SIZE]
            for run_id in run_ids:
                schedule.remove(run_id)
        else:
            run_ids = schedule.take(now, PAGE_SIZE if self.rung is Rung.BY_IDS else 1)
        if not run_ids:
            return None
        return Question(Rung.SINGLY if len(run_ids) == 1 else self.rung, run_ids)

    def read(self, question: Question, answer: Sequence[Run] | DbtCloudError) -> Mapping[int, Seen]:
        """What was learnt, of runs that were asked for and perhaps of others.

        What was asked for and is missing has to be asked for again; it will be, singly if need be.
        """
        if isinstance(answer, DbtCloudError):
            if question.rung is not Rung.SINGLY and _is_refusal(answer):
                self._step_down(question.rung, str(answer))
                return {}
            if isinstance(answer, NotFoundError):  # no list can have it yet
                self.forget(question.run_ids)
            return dict.fromkeys(question.run_ids, answer)
        found = {run.id: run for run in answer}
        if question.rung is Rung.SINGLY:
            self._read_single(question.run_ids[0])
        else:
            self._read_list(question, list(found))
        return found

    def _read_single(self, run_id: int) -> None:
        if run_id not in self._times_left_out:
            return
        if self._times_left_out[run_id] >= _LEFT_OUT_TIMES:
            self._times_left_out.clear()
            self._step_down(self.rung, f"It leaves out run {run_id}, which exists.")

    def _read_list(self, question: Question, found: Sequence[int]) -> None:
        wanted = set(question.run_ids)
        complete_to = float("inf")
        if question.rung is Rung.BY_IDS:
            if not wanted.issuperset(found):
                self._step_down(question.rung, "It answered with runs that were not asked for.")
                return
        else:
            if list(found) != sorted(found) or any(run_id < min(wanted) for run_id in found):
                self._step_down(question.rung, "It answered with other runs than those.")
                return
            if len(found) >= PAGE_SIZE:
                complete_to = found[-1]
        listed = set(found)
        for run_id in wanted:
            if run_id in listed:
                self._times_left_out.pop(run_id, None)
            elif run_id <= complete_to:
                self._times_left_out[run_id] = self._times_left_out.get(run_id, 0) + 1
                self._unlisted.append(run_id)

    def forget(self, run_ids: Iterable[int]) -> None:
        """Count anew how often a list leaves out these runs: they are not there, or nobody waits for them."""
        for run_id in run_ids:
            self._times_left_out.pop(run_id, None)

    def _step_down(self, rung: Rung, reason: str) -> None:
        if rung is not self.rung or rung is Rung.SINGLY:
            return  # another answer has said so before
        self.rung = Rung.BY_RANGE if rung is Rung.BY_IDS else Rung.SINGLY
        log.warning(
            "dbt Cloud (%s) does not list runs %s; asking for them %s. %s",
            self._whom,
            rung.value,
            self.rung.value,
            reason,
        )


def _is_refusal(error: DbtCloudError) -> bool:
    """Whether the server does not know the question; another status is its passing trouble."""
    return isinstance(error, RejectedRequestError) and error.status_code == 400
