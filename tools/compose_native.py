"""docker-compose.yaml as processes of this machine: what each service runs, with which settings.

Commands, settings, health checks, mounts, replicas and order are read from the file, so that there is nothing
beside it that could say otherwise. Each replica gets a folder that stands for its container's root: what the
file mounts below Airflow's home is a link in it. What has to differ, since all share one machine, is named
in `ONE_MACHINE` and `ARGUMENTS`.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from processes import free_port, isolated_environment

REPOSITORY = Path(__file__).resolve().parent.parent
COMPOSE = REPOSITORY / "docker-compose.yaml"
HOME = "/opt/airflow"
"""Where the official image has Airflow's home."""

PORTS = {"redis": 6379, "api-server": 8080, "emulator": 8580}
"""Service → the port of its container that others, or its health check, know it by."""
HEALTH_PORT = 8974
"""Where a scheduler answers its health check."""

ONE_MACHINE = {
    # Containers go by their names.
    "CORE__HOSTNAME_CALLABLE": "container_name.container_name",
    # Nothing listens to the network.
    "API__HOST": "127.0.0.1",
    "API__PORT": str(PORTS["api-server"]),
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(HEALTH_PORT),
    "USAGE_DATA_COLLECTION__ENABLED": "false",
}
"""Settings of Airflow that containers do without."""

ARGUMENTS = {
    # Logs are read from the volume that all share: no log servers, which would all want the same port.
    "scheduler": ["--skip-serve-logs"],
    "triggerer": ["--skip-serve-logs"],
    "worker": ["--skip-serve-logs", "--celery-hostname", "celery@{host}"],
}
"""Service of Airflow → what its command is given in addition."""


class ComposeError(RuntimeError):
    """The file asks for something that this module can't do without containers."""


@dataclass(frozen=True)
class Host:
    """What plays one container.

    Attributes:
        name: the service's name, with a number where there are several: ``worker-2``.
        service: the service.
        argv: what it runs.
        env: its whole environment.
        check: the command that tells whether it is healthy; None where the file has none.
        lasts: whether it runs until it is stopped, and does not end when its work is done.
        root: the folder that stands for its container's.
    """

    name: str
    service: str
    argv: list[str]
    env: dict[str, str]
    check: list[str] | None
    lasts: bool
    root: Path


