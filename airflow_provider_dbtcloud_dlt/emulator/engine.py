"""All that happens to runs: the queue, run slots, execution, cancel, retry, restart.

Scripted runs are moved on whenever somebody looks: their next change has a time, and `settle` applies what is due,
in order, at the time it was due. A run with real dbt has a thread while it executes.

Queued → Starting → Running → Success | Error | Cancelled. A run waits while the account's run slots are taken or an
older run of its job is not finished (https://docs.getdbt.com/docs/deploy/job-scheduler).
"""

import contextlib
import heapq
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow_provider_dbtcloud_dlt.emulator import commands, dbt, scripted
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock, RealClock
from airflow_provider_dbtcloud_dlt.emulator.config import Config, Job
from airflow_provider_dbtcloud_dlt.emulator.scripted import Script
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, Status, StepRecord, Store, step_key

TICK_SECONDS = 0.25


class NotFoundError(LookupError):
    """There is no such job, run, step or artifact in this account."""


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
        on_finished: Called with each run that ends, in whatever thread ended it.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        clock: Clock | None = None,
        on_finished: Callable[[Run], None] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock or RealClock()
        self._on_finished = on_finished
        self._folder = state_dir
        self._store = Store(state_dir / "emulator.sqlite")
        self._lock = threading.RLock()
        self._jobs = {job.id: job for job in config.jobs}
        self._scripts: dict[int, Script | None] = {job.id: job.script for job in config.jobs}
        self._queue: dict[int, Run] = {}
        self._active: dict[int, Run] = {}
        self._due: list[tuple[int, int]] = []
        self._workers: dict[int, tuple[dbt.Execution, threading.Thread]] = {}
        self._closing = threading.Event()
        self._recover()
        self._ticker = threading.Thread(target=self._tick, name="dbt-cloud-emulator-tick", daemon=True)
        self._ticker.start()

    # --- reading -----------------------------------------------------------------------------------------------

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
            self.settle()
            run = self._active.get(run_id) or self._queue.get(run_id) or self._store.run(run_id)
            if run is None:
                raise NotFoundError(f"There is no run {run_id}.")
            return run

    def runs(self, which: Selection) -> tuple[list[Run], int]:
        """Return a page of runs, and how many there are on all pages."""
        with self._lock:
            self.settle()
            return self._store.select(which)

    def latest_of(self, job_id: int) -> Run | None:
        """Return a job's newest run, if it has any."""
        with self._lock:
            self.settle()
            return self._store.latest_of(job_id)

    def retries_of(self, run_id: int) -> list[Run]:
        """Return the runs that retried a run, oldest first."""
        with self._lock:
            return self._store.retries_of(run_id)

    def steps(self, run: Run) -> list[StepRecord]:
        """Return a run's steps, their logs as far as they have got."""
        if run.script is not None:
            return scripted.steps(run, _script(run.script), _plan(run), self.clock.now())
        with self._lock:
            records = self._store.steps(run.id)
        for record in records:
            record.logs = _read(self._files(run.id).log(record.index))
        return records

    def step(self, step_id: int) -> StepRecord:
        """Return one step.

        Raises:
            NotFoundError: If there is none with that id.
        """
        run_id, index = step_key(step_id)
        for record in self.steps(self.run(run_id)):
            if record.index == index:
                return record
        raise NotFoundError(f"There is no step {step_id}.")

    def debug_log(self, record: StepRecord) -> str:
        """Return the log file that the step's dbt wrote, or nothing."""
        return _read(self._files(record.run_id).debug_log(record.index))

    def blocked_by(self, run: Run) -> list[int]:
        """Return the ids of the runs that a queued run waits for."""
        with self._lock:
            if run.id not in self._queue:
                return []
            return self._blockers(run)

    def artifacts(self, run: Run, step: int | None = None) -> list[str]:
        """Return the paths of the files that a run left, at the end of a step (from 1) or of its last one."""
        if run.script is not None:
            return sorted(run.script["artifacts"]) if run.status.is_final else []
        folder = self._artifact_folder(run, step)
        if folder is None:
            return []
        return sorted(str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file())

    def artifact(self, run: Run, path: str, step: int | None = None) -> bytes:
        """Return the content of one of those files.

        Raises:
            NotFoundError: If it is not among them, wherever `path` may point.
        """
        if path not in self.artifacts(run, step):
            raise NotFoundError(f"The run {run.id} has no artifact {path!r}.")
        if run.script is not None:
            return str(run.script["artifacts"][path]).encode()
        folder = self._artifact_folder(run, step)
        if folder is None:
            raise NotFoundError(f"The run {run.id} has no artifacts.")
        return (folder / path).read_bytes()

    # --- changing ----------------------------------------------------------------------------------------------

    def set_script(self, job_id: int, script: Script) -> None:
        """Make the job's future runs pretend.

        Raises:
            NotFoundError: If there is no such job.
        """
        self._scripts[self.job(job_id).id] = script

    def trigger(self, job_id: int, body: dict[str, Any]) -> Run:
        """Start a run of a job.

        Args:
            job_id: The job.
            body: The trigger's fields that were given, checked for their types.

        Returns:
            The run, queued.

        Raises:
            NotFoundError: If there is no such job.
            RefusedError: If a step is no dbt command.
        """
        job = self.job(job_id)
        steps = body.get("steps_override") or list(job.steps)
        for command in steps:
            try:
                commands.words(command)
            except commands.CommandError as error:
                raise RefusedError("steps_override", str(error)) from None
        plan = [commands.step(command) for command in steps]
        if job.run_generate_sources:
            plan.insert(0, commands.step("dbt source freshness", optional=True))
        generate_docs = body.get("generate_docs_override")
        if job.generate_docs if generate_docs is None else generate_docs:
            plan.append(commands.step("dbt docs generate", optional=True))
        return self._enqueue(job, plan, body)

    def retry(self, run_id: int) -> Run:
        """Start a run that takes up exactly that failed run at the step that failed.

        Raises:
            NotFoundError: If there is no such run.
            RefusedError: If it cannot be retried; the message is the API's reason.
        """
        with self._lock:
            run = self.run(run_id)
            reason = self.retry_refusal(run)
            if reason is not None:
                raise RefusedError("retry_not_supported_reason", reason)
            failed, rest = self.failure(run)
            takes_up = commands.step("dbt retry", retries=(run.id, failed.index))
            return self._enqueue(self.job(run.job_id), [takes_up, *rest], run.trigger, run)

    def rerun(self, job_id: int) -> Run:
        """Start a run from where the job's last run failed, or else a plain one without overrides.

        Raises:
            NotFoundError: If there is no such job.
        """
        with self._lock:
            last = self.latest_of(self.job(job_id).id)
            if last is not None and self.retry_refusal(last) is None:
                return self.retry(last.id)
            run = self.trigger(job_id, {"cause": "Rerun of the job"})
            run.cause_category = "rerun"
            self._store.save(run)
            return run

    def cancel(self, run_id: int) -> Run:
        """Cancel a run; one that has ended stays as it is. Returns after its processes are gone.

        Raises:
            NotFoundError: If there is no such run.
        """
        with self._lock:
            run = self.run(run_id)
            worker = self._workers.get(run_id)
            if worker is None:
                if not run.status.is_final:
                    self._finish(run, dbt.Result(Status.CANCELLED, "Cancelled by user."), self.clock.now())
                return run
        execution, thread = worker
        execution.stop()
        thread.join()
        return self.run(run_id)

    def retry_refusal(self, run: Run) -> str | None:
        """Return why a run cannot be retried, in the API's words, or None if it can."""
        if run.status is not Status.ERROR:
            return "RETRY_NOT_FAILED_RUN"
        with self._lock:
            latest = self._store.latest_of(run.job_id)
        if latest is None or latest.id != run.id:
            return "RETRY_NOT_LATEST_RUN"
        failed, _ = self.failure(run)
        if failed.index == 0:
            return "RETRY_NO_RUN_RESULTS"
        if failed.command is not None and not _is_retryable(failed.command):
            return "RETRY_UNSUPPORTED_CMD"
        if run.script is None and not dbt.has_results(self._files(run.id), failed.index):
            return "RETRY_NO_RUN_RESULTS"
        return None

    def failure(self, run: Run) -> tuple[StepRecord, list[commands.Step]]:
        """Return the step that made a run fail (index 0 if none did) and the steps that were skipped for it."""
        plan = _plan(run)
        for record in self.steps(run):
            optional = record.index <= len(plan) and plan[record.index - 1].optional
            if record.status is Status.ERROR and not optional:
                return record, plan[record.index :]
        return StepRecord(run.id, 0, "", None), []

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold all changes by others: for telling a run's state before it can change."""
        with self._lock:
            yield

    def settle(self) -> None:
        """Bring everything up to now."""
        with self._lock, self._store.transaction():
            now = self.clock.now()
            self._start_queued(now)
            while self._due and self._due[0][0] <= now:
                at, run_id = heapq.heappop(self._due)
                run = self._active.get(run_id)
                if run is not None:
                    self._advance(run, at)
                    self._start_queued(at)

    def close(self) -> None:
        """Stop: runs that execute end as errors, as they would after a kill."""
        self._closing.set()
        self._ticker.join()
        with self._lock:
            workers = list(self._workers.values())
        for execution, thread in workers:
            execution.stop()
            thread.join()
        with self._lock:
            self._store.close()

    # --- inside ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look now and then: a run with dbt may wait for a scripted one, which nobody else moves on."""
        while not self._closing.wait(TICK_SECONDS):
            self.settle()

    def _recover(self) -> None:
        """Take up what an earlier process left behind."""
        for run in self._store.unfinished():
            if run.status is Status.QUEUED:
                self._queue[run.id] = run
            elif run.script is not None:
                # It only ever existed as times in the record: nothing was lost.
                self._active[run.id] = run
                heapq.heappush(self._due, (self._next_change(run), run.id))
            else:
                self._finish(run, _interrupted(), self.clock.now())

    def _enqueue(
        self, job: Job, plan: list[commands.Step], body: dict[str, Any], retried: Run | None = None
    ) -> Run:
        script = self._scripts[job.id]
        project = job.environment.project
        if script is not None or project.dir is None or project.profiles_dir is None:
            prepared = commands.preparation("of the profile")
        else:
            prepared = commands.preparation(dbt.connection_type(project.dir, project.profiles_dir))
            if dbt.has_packages(project.dir):
                prepared.append(commands.step("dbt deps"))
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
                cause_category="api" if retried is None else "rerun",
                retrying_run_id=None if retried is None else retried.id,
                dbt_version=body.get("dbt_version_override") or job.environment.dbt_version,
            )
            self._store.add(run)
            self._queue[run.id] = run
            return run

    def _blockers(self, run: Run) -> list[int]:
        if run.script is not None and run.script["concurrent"]:
            return []
        counted = [one for one in self._active.values() if not (one.script and one.script["concurrent"])]
        same = [one.id for one in counted if one.job_id == run.job_id]
        same += [one.id for one in self._queue.values() if one.job_id == run.job_id and one.id < run.id]
        if same:
            return same
        return [one.id for one in counted] if len(counted) >= self.config.account.run_slots else []

    def _start_queued(self, at: int) -> None:
        for run in list(self._queue.values()):
            if self._blockers(run):
                continue
            del self._queue[run.id]
            self._active[run.id] = run
            run.status, run.dequeued_at = Status.STARTING, max(at, run.created_at)
            if run.script is not None:
                heapq.heappush(self._due, (self._next_change(run), run.id))
            else:
                self._execute(run)
            self._save(run, at)

    def _next_change(self, run: Run) -> int:
        script = _script(run.script or {})
        if run.started_at is None:
            return (run.dequeued_at or run.created_at) + round(script.starting_seconds * SECOND)
        timeout = self._timeout(run)
        seconds = min(script.seconds, timeout) if timeout else script.seconds
        return run.started_at + round(seconds * SECOND)

    def _advance(self, run: Run, at: int) -> None:
        """Make a scripted run's next change."""
        if run.started_at is None:
            run.status, run.started_at = Status.RUNNING, at
            self._save(run, at)
            heapq.heappush(self._due, (self._next_change(run), run.id))
            return
        script = _script(run.script or {})
        timeout = self._timeout(run)
        if timeout and script.seconds > timeout:
            self._finish(run, dbt.timed_out(timeout), at)
        else:
            by_user = "Cancelled by user." if script.status is Status.CANCELLED else None
            self._finish(run, dbt.Result(script.status, script.message or by_user), at)

    def _timeout(self, run: Run) -> int:
        override = run.trigger.get("timeout_seconds_override")
        return int(self._jobs[run.job_id].timeout_seconds if override is None else override)

    def _execute(self, run: Run) -> None:
        """Start the thread of a run with real dbt."""
        job = self._jobs[run.job_id]
        environment = job.environment
        project = environment.project
        if project.dir is None or project.profiles_dir is None:
            raise RuntimeError(f"The project {project.name!r} has no folder.")
        plan = _plan(run)
        steps = [StepRecord(run.id, index, step.name, step.command) for index, step in enumerate(plan, start=1)]
        self._store.put_steps(steps)
        settings = dbt.Settings(
            project_dir=project.dir,
            profiles_dir=project.profiles_dir,
            env=self.config.env,
            target=run.trigger.get("target_name_override") or environment.target,
            schema=run.trigger.get("schema_override") or environment.schema,
            threads=run.trigger.get("threads_override") or environment.threads,
            timeout_seconds=self._timeout(run),
        )

        def progress(index: int, status: Status) -> None:
            record, now = steps[index - 1], self.clock.now()
            record.status = status
            if status is Status.RUNNING:
                record.started_at = now
            else:
                record.finished_at = now
            with self._lock, self._store.transaction():
                self._store.put_steps([record])
                if run.started_at is None:
                    run.status, run.started_at = Status.RUNNING, now
                if status is Status.SUCCESS:
                    run.has_docs_generated |= (record.command or "").startswith("dbt docs generate")
                    run.has_sources_generated |= (record.command or "").startswith("dbt source")
                self._save(run, now)

        execution = dbt.Execution(plan, settings, self._files(run.id), self._files, progress, self.clock)

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
                self._finish(run, _interrupted() if self._closing.is_set() else result, self.clock.now())
            if not self._closing.is_set():
                self.settle()

        thread = threading.Thread(target=work, name=f"dbt-cloud-emulator-run-{run.id}", daemon=True)
        self._workers[run.id] = (execution, thread)
        thread.start()

    def _finish(self, run: Run, result: dbt.Result, at: int) -> None:
        run.status, run.status_message, run.finished_at = result.status, result.message, at
        self._queue.pop(run.id, None)
        self._active.pop(run.id, None)
        self._workers.pop(run.id, None)
        run.artifacts_saved = bool(self.artifacts(run))
        self._save(run, at)
        if self._on_finished is not None:
            self._on_finished(run)

    def _save(self, run: Run, at: int) -> None:
        run.updated_at = at
        self._store.save(run)

    def _files(self, run_id: int) -> dbt.Files:
        return dbt.Files(self._folder.resolve() / "runs" / str(run_id))

    def _artifact_folder(self, run: Run, step: int | None) -> Path | None:
        files = self._files(run.id)
        wanted = [step] if step is not None else range(len(run.plan), 0, -1)
        return next((files.artifacts(one) for one in wanted if files.artifacts(one).is_dir()), None)


def _interrupted() -> dbt.Result:
    return dbt.Result(Status.ERROR, "The emulator stopped while this run was executing.")


def _plan(run: Run) -> list[commands.Step]:
    steps = []
    for one in run.plan:
        retries = one["retries"]
        steps.append(commands.Step(one["name"], one["command"], one["optional"], retries and tuple(retries)))
    return steps


def _script(values: dict[str, Any]) -> Script:
    return Script(**{**values, "steps": tuple((name, end, log) for name, end, log in values.get("steps", ()))})


def _is_retryable(command: str) -> bool:
    return commands.subcommand(commands.words(command)) in commands.RETRYABLE


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
