"""All that happens to runs: queue, execution, end, cancel, retry, restart.

Scripted runs are moved on whenever somebody looks: their next change has a time, and `settle` applies what is
due, in order, as of the time it was due. A run with real dbt has a thread while it executes.

Queued → Starting → Running → Success | Error | Cancelled; `slots` says whose turn it is.
"""

import contextlib
import heapq
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from airflow_provider_dbtcloud_dlt.emulator import commands, dbt, profiles
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock, RealClock
from airflow_provider_dbtcloud_dlt.emulator.history import History, NotFoundError, plan_of
from airflow_provider_dbtcloud_dlt.emulator.scripted import Script
from airflow_provider_dbtcloud_dlt.emulator.served import Config, Job
from airflow_provider_dbtcloud_dlt.emulator.slots import Slots
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, Status, StepRecord, Store
from airflow_provider_dbtcloud_dlt.emulator.webhooks import Webhooks

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
BY_USER = dbt.Result(Status.CANCELLED, "Cancelled by user.")
INTERRUPTED = dbt.Result(Status.ERROR, "The emulator stopped while this run was executing.")
ORPHANED = dbt.Result(Status.ERROR, "The job of this run is no longer configured.")
NO_FOLDER = dbt.Result(
    Status.ERROR,
    "This run waited for real dbt, but its project is configured without `dir` since the emulator's restart.",
)


