"""What sensors cost in a real Airflow, with this provider and the official one after the other."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from bench_report import COMPARED, Section, compare, spreads
from bench_runs import ACCOUNT_ID, WaitingRuns, waiting_runs
from local_airflow import READ_ONCE, LocalAirflow
from postgres_server import airflow_database, find_program

DAGS = Path(__file__).parent / "bench_dags"
POLL_SECONDS = 5
FIRST_ENDS_AFTER = 5.0
PARALLELISM = 16
PATIENCE = 1800.0
TICK_SECONDS = 1.0

MEASURED = (
    "processes of tasks",
    "CPU of all of Airflow, s",
    "wall time, s",
    "until all wait, s",
    "from then on, s",
    "failed",
)
"""What `Played.cells` holds."""


@dataclass(frozen=True)
class Provider:
    """One of the two that are compared."""

    name: str
    sensor: str
    connection_id: str
    connection_type: str


PROVIDERS = (
    Provider(
        "this provider",
        "airflow_provider_dbtcloud_dlt.sensors.dbt_cloud.DbtCloudJobRunSensor",
        "ours",
        "dbt_cloud_dlt",
    ),
    Provider(
        "official", "airflow.providers.dbt.cloud.sensors.dbt.DbtCloudJobRunSensor", "official", "dbt_cloud"
    ),
)


@dataclass(frozen=True)
class Played:
    """A DAG run from its start until all of its sensors have succeeded.

    Attributes:
        processes: of tasks that were started.
        cpu: seconds that all of Airflow used.
        until_waiting: seconds until all sensors waited.
        until_done: seconds from then on, when the dbt runs began to end, until all were done.
        failed: sensors that did not succeed.
    """

    processes: int
    cpu: float
    until_waiting: float
    until_done: float
    failed: int

    @property
    def cells(self) -> tuple[float, ...]:
        wall = self.until_waiting + self.until_done
        return self.processes, self.cpu, wall, self.until_waiting, self.until_done, self.failed


@dataclass
class Stage:
    """Airflow with a DAG for each provider and repeat, and the dbt runs that these wait for."""

    airflow: LocalAirflow
    runs: WaitingRuns
    starts: Path

    def play(self, dag_id: str, group: int) -> Played:
        """Run a DAG; its dbt runs end when all of its sensors wait."""
        api = self.airflow.api
        size = len(self.runs.groups[group])
        api.wait_for_dag(dag_id, timeout=120)
        api.unpause(dag_id)
        cpu, begun = cpu_seconds(self.airflow), time.monotonic()
        run_id = api.trigger(dag_id)
        self._until(dag_id, run_id, ("deferred", "success", "failed"), size)
        until_waiting = time.monotonic() - begun
        self.runs.release(FIRST_ENDS_AFTER, group)
        self._until(dag_id, run_id, ("success", "failed"), size)
        return Played(
            processes=self.starts.read_text().split().count(dag_id),
            cpu=cpu_seconds(self.airflow) - cpu,
            until_waiting=until_waiting,
            until_done=time.monotonic() - begun - until_waiting,
            failed=self._count(dag_id, run_id, ("failed",)),
        )

    def _until(self, dag_id: str, run_id: str, states: tuple[str, ...], size: int) -> None:
        self.airflow.api.until(
            lambda: self._count(dag_id, run_id, states) >= size,
            lambda: f"Not all of {size} sensors of {dag_id} are {' or '.join(states)}",
            PATIENCE,
            TICK_SECONDS,
        )

    def _count(self, dag_id: str, run_id: str, states: tuple[str, ...]) -> int:
        # Only the number: reading all of them again and again would cost more than what is measured.
        path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        return int(
            self.airflow.api.request("GET", path, params={"state": states, "limit": 1})["total_entries"]
        )


def cpu_seconds(airflow: LocalAirflow) -> float:
    """What all processes of Airflow have used so far, with those that have ended."""
    total = 0.0
    for service in airflow.services.values():
        parent = psutil.Process(service.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user and system, and those of children that ended
    return total


def section(size: int, repeats: int, say: Callable[[str], object]) -> Section:
    """Play both providers in turn in one Airflow."""
    initdb = find_program("initdb")
    if initdb is None:
        raise SystemExit("Airflow's part of the bench needs PostgreSQL: apt-get install postgresql.")
    dag_ids = [f"{one.connection_id}_{repeat}" for repeat in range(1, repeats + 1) for one in PROVIDERS]
    found: dict[str, list[Played]] = {one.name: [] for one in PROVIDERS}
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as temporary:
        folder = Path(temporary)
        with waiting_runs(folder / "dbt", size, groups=len(dag_ids)) as runs:
            starts, dags = folder / "starts", folder / "dags.json"
            starts.touch()
            dags.write_text(json.dumps(_described(dag_ids, runs)))
            env = {"BENCH_STARTS": str(starts), "BENCH_DAGS": str(dags), **runs.emulator.trust, **READ_ONCE}
            with (
                airflow_database(initdb) as database,
                LocalAirflow(folder, DAGS, env=env | database, parallelism=PARALLELISM) as airflow,
            ):
                _connect(airflow, runs)
                stage = Stage(airflow, runs, starts)
                for group, dag_id in enumerate(dag_ids):
                    provider = PROVIDERS[group % len(PROVIDERS)].name
                    played = stage.play(dag_id, group)
                    found[provider].append(played)
                    say(
                        f"{size} sensors, {provider}: {played.processes} processes of tasks, "
                        f"{played.cpu:.0f} s of CPU, {played.until_waiting:.0f} s until all waited, "
                        f"{played.until_done:.0f} s from then on"
                    )
    return _section(size, repeats, found)


def _described(dag_ids: list[str], runs: WaitingRuns) -> list[dict[str, Any]]:
    """What the DAG file has to know."""
    return [
        {
            "dag_id": dag_id,
            "sensor": PROVIDERS[group % len(PROVIDERS)].sensor,
            "run_ids": runs.groups[group],
            "arguments": {
                "dbt_cloud_conn_id": PROVIDERS[group % len(PROVIDERS)].connection_id,
                "poke_interval": POLL_SECONDS,
                "deferrable": True,
            },
        }
        for group, dag_id in enumerate(dag_ids)
    ]


def _connect(airflow: LocalAirflow, runs: WaitingRuns) -> None:
    for provider in PROVIDERS:
        airflow.api.create_connection(
            provider.connection_id,
            provider.connection_type,
            host=runs.emulator.url.removeprefix("https://"),
            login=str(ACCOUNT_ID),
            password=runs.emulator.token,
        )


def _section(size: int, repeats: int, found: dict[str, list[Played]]) -> Section:
    ours, official = (spreads(one.cells for one in played) for played in found.values())
    return Section(
        f"{size} deferrable sensors in a real Airflow",
        f"One triggerer, PostgreSQL, LocalExecutor with {PARALLELISM} slots, a look every {POLL_SECONDS} s; "
        f"{repeats} DAG runs each, medians, with least and most. The dbt runs begin to end "
        f"{FIRST_ENDS_AFTER:g} s after all sensors wait.",
        COMPARED,
        list(compare(MEASURED, ours, official)),
    )
