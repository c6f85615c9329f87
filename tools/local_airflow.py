"""A real Airflow on this machine, for the demo, the tests and the benches.

LocalExecutor, SQLite unless it is told otherwise, and four processes: API server, scheduler, DAG processor,
triggerer. They listen on the loopback interface only, on free ports, and keep what they write in one folder.
"""

import base64
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import requests
from airflow_api import AirflowAPI
from processes import Service, ServiceError, Startable, free_port, isolated_environment, stop

USERNAME = "admin"
START_SECONDS = 300.0
"""How long all of Airflow may take to be healthy: about 15 seconds on an idle machine with two cores."""

READ_ONCE = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
"""For DAG files that do not change: reading a dozen of them every half a minute takes most of a core.

A file that does change is read again all the same.
"""


class LocalAirflow(Startable):
    """Airflow's processes, each under its name in ``services``, and its REST API as ``api``.

    Use it as a context manager, or call ``start`` and ``stop``. It runs with the interpreter that runs this,
    so it sees the packages which are installed there.

    Args:
        folder: takes all that Airflow writes: database, logs, home and temporary files; made if need be.
        dags: the folder with the DAG files.
        env: environment variables for all processes, tasks included; they win over the settings made here.
        triggerers: how many triggerers to start: ``triggerer``, ``triggerer-2`` and so on.
        parallelism: how many tasks may run at once.
    """

    def __init__(
        self,
        folder: Path,
        dags: Path,
        *,
        env: Mapping[str, str] | None = None,
        triggerers: int = 1,
        parallelism: int = 4,
    ) -> None:
        self.folder = folder.resolve()
        self.password = secrets.token_urlsafe(12)
        self.username = USERNAME
        self.services: dict[str, Service] = {}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.api = AirflowAPI(self.url, self.username, self.password, check=self.check)
        self._commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(port)],
            # Logs are read from the folder that all share: no log servers, which listen on every interface.
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        for number in range(2, triggerers + 1):
            self._commands[f"triggerer-{number}"] = self._commands["triggerer"]
        self._home = self.folder / "airflow"
        self._passwords = self._home / "passwords.json"
        self.env = (
            isolated_environment(self.folder) | self._settings(dags.resolve(), parallelism) | dict(env or {})
        )

    def start(self) -> None:
        """Make the database, start every process and wait until all are healthy.

        Raises:
            ServiceError: if a process ends or is not healthy in time; the message holds its log's tail.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        self._passwords.touch(mode=0o600)
        self._passwords.write_text(json.dumps({self.username: self.password}))
        self._migrate(START_SECONDS)
        for name in self._commands:
            self.start_service(name)
        self.wait_until_healthy()

    def start_service(self, name: str) -> Service:
        """Start one process by its name, again if it was stopped or killed."""
        self.services[name] = Service(
            name,
            [sys.executable, "-m", "airflow", *self._commands[name]],
            env=self.env,
            log=self.folder / "logs" / f"{name}.log",
            cwd=self._home,
        )
        return self.services[name]

    def check(self) -> None:
        """Raise ServiceError if a process has ended of itself; the message holds its log's tail."""
        for service in self.services.values():
            service.check()

    def wait_until_healthy(self, timeout: float = START_SECONDS) -> None:
        """Wait until the API server answers and reports every other component as healthy."""
        deadline = time.monotonic() + timeout
        health: dict[str, str | None] = {}
        while not (health and set(health.values()) == {"healthy"}):
            self.check()
            if time.monotonic() > deadline:
                tails = "\n".join(service.log_tail(15) for service in self.services.values())
                raise ServiceError(
                    f"Airflow was not healthy within {timeout:.0f} s: {health or 'no answer'}\n{tails}"
                )
            time.sleep(0.3)
            try:
                health = self.api.health()
            except (requests.ConnectionError, requests.Timeout, ValueError):
                health = {}

    def stop(self) -> None:
        """Stop all processes and what they started; harmless when nothing runs."""
        services, self.services = self.services, {}
        stop(services.values())

    def task_processes(self) -> dict[int, tuple[psutil.Process, psutil.Process]]:
        """Process id, as Airflow knows it → the processes of worker and task, of all tasks that run now."""
        # Their titles name the task instance, but not everywhere: a small environment has no room for that.
        found = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in psutil.Process(self.services["scheduler"].pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.update({task.pid: (worker, task) for task in worker.children()})
        return found

    def _migrate(self, timeout: float) -> None:
        log = self.folder / "logs" / "migrate.log"
        service = Service(
            "airflow db migrate",
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=self.env,
            log=log,
            cwd=self._home,
        )
        service.finish(timeout)

    def _settings(self, dags: Path, parallelism: int) -> dict[str, str]:
        settings = {
            "CORE__DAGS_FOLDER": dags,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": parallelism,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.username}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self._passwords,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "CORE__TEST_CONNECTION": "Enabled",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._home / 'airflow.db'}",
            "API__HOST": "127.0.0.1",
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "API__SECRET_KEY": secrets.token_hex(32),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "LOGGING__BASE_LOG_FOLDER": self.folder / "logs" / "tasks",
            "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": self.folder / "logs" / "dag-files",
            # Found soon rather than cheaply: there are few DAG files, and somebody waits.
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
            "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": self._home / "bundles",
            "SCHEDULER__ENABLE_HEALTH_CHECK": False,
            "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
            # Before its first answer to a task the API server puts its routes together, which on a loaded
            # machine takes longer than the five seconds for which a task waits otherwise.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        return {
            "AIRFLOW_HOME": str(self._home),
            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        }
