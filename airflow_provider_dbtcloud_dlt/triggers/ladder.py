"""How runs are asked for: as many in a request as the server can answer.

Three rungs. Runs are listed by their ids; where a server does not do that, by ranges of ids, which answer at
least one wanted run a request; where it does not do that either, one by one. Each rung tells what it learnt
of a run in the same way, so that whoever waits does not notice.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidCredentialsException,
    MalformedAnswerError,
    NotFoundError,
    RateLimitError,
    RejectedRequestError,
)
from airflow_provider_dbtcloud_dlt.client.looks import SeenRun
from airflow_provider_dbtcloud_dlt.client.protocol import PAGE_SIZE
from airflow_provider_dbtcloud_dlt.triggers.schedule import Schedule

log = logging.getLogger(__name__)

Seen = SeenRun | DbtCloudError

_LEFT_OUT_SECONDS = 60.0
"""A list may lag behind by some seconds: one that leaves out an existing run for so long is not honest."""
_FAILED_LISTS = 3
"""After so many failed lists in a row one of the runs is asked for singly, to see whether that works."""
_AGAIN_SECONDS = 15 * 60.0
"""After so long the best way of asking is tried again: a gateway's passing refusal must not last."""


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

    def ask(self, client: DBTCloudClientV2) -> list[SeenRun]:
        """Ask; blocks.

        Raises:
            DbtCloudError: the request failed.
        """
        if self.rung is Rung.SINGLY:
            return [client.get_run(self.run_ids[0])]
        if self.rung is Rung.BY_IDS:
            return client.look_at_runs(pk__in=list(self.run_ids), limit=len(self.run_ids))
        return client.look_at_runs(id__gt=min(self.run_ids) - 1, order_by="id")


class Ladder:
    """Chooses the next question, and reads its answer. Times are the event loop's.

    Args:
        whom: who is asked, for messages.
    """

    def __init__(self, whom: str) -> None:
        self.rung = Rung.BY_IDS
        self._whom = whom
        self._stepped_down_at = 0.0
        self._told: set[Rung] = set()
        self._unlisted: dict[int, None] = {}
        self._is_lists_turn = False
        self._left_out_since: dict[int, float] = {}
        self._failed_lists = 0
        self._singles_work = False

    def next_question(self, schedule: Schedule, now: float) -> Question | None:
        """The runs that are to be asked for in one request, taken off the schedule; None when none is due."""
        if self.rung is not Rung.BY_IDS and now - self._stepped_down_at >= _AGAIN_SECONDS:
            self.rung = Rung.BY_IDS
        # In turn: a thousand runs that no list has must not keep the others' lists waiting.
        self._is_lists_turn = not self._is_lists_turn
        if self._is_lists_turn:
            return self._next_due(schedule, now) or self._next_unlisted(schedule)
        return self._next_unlisted(schedule) or self._next_due(schedule, now)

    def _next_unlisted(self, schedule: Schedule) -> Question | None:
        while self._unlisted:
            run_id = next(iter(self._unlisted))
            del self._unlisted[run_id]
            if run_id in schedule:
                schedule.remove(run_id)
                return Question(Rung.SINGLY, [run_id])
        return None

    def _next_due(self, schedule: Schedule, now: float) -> Question | None:
        if self.rung is Rung.BY_RANGE:
            found = list(schedule.candidates(now, PAGE_SIZE, self._unlisted))
            # From the longest overdue on: pages that always began with the lowest might never reach the rest.
            run_ids = sorted(run_id for run_id in found if run_id >= found[0])[:PAGE_SIZE]
            for run_id in run_ids:
                schedule.remove(run_id)
        else:
            run_ids = schedule.take(now, PAGE_SIZE if self.rung is Rung.BY_IDS else 1, self._unlisted)
        if not run_ids:
            return None
        return Question(Rung.SINGLY if len(run_ids) == 1 else self.rung, run_ids)

    def read(
        self, question: Question, answer: Sequence[SeenRun] | DbtCloudError, now: float
    ) -> Mapping[int, Seen]:
        """What was learnt, of runs that were asked for and perhaps of others.

        What was asked for and is missing has to be asked for again; it will be, singly if need be.
        """
        if question.rung is Rung.SINGLY:
            return self._read_single(question.run_ids[0], answer, now)
        if isinstance(answer, DbtCloudError):
            return self._read_failure(question, answer, now)
        self._failed_lists, self._singles_work = 0, False
        self._read_list(question, [run.id for run in answer], now)
        return {run.id: run for run in answer}

    def _read_single(
        self, run_id: int, answer: Sequence[SeenRun] | DbtCloudError, now: float
    ) -> Mapping[int, Seen]:
        if isinstance(answer, DbtCloudError):
            if isinstance(answer, NotFoundError):  # no list can have it yet
                self.forget([run_id])
            return {run_id: answer}
        found = {run.id: run for run in answer}
        if run_id not in found:
            return {run_id: MalformedAnswerError(f"dbt Cloud answered with another run than {run_id}.")}
        if now - self._left_out_since.get(run_id, now) >= _LEFT_OUT_SECONDS:
            self._left_out_since.clear()
            self._step_down(self.rung, f"It leaves out run {run_id}, which exists.", now)
        elif self._failed_lists >= _FAILED_LISTS:
            self._singles_work = True  # or an outage is over: the next list will tell
        return found

    def _read_failure(self, question: Question, error: DbtCloudError, now: float) -> Mapping[int, Seen]:
        if _is_refusal(error):
            self._step_down(question.rung, str(error), now)
            return {}
        if isinstance(error, RateLimitError | InvalidCredentialsException):
            return dict.fromkeys(question.run_ids, error)  # that is no word about lists
        self._failed_lists += 1
        if self._singles_work:
            self._step_down(question.rung, "Lists fail, and single requests do not.", now)
        elif self._failed_lists >= _FAILED_LISTS and not self._unlisted:
            self._unlisted[question.run_ids[0]] = None  # is it lists alone that fail?
        if isinstance(error, NotFoundError):  # that is the list's own: it says nothing of any run
            error = RejectedRequestError(str(error), status_code=404)
        return dict.fromkeys(question.run_ids, error)

    def _read_list(self, question: Question, found: Sequence[int], now: float) -> None:
        wanted = set(question.run_ids)
        complete_to = float("inf")
        if question.rung is Rung.BY_IDS:
            if not wanted.issuperset(found):
                self._step_down(question.rung, "It answered with runs that were not asked for.", now)
                return
        else:
            if list(found) != sorted(found) or any(run_id < min(wanted) for run_id in found):
                self._step_down(question.rung, "It answered with other runs than those.", now)
                return
            if len(found) >= PAGE_SIZE:
                complete_to = found[-1]
        listed = set(found)
        for run_id in wanted:
            if run_id in listed:
                self._left_out_since.pop(run_id, None)
            elif run_id <= complete_to:
                self._left_out_since.setdefault(run_id, now)
                self._unlisted[run_id] = None

    def forget(self, run_ids: Iterable[int]) -> None:
        """Count anew how long a list leaves out these runs: they are not there, or nobody waits for them."""
        for run_id in run_ids:
            self._left_out_since.pop(run_id, None)

    def _step_down(self, rung: Rung, reason: str, now: float) -> None:
        if rung is not self.rung or rung is Rung.SINGLY:
            return  # another answer has said so before
        self.rung = Rung.BY_RANGE if rung is Rung.BY_IDS else Rung.SINGLY
        self._stepped_down_at = now
        self._failed_lists, self._singles_work = 0, False
        if self.rung in self._told:
            return
        self._told.add(self.rung)
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
