"""Long-running processes of the demo and the tests: started in groups of their own, and surely stopped.

A service gets a session of its own, so that Ctrl-C in a terminal reaches only the program that started it,
which then stops its services. Whatever is still alive when that program ends is stopped at exit.
"""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

TERM_SECONDS = 10.0
"""How long services may take to end after SIGTERM, until they are killed."""


class ServiceError(RuntimeError):
    """A process did not start, or ended when it should not have; the message ends with its log's tail."""


class Service:
    """One process in a session of its own, its output in a log file.

    Args:
        name: what messages call it.
        argv: the command line.
        env: its whole environment.
        log: the file that takes its output; it is appended to, so that a restart keeps what was there.
        cwd: its working directory.
    """

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _running.append(self)

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group as well."""
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def check(self) -> None:
        """Raise ServiceError if the process has ended of itself."""
        if self in _running and not self.alive:
            raise ServiceError(f"{self.name} ended with status {self.popen.returncode}.\n{self.log_tail()}")

    @property
    def memory(self) -> int:
        """Bytes that it and all that it started take; what they share is counted once."""
        total = 0
        for process in _family(self):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total

    def log_tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- the end of {self.log}\n" + "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL for the process and all that it started, as a machine that fails would."""
        _signal_all(_family(self), signal.SIGKILL)
        self.popen.wait()
        _forget(self)

    def stop(self) -> None:
        stop([self])

    def finish(self, timeout: float) -> None:
        """Wait for the end of a process that ends when its work is done, and stop it if it does not.

        Raises:
            ServiceError: it took longer, or has failed; the message holds its log's tail.
        """
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{self.name} took longer than {timeout:.0f} s.\n{self.log_tail()}") from None
        finally:
            self.stop()
        if status:
            raise ServiceError(f"{self.name} ended with status {status}.\n{self.log_tail()}")


class Startable(ABC):
    """Something that consists of services, and is a context manager in which they run."""

    @abstractmethod
    def start(self) -> None:
        """Start everything, and wait until it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """Stop everything; harmless when nothing runs."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_running: list[Service] = []


def stop(services: Iterable[Service], term_seconds: float = TERM_SECONDS) -> None:
    """TERM for all services' groups at once, then KILL for what is left of them and their descendants."""
    services = list(services)
    families = {service.pid: _family(service) for service in services}
    for service in services:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGTERM)
    everyone = [process for family in families.values() for process in family]
    # Descendants may have left the group (a session of their own), hence both the group and the family.
    _, left = psutil.wait_procs(everyone, timeout=term_seconds)
    _signal_all(left, signal.SIGKILL)
    for service in services:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)
        service.popen.wait()
        _forget(service)


def _family(service: Service) -> list[psutil.Process]:
    try:
        process = psutil.Process(service.pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _forget(service: Service) -> None:
    with contextlib.suppress(ValueError):
        _running.remove(service)


@atexit.register
def _stop_what_is_left() -> None:
    if _running:
        stop(_running)


def exit_on_signals(announce: Callable[[], object] = lambda: None) -> None:
    """Make each signal that ends this program raise an exception, as Ctrl-C does: services are stopped.

    The first Ctrl-C is announced; further ones are ignored, for stopping takes some seconds and must not be
    cut short.
    """

    def interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        announce()
        raise KeyboardInterrupt

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    # A shell script has background programs ignore it.
    signal.signal(signal.SIGINT, interrupt)


def isolated_environment(folder: Path) -> dict[str, str]:
    """This process's environment, with all that a tool might leave behind led into a folder.

    The settings for Airflow, dlt and dbt that the person at the keyboard has are dropped: they are for other
    deployments than this one.
    """
    foreign = ("AIRFLOW", "DBT_", "DLT_", "DESTINATION__", "SOURCES__", "RUNTIME__")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    home, tmp = folder / "home", folder / "tmp"
    for path in (home, tmp):
        path.mkdir(parents=True, exist_ok=True)
    return env | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "TMPDIR": str(tmp),
        "DLT_DATA_DIR": str(home / ".dlt"),
        "DLT_PROJECT_DIR": str(home),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "NO_PROXY": _with_loopback(os.environ.get("NO_PROXY", "")),
        "no_proxy": _with_loopback(os.environ.get("no_proxy", "")),
        "PYTHONUNBUFFERED": "1",
    }


def _with_loopback(no_proxy: str) -> str:
    return ",".join(filter(None, [no_proxy, "127.0.0.1", "localhost"]))


def free_port() -> int:
    """A port of the loopback interface that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_file(path: Path, service: Service, timeout: float) -> str:
    """The content of a file that a service writes when it is ready."""
    deadline = time.monotonic() + timeout
    while not (path.exists() and (text := path.read_text().strip())):
        service.check()
        if time.monotonic() > deadline:
            raise ServiceError(f"{service.name} was not ready within {timeout:.0f} s.\n{service.log_tail()}")
        time.sleep(0.1)
    return text
