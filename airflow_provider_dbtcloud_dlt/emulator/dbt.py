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
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from airflow_provider_dbtcloud_dlt.emulator import commands
from airflow_provider_dbtcloud_dlt.emulator.checkout import Checkout, CheckoutError, check_out
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


class StepFailedError(Exception):
    """A step that prepares the run failed; the message goes into its log."""


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
        self.checkout = Checkout(settings.project_dir, settings.git_branch, settings.git_sha, "")

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
            except StepFailedError as error:
                log.write_text(f"{error}\n", encoding="utf-8")
                return Status.ERROR
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
        if index == 1:
            settings = self._settings
            try:
                self.checkout = check_out(
                    settings.project_dir, self._files.repository, settings.git_branch, settings.git_sha
                )
            except CheckoutError as error:
                raise StepFailedError(str(error)) from None
            return self.checkout.log
        return write_profile(self._settings, self.checkout.project_dir, self._files.root)

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
            try:
                return self._wait(process)
            finally:
                _kill(process, 0)
                if process.stdin is not None:
                    process.stdin.close()

    def _wait(self, process: "subprocess.Popen[bytes]") -> Status:
        while True:
            try:
                return Status.SUCCESS if process.wait(POLL_SECONDS) == 0 else Status.ERROR
            except subprocess.TimeoutExpired:
                if self._must_end():
                    _kill(process, GRACE_SECONDS)
                    return Status.CANCELLED

    def _must_end(self) -> bool:
        """Whether the run was cancelled or has taken longer than it may."""
        return self._stop.is_set() or (self._deadline is not None and self._clock.now() >= self._deadline)

    def _environment(self, index: int) -> dict[str, str]:
        return {
            **os.environ,
            **self._settings.env,
            "DBT_PROJECT_DIR": str(self.checkout.project_dir),
            "DBT_PROFILES_DIR": str(self._files.root),
            "DBT_TARGET_PATH": str(self._files.target),
            "DBT_LOG_PATH": str(self._files.debug_log(index).parent),
            "DBT_USE_COLORS": "false",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
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


def write_profile(settings: Settings, project_dir: Path, folder: Path) -> str:
    """Write the run's own profiles.yml: the user's, with the run's target, schema and threads.

    Args:
        settings: What to change, and where the user's profile is.
        project_dir: Where the project's files are.
        folder: Where to write: a folder that is there.

    Returns:
        What to say about it in the step's log.

    Raises:
        StepFailedError: If the user's files do not allow it; the message says what to do.
    """
    name = _yaml(project_dir / "dbt_project.yml").get("profile")
    source = settings.profiles_dir / "profiles.yml"
    profile = _yaml(source).get(str(name))
    if not isinstance(profile, dict) or not isinstance(profile.get("outputs"), dict):
        raise StepFailedError(f"{source} has no profile {name!r}, which dbt_project.yml asks for.")
    outputs: dict[str, Any] = profile["outputs"]
    if settings.target is not None:
        if settings.target not in outputs:
            known = ", ".join(outputs)
            raise StepFailedError(
                f"The profile {name!r} in {source} has no target {settings.target!r}; it has: {known}."
            )
        profile["target"] = settings.target
    for output in outputs.values():
        if settings.schema is not None:
            output["schema"] = settings.schema
        if settings.threads is not None:
            output["threads"] = settings.threads
    copy = folder / "profiles.yml"
    copy.touch(mode=0o600)
    copy.write_text(yaml.safe_dump({name: profile}), encoding="utf-8")
    schema = settings.schema or "as in the profile"
    return f"Profile {name}, target {profile.get('target', 'default')}, schema {schema}\n"


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StepFailedError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise StepFailedError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise StepFailedError(f"{path} is not a mapping.")
    return content


def connection_type(project_dir: Path, profiles_dir: Path) -> str | None:
    """Return what the profile connects to, such as `duckdb`, or None if it does not say."""
    with contextlib.suppress(StepFailedError, AttributeError, KeyError, TypeError):
        profile = _yaml(profiles_dir / "profiles.yml")[_yaml(project_dir / "dbt_project.yml")["profile"]]
        return str(next(iter(profile["outputs"].values()))["type"])
    return None


def has_packages(project_dir: Path) -> bool:
    """Whether `dbt deps` has something to install."""
    return any((project_dir / name).is_file() for name in ("packages.yml", "dependencies.yml"))


def has_results(files: Files, step: int) -> bool:
    """Whether a step left results that `dbt retry` can take up."""
    try:
        content = (files.artifacts(step) / "run_results.json").read_bytes()
    except OSError:
        return False
    # A step that failed before it had results leaves those of the step before it in the shared target folder.
    earlier = files.artifacts(step - 1) / "run_results.json"
    return not (earlier.is_file() and earlier.read_bytes() == content)
