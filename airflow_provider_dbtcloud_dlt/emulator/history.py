"""What runs leave behind: steps, logs, artifacts, and whether they can be taken up again."""

import contextlib
import threading
from pathlib import Path

from airflow_provider_dbtcloud_dlt.emulator import commands, dbt, scripted
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock
from airflow_provider_dbtcloud_dlt.emulator.served import Lag
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Status, StepRecord, Store


class NotFoundError(LookupError):
    """There is no such job, run, step or artifact in this account."""


class History:
    """Reads what has happened; changes nothing.

    Args:
        store: The records.
        lock: Guards the store.
        folder: Where the runs' files are.
        clock: The time.
        lag: How much later than a run's end its artifacts and last logs are there.
    """

    def __init__(self, store: Store, lock: threading.RLock, folder: Path, clock: Clock, lag: Lag) -> None:
        self._store = store
        self._lock = lock
        self._folder = folder.resolve()
        self._clock = clock
        self._lag = lag

    def files(self, run_id: int) -> dbt.Files:
        """Return where a run keeps its files."""
        return dbt.Files(self._folder / "runs" / str(run_id))

    def steps(self, run: Run) -> list[StepRecord]:
        """Return a run's steps, their logs as far as they have got."""
        if run.script is not None:
            return scripted.steps(run, scripted.Script.of(run.script), plan_of(run), self._clock.now())
        with self._lock:
            records = self._store.steps(run.id)
        for record in records:
            record.logs = _read(self.files(run.id).log(record.index))
        return records

    def step(self, run: Run, index: int) -> StepRecord:
        """Return one step of a run, counted from 1.

        Raises:
            NotFoundError: If it has no such step.
        """
        for record in self.steps(run):
            if record.index == index:
                return record
        raise NotFoundError(f"The run {run.id} has no step {index}.")

    def debug_log(self, record: StepRecord) -> str:
        """Return the log file that the step's dbt wrote, or nothing."""
        return _read(self.files(record.run_id).debug_log(record.index))

    def log_is_in(self, step: StepRecord) -> bool:
        """Whether a client gets the log of a step: it comes some time after the step's end."""
        lag = round(self._lag.logs * SECOND)
        return not lag or (step.finished_at is not None and self._clock.now() >= step.finished_at + lag)

    def artifacts_are_in(self, run: Run) -> bool:
        """Whether a client gets a run's artifacts: they come later than the run's end."""
        lag = round(self._lag.artifacts * SECOND)
        return run.finished_at is not None and self._clock.now() >= run.finished_at + lag

    def artifacts(self, run: Run, step: int | None = None) -> list[str]:
        """Return the paths of the files that a run left, after a step (from 1) or after its last one."""
        if run.script is not None:
            return sorted(run.script["artifacts"]) if run.status.is_final else []
        folder = self._artifact_folder(run, step)
        if folder is None:
            return []
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def artifact(self, run: Run, path: str, step: int | None = None) -> bytes:
        """Return the content of one of those files.

        Raises:
            NotFoundError: If it is not among them, wherever `path` may point.
        """
        folder = self._artifact_folder(run, step)
        if path not in self.artifacts(run, step):
            raise NotFoundError(f"The run {run.id} has no artifact {path!r}.")
        if folder is None or run.script is not None:
            return str((run.script or {})["artifacts"][path]).encode()
        return (folder / path).read_bytes()

    def failure(self, run: Run) -> tuple[StepRecord, list[commands.Step]] | None:
        """Return the step that made a run fail and the steps that were skipped for it; None if none did."""
        plan = plan_of(run)
        for record in self.steps(run):
            optional = record.index <= len(plan) and plan[record.index - 1].optional
            if record.status is Status.ERROR and not optional:
                return record, plan[record.index :]
        return None

    def retry_refusal(self, run: Run) -> str | None:
        """Return why a run cannot be retried, in the API's words, or None if it can."""
        if run.status is not Status.ERROR:
            return "RETRY_NOT_FAILED_RUN"
        with self._lock:
            latest = self._store.latest_id_of(run.job_id)
        if latest != run.id:
            return "RETRY_NOT_LATEST_RUN"
        if not commands.can_retry(run.dbt_version):
            return "RETRY_UNSUPPORTED_VERSION"
        failure = self.failure(run)
        if failure is None:
            return "RETRY_NO_RUN_RESULTS"
        failed, _ = failure
        if failed.command is not None and not commands.is_retryable(failed.command):
            return "RETRY_UNSUPPORTED_CMD"
        if run.script is None and not dbt.has_results(self.files(run.id), failed.index):
            return "RETRY_NO_RUN_RESULTS"
        return None

    def _artifact_folder(self, run: Run, step: int | None) -> Path | None:
        files = self.files(run.id)
        wanted = [step] if step is not None else range(len(run.plan), 0, -1)
        return next((files.artifacts(one) for one in wanted if files.artifacts(one).is_dir()), None)


def plan_of(run: Run) -> list[commands.Step]:
    """Return a run's steps as they were planned."""
    steps = []
    for one in run.plan:
        retries = one["retries"]
        steps.append(commands.Step(one["name"], one["command"], one["optional"], retries and tuple(retries)))
    return steps


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
