"""The Airflow of docker-compose.yaml on this machine, without a container: a process for each."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path

from airflow_api import AirflowAPI
from compose_native import Host, Native
from local_emulator import EmulatorAPI
from postgres_server import find_program, postgres
from processes import Service, ServiceError, Startable, stop

START_SECONDS = 240.0
"""How long a service may take until it is healthy, or has ended if that is what it is for."""
CHECK_SECONDS = 3.0
"""Between two health checks, which take seconds of CPU that what starts could use."""
CHECK_TIMEOUT = 60.0
"""What one check may take: some start a Python that imports Airflow."""


class LocalCluster(Startable):
    """The processes of all services, by their containers' names, and Airflow's REST API as ``api``.

    Use it as a context manager, or call ``start`` and ``stop``. Services start in the file's order, each when
    what it waits for has ended or its health check, the file's own, succeeds.

    Attributes:
        services: the processes that run, by name, such as ``worker-2``.
        api: Airflow's REST API; known once it has started.
        emulator: the emulator of dbt Cloud; known once it has started.
        login: what a person has to type in to see Airflow; known once it has started.

    Args:
        folder: takes all that is written; made if need be.
        dags: the folder with the DAG files and the emulator's configuration, instead of the checkout's.
        account_id: the account of that configuration.
        env: settings for Airflow beyond the file's.
        say: told of each container that is up, by name, and what became of it.
    """

    api: AirflowAPI
    emulator: EmulatorAPI
    login: str

    def __init__(
        self,
        folder: Path,
        dags: Path,
        account_id: int,
        *,
        env: Mapping[str, str] | None = None,
        say: Callable[[str, str], object] = lambda name, what: None,
    ) -> None:
        self.folder = folder.resolve()
        self.services: dict[str, Service] = {}
        self._native = Native(self.folder, {"./dags_examples": dags.resolve()}, dict(env or {}))
        self._account_id = account_id
        self._say = say
        self._postgres = ExitStack()

    def start(self) -> None:
        """Start every service in its order; returns when all are healthy.

        Raises:
            ServiceError: if one ends or is not healthy in time; the message holds its log's tail.
        """
        native = self._native
        order = TopologicalSorter({name: native.comes_after(name) for name in native.services})
        order.prepare()
        # What waits for the same starts at the same time, as Compose has it.
        while order.is_active():
            ready = order.get_ready()
            hosts = [host for host in self._native.hosts.values() if host.service in ready]
            for host in hosts:
                self.start_host(host.name)
            for host in hosts:
                self.wait_until_healthy(host.name)
            order.done(*ready)
        secrets = native.volume("secrets")
        ((username, password),) = json.loads((secrets / "login.json").read_text()).items()
        self.login = f"user {username}, password {password}"
        self.api = AirflowAPI(native.url("api-server"), username, password, check=self.check)
        token = (secrets / "emulator-token").read_text()
        self.emulator = EmulatorAPI(native.url("emulator"), token, self._account_id)

    def start_host(self, name: str) -> None:
        """Start what plays a container, again if it was killed; to its end if that is what it is for."""
        host = self._native.hosts[name]
        if host.service == "postgres":
            self._start_postgres(host)
            return
        log = self.folder / "logs" / f"{name}.log"
        service = Service(name, host.argv, env=host.env, log=log, cwd=host.root)
        if host.lasts:
            self.services[name] = service
            return
        service.finish(START_SECONDS)
        self._say(name, "has done its work")

    def wait_until_healthy(self, name: str) -> None:
        """Wait until a container's own health check succeeds; at once where the file has none.

        Raises:
            ServiceError: if the process ends, or is not healthy in time.
        """
        host, service = self._native.hosts[name], self.services.get(name)
        if host.check is None:
            return
        deadline = time.monotonic() + START_SECONDS
        while (answer := _checked(host)).returncode != 0:
            if service is not None:
                service.check()
            if time.monotonic() > deadline:
                said = f"{answer.stdout}{answer.stderr}".strip()
                tail = service.log_tail() if service else ""
                raise ServiceError(f"{name} was not healthy within {START_SECONDS:.0f} s: {said}\n{tail}")
            time.sleep(CHECK_SECONDS)
        self._say(name, "is healthy")

    def kill(self, name: str) -> None:
        """SIGKILL for what plays a container and all that it has started, as when its machine fails."""
        self.services.pop(name).kill()

    def check(self) -> None:
        """Raise ServiceError if a process has ended of itself; the message holds its log's tail."""
        for service in self.services.values():
            service.check()

    def stop(self) -> None:
        """Stop all processes; harmless when nothing runs."""
        services, self.services = self.services, {}
        stop(services.values())
        self._postgres.close()

    def _start_postgres(self, host: Host) -> None:
        """What the image's entry point does with the service's settings."""
        initdb = find_program("initdb")
        if initdb is None:
            raise ServiceError("A cluster needs PostgreSQL: apt-get install postgresql.")
        server = postgres(
            initdb,
            user=host.env["POSTGRES_USER"],
            password=Path(host.env["POSTGRES_PASSWORD_FILE"]).read_text(),
            database=host.env["POSTGRES_DB"],
            port=self._native.ports["postgres"],
        )
        self._postgres.enter_context(server)


def _checked(host: Host) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            host.check or ["true"],
            env=host.env,
            cwd=host.root,
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = f"no answer within {CHECK_TIMEOUT:.0f} s"
        return subprocess.CompletedProcess(error.cmd, 1, "", said)
