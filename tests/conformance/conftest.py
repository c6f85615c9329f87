"""Other people's clients of dbt Cloud: their environments, and what their drivers tell.

Each client has a driver (`clients/`), which runs with the Python of its own environment (`requirements/`).
The environments are made with uv, from the index that it is told of by its own settings, and are kept in
`.ci/work/peers`, or the folder that PEERS_FOLDER names, for as long as the pins and the Python are the same.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

HERE = Path(__file__).parent
CLIENTS = sorted(path.stem for path in (HERE / "requirements").glob("*.txt"))
FOLDER = Path(os.environ.get("PEERS_FOLDER") or HERE.parents[1] / ".ci" / "work" / "peers")
INSTALL_SECONDS = 300
DRIVE_SECONDS = 240
TABLE = pytest.StashKey[str]()

# Nothing may leave this machine, and nothing of the caller's may reach the clients.
QUIET = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
}
RUN_RESULTS = {
    "metadata": {"invocation_id": "1", "env": {"DBT_CLOUD_RUN_ID": "1"}},
    "results": [{"unique_id": "model.shop.orders", "status": "success"}],
}


@dataclass
class Told:
    """What became of a client.

    Attributes:
        calls: Call → ``passed``, or what went wrong.
        versions: Package → its version.
        log: All else that the driver printed.
        missing: Why its environment could not be made, if so.
        install_seconds: How long making it took; 0 if it was there already.
        drive_seconds: How long the driver took.
    """

    calls: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    log: str = ""
    missing: str = ""
    install_seconds: float = 0.0
    drive_seconds: float = 0.0


class UnreachableError(RuntimeError):
    """What belongs into an environment could not be had; the message is the installer's."""


def uv() -> str:
    """Return where uv is: beside this Python, or on the path."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return shutil.which("uv", path=beside) or "uv"


def install(client: str) -> Path:
    """Make a client's environment, unless one of the same pins and the same Python is there.

    Args:
        client: The name of its driver and of its pins.

    Returns:
        Its interpreter.

    Raises:
        UnreachableError: If its packages could not be installed.
    """
    pins = HERE / "requirements" / f"{client}.txt"
    state = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    place = FOLDER / client
    python, complete = place / "bin" / "python", place / "complete"
    if not complete.is_file() or complete.read_text(encoding="utf-8") != state:
        call_uv("venv", "--clear", "--python", sys.executable, place)
        # The pins are all that is needed, and what is no wheel would be compiled for minutes.
        call_uv("pip", "install", "--no-deps", "--no-build", "--python", python, "--requirements", pins)
        complete.write_text(state, encoding="utf-8")
    return python


def call_uv(*words: object) -> None:
    """Run uv, without a word unless it fails."""
    command = [uv(), "--quiet", "--no-progress", *map(str, words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(str(error)) from error
    if done.returncode != 0:
        raise UnreachableError(done.stderr.strip())


def drive(client: str, emu: Emulator, home: Path) -> Told:
    """Install a client and let its driver make the calls, with these environment variables alone."""
    told = Told()
    began = time.monotonic()
    try:
        python = install(client)
    except UnreachableError as error:
        told.missing = str(error)
        return told
    installed = time.monotonic()
    told.install_seconds = installed - began
    home.mkdir(exist_ok=True)
    settings = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "DAGSTER_HOME": str(home),
        "CONFORMANCE": json.dumps(facts(client, emu)),
        "REQUESTS_CA_BUNDLE": str(emu.ca_file),
        "SSL_CERT_FILE": str(emu.ca_file),
        **QUIET,
    }
    command = [str(python), str(HERE / "clients" / f"{client}.py")]
    try:
        done = subprocess.run(
            command,
            env=settings,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=DRIVE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        told.log = f"no end after {error.timeout} seconds\n{(error.stderr or b'').decode()}"
        return told
    told.drive_seconds = time.monotonic() - installed
    told.log = done.stderr
    if done.returncode == 0:
        answer = json.loads(done.stdout)
        told.calls, told.versions = answer["calls"], answer["versions"]
    return told


def facts(client: str, emu: Emulator) -> dict[str, Any]:
    """Return what a driver has to know; a project of its own, so that lists hold its own runs only."""
    number = CLIENTS.index(client) + 1
    return {
        "host": emu.url.removeprefix("https://"),
        "account": emu.account_id,
        "token": emu.token,
        "project": number,
        "project_name": client,
        "environment": number * 10,
        "environment_name": f"of {client}",
        "good": number * 1000 + 1,
        "bad": number * 1000 + 2,
        "slow": number * 1000 + 3,
    }


def config() -> dict[str, Any]:
    """Return the account: for each client a project, with jobs that end well, that fail, that go on."""
    scripts = {
        "good": {"seconds": 2, "artifacts": {"run_results.json": json.dumps(RUN_RESULTS)}},
        "bad": {"seconds": 2, "outcome": "error"},
        "slow": {"seconds": 600},
    }
    # None of these clients waits for artifacts that come later than the end of their run.
    lag = {"artifacts": 0, "logs": 0}
    served: dict[str, Any] = {"account": {"id": 12345, "token": "a-dummy-token"}, "lag": lag}
    served |= {"projects": [], "environments": [], "jobs": []}
    for number, client in enumerate(CLIENTS, start=1):
        place = {"name": f"of {client}", "project": client}
        served["projects"].append({"id": number, "name": client})
        served["environments"].append({"id": number * 10, **place})
        for offset, (name, script) in enumerate(scripts.items(), start=1):
            job = {"id": number * 1000 + offset, "name": name, "environment": place["name"]}
            served["jobs"].append({**job, "steps": ["dbt build"], "script": {**script, "concurrent": True}})
    return served


@pytest.fixture(scope="session")
def cloud() -> Iterator[Emulator]:
    """The emulator, over https: several clients speak nothing else."""
    with emulator(config(), tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def told(
    request: pytest.FixtureRequest, cloud: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Told]]:
    """What a client's driver told; those of the selected tests run, two at a time."""
    homes = tmp_path_factory.mktemp("peers")
    # Other folders' tests may have arguments of these names as well.
    wanted = {
        item.callspec.params["client"]
        for item in request.session.items
        if item.path.parent == HERE and "told" in item.fixturenames
    }
    with ThreadPoolExecutor(2) as threads:
        running: dict[str, Future[Told]] = {
            client: threads.submit(drive, client, cloud, homes / client)
            for client in CLIENTS
            if client in wanted
        }
        yield lambda client: running[client].result()
    table = markdown({client: one.result() for client, one in running.items()})
    (homes / "conformance.md").write_text(table, encoding="utf-8")
    request.config.stash[TABLE] = table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table, whether tests failed or not."""
    if TABLE in config.stash:
        terminalreporter.section("other clients")
        terminalreporter.write(config.stash[TABLE])


def markdown(results: dict[str, Told]) -> str:
    """Return the table, and how long each client took."""
    rows = list(dict.fromkeys(call for one in results.values() for call in one.calls))
    lines = [f"| call | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    for call in rows:
        lines.append(f"| {call} | {' | '.join(one.calls.get(call, '-') for one in results.values())} |")
    lines.append("")
    for client, one in results.items():
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        took = f"environment {one.install_seconds:.1f} s, calls {one.drive_seconds:.1f} s"
        lines.append(f"- {client}: {versions}; {took}" + (f"; {one.missing}" if one.missing else ""))
    return "\n".join([*lines, ""])