class RefusedError(ValueError):
    """The request cannot be granted: `field` names what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Engine:
    """The state of the emulator and everything that changes it. Thread-safe.

    Args:
        config: What is served.
        state_dir: Where the database and the runs' files are; made if need be.
        clock: The time; the machine's if left out.
        on_finished: Called with each run that ends and what it left behind, in a thread of its own.

    Attributes:
        history: Steps, logs and artifacts of runs.
        webhooks: Who is told of what happens to runs.

    Raises:
        StoreInUseError: If another emulator uses the same folder.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        clock: Clock | None = None,
        on_finished: Callable[[Run, History], None] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or RealClock()
        self._on_finished = on_finished
        self._store = Store(state_dir / "emulator.sqlite")
        self._lock = threading.RLock()
        self.history = History(self._store, self._lock, state_dir, self.clock, config.lag)
        self.webhooks = Webhooks(config, self._store, self._lock, self.clock)
        self._jobs = {job.id: job for job in config.jobs}
        self._scripts: dict[int, Script | None] = {job.id: job.script for job in config.jobs}
        # What is neither waiting nor active has ended.
        self._slots = Slots(config.account.run_slots, self._jobs)
        self._due: list[tuple[int, int]] = []
        self._workers: dict[int, tuple[dbt.Execution, threading.Thread]] = {}
        self._closing = threading.Event()
        self._finished: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._teller = threading.Thread(target=self._tell, name="dbt-cloud-emulator-tell", daemon=True)
        # A clock that was moved forward stays so: records of the future would never become due.
        self.clock.advance(max(self._store.latest_time() - self.clock.now(), 0) / SECOND)
        self._recover()
        self._teller.start()
        self._ticker = threading.Thread(target=self._tick, name="dbt-cloud-emulator-tick", daemon=True)
        self._ticker.start()

    # --- asking -------------------------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        """Return a job.

        Raises:
            NotFoundError: If there is none with that id.
        """
        try:
            return self._jobs[job_id]
        except KeyError:
            raise NotFoundError(f"There is no job {job_id}.") from None

    def run(self, run_id: int) -> Run:
        """Return a run as it is now.

        Raises:
            NotFoundError: If there is none with that id.
        """
        with self._lock:
            return replace(self._live(run_id))

    def runs(self, which: Selection) -> tuple[list[Run], int]:
        """Return a page of runs, and how many there are on all pages."""
        with self._lock:
            self.settle()
            return self._store.select(which)

    def retries_of(self, run_id: int) -> list[Run]:
        """Return the runs that retried a run, oldest first."""
        with self._lock:
            self.settle()
            return self._store.retries_of(run_id)

    def blocked_by(self, run: Run) -> list[int]:
        """Return the ids of the runs that a queued run waits for."""
        with self._lock:
            return self._slots.blockers(run)

    # --- changing -----------------------------------------------------------------------------------------

    def set_script(self, job_id: int, script: Script) -> None:
        """Make the job's future runs pretend.

        Raises:
            NotFoundError: If there is no such job.
        """
        self._scripts[self.job(job_id).id] = script

    def trigger(self, job_id: int, body: dict[str, Any], cause_category: str = "api") -> Run:
        """Start a run of a job.

        Args:
            job_id: The job.
            body: The trigger's fields that were given, checked for their types.
            cause_category: What kind of cause the API shows.

        Returns:
            The run, queued.

        Raises:
            NotFoundError: If there is no such job.
            RefusedError: If a step is no dbt command.
        """
        job = self.job(job_id)
        docs = body.get("generate_docs_override")
        try:
            plan = commands.plan(
                body.get("steps_override") or job.steps,
                generate_sources=job.run_generate_sources,
                generate_docs=job.generate_docs if docs is None else docs,
            )
        except commands.CommandError as error:
            raise RefusedError("steps_override", str(error)) from None
        return self._enqueue(job, plan, body, cause_category)

    def retry(self, run_id: int) -> Run:
        """Start a run that takes up exactly that failed run at the step that failed.

        Raises:
            NotFoundError: If there is no such run.
            RefusedError: If it cannot be retried; the message is the API's reason.
        """
        with self._lock:
            run = self._live(run_id)
            reason = self.history.retry_refusal(run)
            failure = self.history.failure(run)
            if reason is not None or failure is None:
                raise RefusedError("retry_not_supported_reason", reason or "RETRY_NO_RUN_RESULTS")
            failed, rest = failure
            takes_up = commands.step("dbt retry", retries=(run.id, failed.index))
            # The request has no body: whose run it is can only be told from the one that it retries.
            trigger = {**run.trigger, "cause": f"Retry of run {run.id}"}
            return self._enqueue(self.job(run.job_id), [takes_up, *rest], trigger, "rerun", run.id)

    def rerun(self, job_id: int) -> Run:
        """Start a run from where the job's last run failed, or else a plain one without overrides.

        Raises:
            NotFoundError: If there is no such job.
        """
        with self._lock:
            self.settle()
            last = self._store.run(self._store.latest_id_of(self.job(job_id).id) or 0)
            if last is not None and self.history.retry_refusal(last) is None:
                return self.retry(last.id)
            return self.trigger(job_id, {"cause": "Rerun of the job"}, "rerun")

    def cancel(self, run_id: int) -> Run:
        """Cancel a run; one that has ended stays as it is. Returns after its processes are gone.

        Raises:
            NotFoundError: If there is no such run.
        """
        with self._lock:
            run = self._live(run_id)
            worker = self._workers.get(run_id)
            if worker is None and not run.status.is_final:
                self._finish(run, BY_USER, self.clock.now())
        if worker is not None:
            execution, thread = worker
            execution.stop()
            thread.join()
        return self.run(run_id)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from changing anything: for telling a run's state before it goes on."""
        with self._lock:
            yield

    def settle(self) -> None:
        """Bring everything up to now."""
        with self._lock, self._store.transaction():
            if self._closing.is_set():
                return
            now = self.clock.now()
            self._start_queued(now)
            while self._due and self._due[0][0] <= now:
                at, run_id = heapq.heappop(self._due)
                run = self._slots.active(run_id)
                if run is not None:
                    self._advance(run, at)
                    self._start_queued(at)
            self.webhooks.release(now)

    def close(self) -> None:
        """Stop: runs that execute end as errors, as they would after a kill."""
        self._closing.set()
        self._ticker.join()
        with self._lock:
            workers = list(self._workers.values())
        for execution, thread in workers:
            execution.stop()
            thread.join()
        self.webhooks.close()
        self._finished.put(None)
        self._teller.join()
        with self._lock:
            self._store.close()

    # --- inside -------------------------------------------------------------------------------------------

    def _live(self, run_id: int) -> Run:
        """Return the very record that goes on changing."""
        self.settle()
        run = self._slots.find(run_id) or self._store.run(run_id)
        if run is None:
            raise NotFoundError(f"There is no run {run_id}.")
        return run

    def _tick(self) -> None:
        """Look now and then: a run with dbt may wait for a scripted one, which nobody else moves on."""
        while not self._closing.wait(TICK_SECONDS):
            try:
                self.settle()
            except Exception:
                log.exception("The emulator could not bring its runs up to date; it goes on trying.")

    def _tell(self) -> None:
        """Tell of runs that ended: whatever that does, it neither holds anything up nor undoes it."""
        while (run := self._finished.get()) is not None:
            try:
                if self._on_finished is not None:
                    self._on_finished(run, self.history)
            except (Exception, SystemExit):  # rich exits when nobody reads what it prints
                log.exception("The end of run %s could not be told.", run.id)

    def _recover(self) -> None:
        """Take up what an earlier process left behind."""
        for run in self._store.unfinished():
            if run.job_id not in self._jobs:
                self._finish(run, ORPHANED, self.clock.now())
            elif run.status is Status.QUEUED and run.script is None and not self._has_folder(run):
                self._finish(run, NO_FOLDER, self.clock.now())
            elif run.status is Status.QUEUED:
                self._slots.wait(run)
            elif run.script is not None:
                # It only ever existed as times in the record: nothing was lost.
                self._slots.enter(run)
                heapq.heappush(self._due, (self._next_change(run), run.id))
            else:
                self._interrupt(run)

    def _has_folder(self, run: Run) -> bool:
        return self._jobs[run.job_id].environment.project.dir is not None

    def _interrupt(self, run: Run) -> None:
        records = self._store.steps(run.id)
        now = self.clock.now()
        for record in records:
            if record.status is Status.RUNNING:
                record.status, record.finished_at = Status.ERROR, now
            elif not record.status.is_final:
                record.status = Status.CANCELLED
        self._store.put_steps(records)
        self._finish(run, INTERRUPTED, now)

    def _enqueue(
        self,
        job: Job,
        plan: list[commands.Step],
        body: dict[str, Any],
        cause_category: str,
        retrying_run_id: int | None = None,
    ) -> Run:
        script = self._scripts[job.id]
        project = job.environment.project
        prepared = commands.preparation(project.name)
        if script is None and project.dir is not None and project.profiles_dir is not None:
            kind = profiles.connection_type(project.dir, project.profiles_dir)
            prepared = commands.preparation(kind or project.name)
            # Whether a commit has packages is known once it is checked out.
            if profiles.has_packages(project.dir) or body.get("git_branch") or body.get("git_sha"):
                prepared.append(commands.step(commands.DEPS))
        with self._lock, self._store.transaction():
            run = Run(
                id=self._store.next_run_id(),
                job_id=job.id,
                environment_id=job.environment.id,
                project_id=project.id,
                created_at=self.clock.now(),
                trigger=body,
                plan=[asdict(step) for step in [*prepared, *plan]],
                script=None if script is None else asdict(script),
                cause_category=cause_category,
                retrying_run_id=retrying_run_id,
                dbt_version=body.get("dbt_version_override") or job.environment.dbt_version,
            )
            self._store.add(run)
            self._slots.wait(run)
            return run

    def _start_queued(self, at: int) -> None:
        for run in self._slots.next():
            self._slots.enter(run)
            run.status, run.dequeued_at = Status.STARTING, max(at, run.created_at)
            self._save(run, at)
            if run.script is not None:
                heapq.heappush(self._due, (self._next_change(run), run.id))
            else:
                self._execute(run)

    def _next_change(self, run: Run) -> int:
        script = Script.of(run.script or {})
        if run.started_at is None:
            return (run.dequeued_at or run.created_at) + round(script.starting_seconds * SECOND)
        timeout = self._timeout(run)
        seconds = min(script.seconds, timeout) if timeout else script.seconds
        return run.started_at + round(seconds * SECOND)

    def _advance(self, run: Run, at: int) -> None:
        """Make a scripted run's next change."""
        if run.started_at is None:
            run.status, run.started_at = Status.RUNNING, at
            run.git_branch, run.git_sha = run.trigger.get("git_branch"), run.trigger.get("git_sha")
            self._save(run, at)
            self.webhooks.note(run)
            heapq.heappush(self._due, (self._next_change(run), run.id))
            return
        script = Script.of(run.script or {})
        timeout = self._timeout(run)
        if timeout and script.seconds > timeout:
            self._finish(run, dbt.timed_out(timeout), at)
        else:
            message = BY_USER.message if script.status is Status.CANCELLED else None
            self._finish(run, dbt.Result(script.status, script.message or message), at)

    def _timeout(self, run: Run) -> int:
        override = run.trigger.get("timeout_seconds_override")
        return int(self._jobs[run.job_id].timeout_seconds if override is None else override)

    def _execute(self, run: Run) -> None:
        """Start the thread of a run with real dbt."""
        plan = plan_of(run)
        steps = [
            StepRecord(run.id, index, step.name, step.command) for index, step in enumerate(plan, start=1)
        ]
        self._store.put_steps(steps)

        def progress(index: int, status: Status) -> None:
            record, now = steps[index - 1], self.clock.now()
            with self._lock, self._store.transaction():
                record.status = status
                if status is Status.RUNNING:
                    record.started_at = now
                else:
                    record.finished_at = now
                self._store.put_steps([record])
                begins = run.started_at is None
                if begins:
                    run.status, run.started_at = Status.RUNNING, now
                run.git_branch, run.git_sha = execution.checkout.branch, execution.checkout.sha
                if status is Status.SUCCESS:
                    _note_command(run, record.command or "")
                self._save(run, now)
                if begins:
                    self.webhooks.note(run)

        settings = self._settings(run)
        files = self.history.files(run.id)
        execution = dbt.Execution(plan, settings, files, self.history.files, self.clock, progress)

        def work() -> None:
            try:
                result = execution.run()
            except Exception as error:  # noqa: BLE001 - a run must end, whatever is wrong with its files
                result = dbt.Result(Status.ERROR, f"The emulator could not execute the run: {error}")
            with self._lock, self._store.transaction():
                for record in steps:
                    if not record.status.is_final:
                        record.status = Status.CANCELLED
                self._store.put_steps(steps)
                if self._closing.is_set() and result.status is Status.CANCELLED:
                    result = INTERRUPTED
                self._finish(run, result, self.clock.now())
            if not self._closing.is_set():
                self.settle()

        thread = threading.Thread(target=work, name=f"dbt-cloud-emulator-run-{run.id}", daemon=True)
        self._workers[run.id] = (execution, thread)
        thread.start()

    def _settings(self, run: Run) -> dbt.Settings:
        environment = self._jobs[run.job_id].environment
        project = environment.project
        if project.dir is None or project.profiles_dir is None:
            raise RuntimeError(f"The project {project.name!r} has no folder.")
        return dbt.Settings(
            project_dir=project.dir,
            profiles_dir=project.profiles_dir,
            env=self.config.env,
            target=run.trigger.get("target_name_override") or environment.target,
            schema=run.trigger.get("schema_override") or environment.schema,
            threads=run.trigger.get("threads_override") or environment.threads,
            timeout_seconds=self._timeout(run),
            git_branch=run.trigger.get("git_branch"),
            git_sha=run.trigger.get("git_sha"),
        )

    def _finish(self, run: Run, result: dbt.Result, at: int) -> None:
        run.status, run.status_message, run.finished_at = result.status, result.message, at
        self._slots.leave(run)
        self._workers.pop(run.id, None)
        run.artifacts_saved = bool(self.history.artifacts(run))
        if run.script is not None and run.status is Status.SUCCESS:
            for step in plan_of(run):
                _note_command(run, step.command or "")
        self._save(run, at)
        self.webhooks.note(run)
        if self._on_finished is not None:
            self._finished.put(replace(run))

    def _save(self, run: Run, at: int) -> None:
        run.updated_at = at
        self._store.save(run)


def _note_command(run: Run, command: str) -> None:
    """Remember what a command that succeeded made."""
    run.has_docs_generated |= command.startswith("dbt docs generate")
    run.has_sources_generated |= command.startswith("dbt source freshness")