@dataclass
class Native:
    """The services of the file, for one folder and the ports that are free now.

    Attributes:
        services: what the file says of each.
        hosts: what plays the containers, by name.
        ports: where services answer here.

    Args:
        folder: takes the containers' folders and the volumes.
        mounts: other folders for some that the file mounts from the checkout, such as ``./dags_examples``.
        env: settings for all of Airflow's services, beyond the file's.
    """

    folder: Path
    mounts: Mapping[str, Path] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in (*PORTS, "postgres")}
        text = _interpolated(
            COMPOSE.read_text(),
            {
                "AIRFLOW_PORT": str(self.ports["api-server"]),
                "EMULATOR_PORT": str(self.ports["emulator"]),
            },
        )
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
        self.hosts = {
            name: self._host(service, name) for service in self.services for name in self.names(service)
        }

    def names(self, service: str) -> list[str]:
        """The containers that a service has."""
        count = self.services[service].get("deploy", {}).get("replicas", 1)
        return [service] if count == 1 else [f"{service}-{number}" for number in range(1, count + 1)]

    def url(self, service: str) -> str:
        """Where a service answers."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def environment(self, service: str) -> dict[str, str]:
        """What the file gives a service as its environment, as it is for containers."""
        return {name: str(value) for name, value in self.services[service].get("environment", {}).items()}

    def comes_after(self, service: str) -> set[str]:
        """The services that have to be healthy, or to have done their work, before this one starts."""
        return set(self.services[service].get("depends_on", {}))

    def volume(self, name: str) -> Path:
        """A volume's folder."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def root(self, service: str, name: str) -> Path:
        """A container's folder with what the file mounts in it."""
        root = self.folder / "hosts" / name
        home = root / HOME.removeprefix("/")
        home.mkdir(parents=True, exist_ok=True)
        for mount in self.services[service].get("volumes", []):
            source, target = mount.split(":")[:2]
            if not target.startswith(f"{HOME}/"):
                continue  # what a server of others keeps for itself
            link = root / target.removeprefix("/")
            link.unlink(missing_ok=True)
            link.symlink_to(self._source(source))
        return root

    def _source(self, source: str) -> Path:
        if source.startswith("./"):
            return self.mounts.get(source, REPOSITORY / source)
        return self.volume(source)

    def _host(self, service: str, name: str) -> Host:
        root = self.root(service, name)
        native = self._translation(root)
        env = isolated_environment(root) | {
            "HOSTNAME": name,
            "AIRFLOW_HOME": str(root / HOME.removeprefix("/")),
        }
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        env["PYTHONPATH"] = str(Path(__file__).parent / "cluster_host")
        env["PYTHONDONTWRITEBYTECODE"] = "1"  # DAG files are read again and again
        env["PGPORT"] = str(self.ports["postgres"])
        own = self.environment(service)
        if "AIRFLOW__CORE__EXECUTOR" in own:
            own = {f"AIRFLOW__{key}": value for key, value in ONE_MACHINE.items()} | own | dict(self.env)
        env |= {key: native(value) for key, value in own.items()}
        argv = [native(part) for part in self._command(service, name)]
        check = self._check(service)
        lasts = self.services[service]["restart"] != "no"
        return Host(name, service, argv, env, check and [native(part) for part in check], lasts, root)

    def _command(self, service: str, name: str) -> list[str]:
        """What runs in the container, with what the image's own entry point makes of it."""
        told = self.services[service]
        command = told.get("command", [])
        command = command.split() if isinstance(command, str) else command
        if "entrypoint" in told:
            return [part for part in (*told["entrypoint"], *command) if part not in ("dumb-init", "--")]
        if "AIRFLOW__CORE__EXECUTOR" not in self.environment(service):
            return list(command)
        if command[0] == "bash":
            return list(command)
        return ["airflow", *command, *(part.format(host=name) for part in ARGUMENTS.get(service, []))]

    def _check(self, service: str) -> list[str] | None:
        test = self.services[service].get("healthcheck", {}).get("test")
        if test is None:
            return None
        kind, *command = test
        if kind == "CMD-SHELL":
            return ["sh", "-c", *command]
        if kind != "CMD":
            raise ComposeError(f"The health check of {service} begins with {kind!r}, not with CMD.")
        return list(command)

    def _translation(self, root: Path) -> Callable[[str], str]:
        """How a container's paths, host names and ports are said on this machine."""
        health = str(free_port())
        numbers = {str(port): str(self.ports[name]) for name, port in PORTS.items()} | {
            str(HEALTH_PORT): health
        }
        replaced = {
            rf"{HOME}(?=/)": f"{root}{HOME}",
            r"@postgres(?=/)": f"@127.0.0.1:{self.ports['postgres']}",
            rf"(?:(?<=@)|(?<=://))({'|'.join(PORTS)})\b": "127.0.0.1",
            r"\b0\.0\.0\.0\b": "127.0.0.1",
            rf"\b({'|'.join(numbers)})\b": lambda match: numbers[match[0]],
            r"\bredis-server\b": f"redis-server --bind 127.0.0.1 --port {self.ports['redis']}",
            r"\bredis-cli\b": f"redis-cli -p {self.ports['redis']}",
        }

        def native(text: str) -> str:
            for pattern, value in replaced.items():
                text = re.sub(pattern, value, text)
            return text

        return native


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """What Docker Compose makes of ``$$`` and ``${NAME:-default}``."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match["name"], match["default"])

    return re.sub(r"\$\$|\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}", value, text)
