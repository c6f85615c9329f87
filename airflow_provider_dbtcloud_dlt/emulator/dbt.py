"""A run's steps with real dbt-core, each in a subprocess of its own.

Where dbt finds project, profile, target folder and log folder is told by environment variables, which every
dbt command honours, whereas not every command takes the options. The profile is a copy of the user's with the
run's target, schema and threads in it. The project's folder is only read (`dbt deps` aside).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_dbtcloud_dlt.emulator import checkout, commands, profiles
from airflow_provider_dbtcloud_dlt.emulator.clock import Clock
from airflow_provider_dbtcloud_dlt.emulator.store import Status

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0

# `dbt deps` writes into the project: one at a time.
_deps_lock = threading.Lock()


@dataclass(frozen=True)
class Files:
    """Where a run keeps its files: `root` belongs to this run alone."""

    root: Path

    @property
    def repository(self) -> Path:
        """The commit that the run was asked to use, if any."""
        return self.root / "repository"

    @property
    def target(self) -> Path:
        """The target folder that the run's steps share."""
        return self.root / "target"

    def log(self, step: int) -> Path:
        """What step number `step` (from 1) printed."""
        return self.root / f"step_{step}" / "output.log"

    def debug_log(self, step: int) -> Path:
        """The log file of the step's dbt."""
        return self.root / f"step_{step}" / "logs" / "dbt.log"

    def artifacts(self, step: int) -> Path:
        """The target folder as the step left it."""
        return self.root / f"step_{step}" / "artifacts"


@dataclass(frozen=True)
class Settings:
    """What a run's steps need to know.

    Attributes:
        project_dir: The project's own folder, which dbt runs in; a commit is put elsewhere.
        env: Environment variables that dbt is given on top of the emulator's own.
        target: Which target of the profile; None leaves that to the profile.
        schema: In place of the schema of the profile's targets, or None.
        threads: In place of the threads of the profile's targets, or None.
        timeout_seconds: How long the run may take; 0 is forever.
        git_branch: The branch to take the project from, or None.
        git_sha: The commit to take the project from, or None.
    """

    project_dir: Path
    profiles_dir: Path
    env: Mapping[str, str]
    target: str | None
    schema: str | None
    threads: int | None
    timeout_seconds: int
    git_branch: str | None = None
    git_sha: str | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    status: Status
    message: str | None = None


def timed_out(seconds: int) -> Result:
    """Return how a run ends that took longer than it may."""
    return Result(Status.CANCELLED, f"Cancelled by timeout: the run took longer than {seconds} seconds.")


class _EndedError(Exception):
    """The run was cancelled, or has taken longer than it may, while git was running."""


Progress = Callable[[int, Status], None]
"""Called with a step's number (from 1) and its new status."""


