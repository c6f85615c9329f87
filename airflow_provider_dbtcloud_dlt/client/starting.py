"""Starts a run once: finds what an earlier try started, and starts a run only when there is none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_dbtcloud_dlt.client.checks import TRIGGER_FIELDS, check_trigger_body
from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.cool_down import through_cool_down
from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    MalformedAnswerError,
    NotFoundError,
    RejectedRequestError,
    ServerError,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.marker import Adopt, Marker, Retry, best_of, decide, runs_of
from airflow_provider_dbtcloud_dlt.client.models import ACTIVE_STATUSES, Run

LOOK_UP_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between the look-ups after a lost answer: a new run may take a moment to be listed."""
CANCEL_PAUSES = (0.5, 1.0)
"""Seconds between the look-ups of one who gives up while he starts a run, and has not long to live."""


@dataclass(frozen=True)
class Started:
    """The run to wait for, and whether this task owns it (and so may cancel it)."""

    run: Run
    owned: bool = True


@dataclass(frozen=True)
class RunStarter:
    """Starts the run of one piece of work.

    Args:
        client: asks and starts.
        job_id: the job.
        marker: names the work.
        since: no run of this work is older.
        log: what was found and done is told here.
        sleep: waits so many seconds.
        before_start: called right before anything is started, or cancelled for a start; may raise, when
            nothing shall be started any more.
    """

    client: DBTCloudClientV2
    job_id: int
    marker: Marker
    since: datetime | None
    log: Logger
    sleep: Callable[[float], None] = time.sleep
    before_start: Callable[[], None] = lambda: None

    def start(
        self,
        body: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        *,
        look_first: bool,
        wait: bool = True,
        retry_from_failure: bool = False,
        reuse_existing_run: bool = False,
    ) -> Started:
        """Return the run of this work, started now or found.

        What the rate limit refuses is waited for, within one cool-down in all.

        Args:
            body: the trigger's fields, its cause bearing the marker; or what makes them, called only when no
                run of this work is found to go on with.
            look_first: whether an earlier try may have started something.
            wait: whether the task waits for the run's end.
            retry_from_failure: retry a failed run of this work instead of starting anew.
            reuse_existing_run: join any active run of the job, whoever started it.

        Raises:
            DbtCloudError: the run could not be started; one whose answer was lost is looked for first.
        """
        # After a refusal it is as for a later try: of what came before it something may have had its effect.
        looks = itertools.chain([look_first], itertools.repeat(True))
        return through_cool_down(
            lambda: self._find_or_start(body, next(looks), wait, retry_from_failure, reuse_existing_run),
            self.log,
            self.sleep,
        )

    def _find_or_start(
        self,
        body: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        look_first: bool,
        wait: bool,
        retry_from_failure: bool,
        reuse_existing_run: bool,
    ) -> Started:
        known: list[Run] = []
        cancelled: set[int] = set()
        if look_first:
            known = self.known_runs()
            decision = decide(self.marker, known, wait=wait, retry_from_failure=retry_from_failure)
            if isinstance(decision, Adopt):
                self.log.info(
                    "Job run %s was started by an earlier try of this task (%s): going on with it.",
                    decision.run.id,
                    decision.run.status.humanized,
                )
                self._cancel_twins(decision.cancel)
                return Started(decision.run)
            self._cancel(decision.cancel)
            cancelled = {run.id for run in decision.cancel}
            if isinstance(decision, Retry):
                retried = self._retry(decision.run)
                if retried is not None:
                    return Started(retried)
            elif decision.no_retry:
                self.log.info("%s", decision.no_retry)
        if callable(body):
            body = body()
        if reuse_existing_run:
            joined = self._active_run(body, cancelled)
            if joined is not None:
                return joined
        return Started(self._trigger(body, {run.id for run in known}))

    def known_runs(self) -> list[Run]:
        """The job's runs since `since`, newest first, with their triggers."""
        runs = []
        for run in self.client.list_runs(
            job_definition_id=self.job_id, order_by="-id", include_related=["trigger"]
        ):
            if self.since is not None and run.created_at is not None and run.created_at < self.since:
                break
            runs.append(run)
        return runs

    def cancel_started(self) -> None:
        """Cancel the runs of this work, for one who gives up while he starts a run; failures are logged.

        The trigger may take a moment to be carried out: it is looked for again, for as long as somebody who
        is about to be killed has time.
        """
        for pause in (0.0, *CANCEL_PAUSES):
            self.sleep(pause)
            try:
                runs = [run for _, run in runs_of(self.marker, self.known_runs()) if not run.is_terminal]
                for run in runs:
                    self.log.warning("Cancelling job run %s, for its start was broken off.", run.id)
                    self.client.cancel_run(run.id)
            except DbtCloudError as error:
                self.log.warning("A run that was started could not be cancelled and may go on. %s", error)
            else:
                if runs:
                    return
        self.log.warning("No run was found; if one appears, its cause begins with %s.", self.marker)

    def _cancel(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self.before_start()  # who may not start a run may not make room for one either
            self.log.warning("Cancelling job run %s, left behind when this task was cleared.", run.id)
            self.client.cancel_run(run.id)

    def _cancel_twins(self, runs: Iterable[Run]) -> None:
        """Cancel what goes on beside the run that is waited for, which a failure here does not endanger."""
        for run in runs:
            self.log.warning("Cancelling job run %s: another of this task is waited for.", run.id)
            try:
                self.client.cancel_run(run.id)
            except DbtCloudError as error:
                self.log.warning("Job run %s could not be cancelled and may go on. %s", run.id, error)

    def _retry(self, run: Run) -> Run | None:
        self.before_start()
        try:
            retried = self.client.retry_run(run.id)
        except (RejectedRequestError, NotFoundError) as error:
            self.log.warning("Job run %s can't be retried, starting anew. %s", run.id, error)
            return None
        except LOST as error:
            found = self._find_retry(run) if _may_have_started(error) else None
            if found is None:
                raise
            retried = found
        self.log.info("Job run %s failed; run %s takes it up at its point of failure.", run.id, retried.id)
        return retried

    def _find_retry(self, run: Run) -> Run | None:
        """The retry of a run, when the answer to the request for it was lost."""
        return self._look_again(lambda: [one for one in self.known_runs() if one.retrying_run_id == run.id])

    def _active_run(self, body: Mapping[str, Any], cancelled: Container[int]) -> Started | None:
        """The newest active run of the job that runs what this task wants, whoever started it."""
        runs = self.client.list_runs(
            job_definition_id=self.job_id,
            status__in=list(ACTIVE_STATUSES),
            order_by="-created_at",
            include_related=["trigger"],
        )
        for run in runs:
            if run.id in cancelled:  # it may take a moment to end
                continue
            difference = _other_overrides(run, body)
            if not difference:
                cause = run.trigger.cause if run.trigger else None
                self.log.info("Joining the active job run %s (cause: %s).", run.id, cause)
                theirs = Marker.of(run)
                return Started(run, owned=theirs is not None and theirs.work == self.marker.work)
            self.log.info(
                "Not joining job run %s: it has another %s than this task asks for.",
                run.id,
                " and ".join(difference),
            )
        return None

    def _trigger(self, body: Mapping[str, Any], known: Container[int]) -> Run:
        """Start the run; of a lost answer's run and a second one, both active, the older stays."""
        try:
            return self._start_run(body)
        except LOST as error:
            if not _may_have_started(error):
                raise
            self.log.warning(
                "The answer to the trigger was lost; looking whether a run was started. %s", error
            )
            return self._find_lost(known) or self._trigger_again(body, known)

    def _start_run(self, body: Mapping[str, Any]) -> Run:
        self.before_start()
        run = self.client.start_run(self.job_id, body)
        self.log.info("Started job run %s: %s", run.id, run.href)
        return run

    def _trigger_again(self, body: Mapping[str, Any], known: Container[int]) -> Run:
        """After a lost answer and a minute in which no run appeared: it was the request that was lost."""
        self.log.warning("No run has appeared for a minute: triggering once more.")
        try:
            run = self._start_run(body)
        except LOST as error:
            found = self._find_lost(known) if _may_have_started(error) else None
            if found is None:
                raise
            return found
        try:
            twins = [one for one in self._new_runs(known) if one.id != run.id]
        except DbtCloudError as error:  # the next try of the task, if there is one, looks again
            self.log.warning("Could not look for a run of the first trigger. %s", error)
            return run
        return self._keep_one([run, *twins])

    def _find_lost(self, known: Container[int]) -> Run | None:
        """The run of a trigger whose answer was lost, which may have ended by now; None if there is none."""
        return self._look_again(lambda: self._new_runs(known))

    def _look_again(self, look: Callable[[], list[Run]]) -> Run | None:
        for pause in LOOK_UP_PAUSES:
            self.sleep(pause)
            try:
                found = look()
            except DbtCloudError as error:
                self.log.info("Could not look yet. %s", error)
                continue
            if found:
                run = self._keep_one(found)
                self.log.info("Job run %s had been started all the same: going on with it.", run.id)
                return run
        return None

    def _keep_one(self, runs: list[Run]) -> Run:
        """Of what one try has started, the run that a later try would go on with as well."""
        kept = best_of(sorted(runs, key=lambda run: run.id, reverse=True))
        self._cancel_twins(run for run in runs if run is not kept and not run.is_terminal)
        return kept

    def _new_runs(self, known: Container[int]) -> list[Run]:
        """The runs of this epoch that were not known before, newest first."""
        ours = runs_of(self.marker, self.known_runs())
        return [run for epoch, run in ours if epoch == self.marker.epoch and run.id not in known]


def _may_have_started(error: DbtCloudError) -> bool:
    return not isinstance(error, UnreachableError) or error.sent


LOST = (UnreachableError, ServerError, MalformedAnswerError)
"""Failures of a trigger that do not say whether it took effect."""

OVERRIDES = tuple(name for name in TRIGGER_FIELDS if name.startswith("git_") or name.endswith("_override"))


def _other_overrides(run: Run, body: Mapping[str, Any]) -> list[str]:
    """The overrides in which a run differs from what a task asks for."""
    if run.trigger is None:
        return []
    wanted = check_trigger_body(body)  # numbers may be rendered templates, steps a tuple
    differences = []
    for name in OVERRIDES:
        theirs, ours = getattr(run.trigger, name), wanted.get(name)
        theirs = list(theirs) if isinstance(theirs, tuple) else theirs
        if (theirs or None) != (ours or None):
            differences.append(name)
    return differences