class Execution:
    """One run being executed.

    Args:
        plan: The steps.
        files: Where the run keeps its files.
        results_of: Where the files of another run are, for ``dbt retry``.
        clock: What the run's time-out is measured with.
        progress: Told about each step's state.

    Attributes:
        checkout: Which files the project consists of, once the first step knows.
    """

    def __init__(
        self,
        plan: list[commands.Step],
        settings: Settings,
        files: Files,
        results_of: Callable[[int], Files],
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._files = files
        self._results_of = results_of
        self._progress = progress
        self._clock = clock
        self._stop = threading.Event()
        self._deadline: int | None = None
        self.checkout = checkout.Checkout(settings.project_dir, settings.git_branch, settings.git_sha, "")

    def stop(self) -> None:
        """Ask for an end: the step's processes are killed, and `run` returns soon after."""
        self._stop.set()

    def run(self) -> Result:
        """Execute the steps in order until one fails.

        Returns:
            How the run ended.
        """
        # Logs and artifacts may hold what was selected, and the profile holds passwords: for this user alone.
        self._files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._settings.timeout_seconds:
            self._deadline = self._clock.now() + self._settings.timeout_seconds * 1_000_000
        for index, step in enumerate(self._plan, start=1):
            if self._stop.is_set():
                return Result(Status.CANCELLED, "Cancelled by user.")
            self._progress(index, Status.RUNNING)
            status = self._step(index, step)
            self._progress(index, status)
            if status is Status.CANCELLED:
                if self._stop.is_set():
                    return Result(Status.CANCELLED, "Cancelled by user.")
                return timed_out(self._settings.timeout_seconds)
            if status is Status.ERROR and not step.optional:
                return Result(Status.ERROR)
        return Result(Status.SUCCESS)

    def _step(self, index: int, step: commands.Step) -> Status:
        log = self._files.log(index)
        log.parent.mkdir(parents=True, exist_ok=True)
        if step.command is None:
            try:
                log.write_text(self._prepare(index), encoding="utf-8")
            except _EndedError:
                return Status.CANCELLED
            except (checkout.CheckoutError, profiles.FileError) as error:
                log.write_text(f"{error}\n", encoding="utf-8")
                return Status.ERROR
            return Status.SUCCESS
        if step.command == commands.DEPS and not profiles.has_packages(self.checkout.project_dir):
            # Planned before the commit was known that the run uses.
            log.write_text("The project has no packages.\n", encoding="utf-8")
            return Status.SUCCESS
        words = commands.words(step.command)
        if step.retries is not None:
            run_id, failed = step.retries
            words += ["--state", str(self._results_of(run_id).artifacts(failed))]
        with contextlib.ExitStack() as stack:
            if commands.subcommand(words) == "deps":
                while not _deps_lock.acquire(timeout=POLL_SECONDS):
                    if self._must_end():
                        return Status.CANCELLED
                stack.callback(_deps_lock.release)
            status = self._dbt(words[1:], index, log)
        if self._files.target.is_dir():
            shutil.copytree(
                self._files.target,
                self._files.artifacts(index),
                ignore=shutil.ignore_patterns("partial_parse.msgpack"),
            )
        return status

    def _prepare(self, index: int) -> str:
        """Do the steps before the first dbt command; return what they say."""
        settings = self._settings
        if index == 1:
            self.checkout = checkout.check_out(
                settings.project_dir,
                self._files.repository,
                settings.git_branch,
                settings.git_sha,
                self._run_git,
            )
            return self.checkout.log
        return profiles.write_profile(
            self.checkout.project_dir,
            settings.profiles_dir,
            self._files.root,
            target=settings.target,
            schema=settings.schema,
            threads=settings.threads,
        )

    def _run_git(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """Run git: like dbt, it is killed when the run has to end."""
        # Files, since a pipe that nobody reads while waiting fills up.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603 - no shell; checkout.py makes the words
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
                env=env,
                start_new_session=True,
            )
            if self._wait(process) is Status.CANCELLED:
                raise _EndedError
            printed = []
            for file in (output, errors):
                file.seek(0)
                printed.append(file.read().decode("utf-8", "replace"))
        return subprocess.CompletedProcess(command, process.returncode, *printed)

    def _dbt(self, arguments: list[str], index: int, log: Path) -> Status:
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - words of a checked dbt command, and no shell
                [sys.executable, "-P", str(Path(__file__).with_name("dbt_process.py")), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._settings.project_dir,
                env=self._environment(index),
                start_new_session=True,
            )
            return self._wait(process)

    def _wait(self, process: "subprocess.Popen[bytes]") -> Status:
        """Wait for a process, or for the run's end, which ends it; nothing that it started is left."""
        try:
            while True:
                try:
                    return Status.SUCCESS if process.wait(POLL_SECONDS) == 0 else Status.ERROR
                except subprocess.TimeoutExpired:
                    if self._must_end():
                        _kill(process, GRACE_SECONDS)
                        return Status.CANCELLED
        finally:
            _kill(process, 0)
            if process.stdin is not None:
                process.stdin.close()

    def _must_end(self) -> bool:
        """Whether the run was cancelled or has taken longer than it may."""
        return self._stop.is_set() or (self._deadline is not None and self._clock.now() >= self._deadline)

    def _environment(self, index: int) -> dict[str, str]:
        settings = {
            "PROJECT_DIR": str(self.checkout.project_dir),
            "PROFILES_DIR": str(self._files.root),
            "TARGET_PATH": str(self._files.target),
            "LOG_PATH": str(self._files.debug_log(index).parent),
            "USE_COLORS": "false",
            "SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        # Since 1.11 dbt looks for the longer names first.
        prefixes = ("DBT_", "DBT_ENGINE_")
        return {
            **checkout.environment(),
            **self._settings.env,
            **{prefix + name: value for prefix in prefixes for name, value in settings.items()},
            "PYTHONUNBUFFERED": "1",
        }


def _kill(process: "subprocess.Popen[bytes]", grace_seconds: float) -> None:
    """End a process and all that it started: asked first, then not."""
    for sign, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, None)):
        if patience == 0:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def has_results(files: Files, step: int) -> bool:
    """Whether a step left results that `dbt retry` can take up."""
    try:
        content = (files.artifacts(step) / "run_results.json").read_bytes()
    except OSError:
        return False
    # A step that failed before it had results leaves those of the step before it in the shared target folder.
    earlier = files.artifacts(step - 1) / "run_results.json"
    return not (earlier.is_file() and earlier.read_bytes() == content)
