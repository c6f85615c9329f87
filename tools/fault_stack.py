"""Where the fault matrix is played: a real Airflow with two triggerers, and the emulator."""

import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psutil
import yaml
from airflow_api import FINAL_STATES
from local_airflow import READ_ONCE, LocalAirflow
from local_emulator import LocalEmulator
from processes import Startable

from airflow_provider_dbtcloud_dlt.client import Run

DAGS = Path(__file__).parent / "fault_dags"
ACCOUNT_ID = 2013
RUN_SECONDS = 3600.0
"""How long every dbt run takes; it ends when the emulator's clock is moved on."""
HEARTBEAT_TIMEOUT = 30
"""Seconds until the scheduler gives up a task that sends no sign of life."""


@dataclass(frozen=True)
class Provider:
    """One of the two that are compared."""

    name: str
    operator: str
    connection_id: str
    connection_type: str


OURS = Provider(
    "this provider",
    "airflow_provider_dbtcloud_dlt.operators.dbt_cloud.DbtCloudRunJobOperator",
    "ours",
    "dbt_cloud_dlt",
)
OFFICIAL = Provider(
    "official",
    "airflow.providers.dbt.cloud.operators.dbt.DbtCloudRunJobOperator",
    "official",
    "dbt_cloud",
)


@dataclass(frozen=True)
class Trials:
    """The trials of a row with one provider: a DAG, whose mapped task runs a dbt job.

    Attributes:
        row: the row's name.
        provider: whose operator.
        size: how many trials a DAG run has.
        job_id: the dbt job.
        arguments: of the operator.
        retries: of the task.
        max_active_tasks: how many of them may have a process at once.
    """

    row: str
    provider: Provider
    size: int
    job_id: int
    arguments: tuple[tuple[str, Any], ...] = ()
    retries: int = 2
    max_active_tasks: int = 6

    @property
    def dag_id(self) -> str:
        return f"{self.row}_{self.provider.connection_id}"

    def described(self) -> dict[str, Any]:
        """What the DAG file has to know."""
        arguments = {
            "dbt_cloud_conn_id": self.provider.connection_id,
            "job_id": self.job_id,
            "check_interval": 2,
            "deferrable": True,
            # Scripted runs leave no artifacts: ours would wait for them.
            **({"log_results": False} if self.provider.operator == OURS.operator else {}),
            **dict(self.arguments),
        }
        return {
            "dag_id": self.dag_id,
            "operator": self.provider.operator,
            "size": self.size,
            "retries": self.retries,
            "max_active_tasks": self.max_active_tasks,
            "arguments": arguments,
        }


@dataclass(frozen=True)
class Trial:
    """One trial as it is now: a task instance, and the dbt runs that were started for it."""

    trials: Trials
    number: int
    pid: int | None
    state: str | None
    try_number: int
    started: datetime | None
    runs: tuple[Run, ...]

    @property
    def name(self) -> tuple[str, int]:
        return self.trials.dag_id, self.number

    @property
    def has_ended(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def active_runs(self) -> list[Run]:
        """Oldest first."""
        return [run for run in self.runs if not run.is_terminal]

    @property
    def is_waiting(self) -> bool:
        """Whether it waits, or seems to, for a run that goes on."""
        waits = {"deferred"} if dict(self.trials.arguments).get("deferrable", True) else {"running"}
        return self.state in waits and bool(self.active_runs)

    @property
    def runs_left(self) -> list[Run]:
        """The runs that go on although no task waits for them."""
        return self.active_runs if self.has_ended else self.active_runs[:-1]


@dataclass(frozen=True)
class TaskProcess:
    """The process of a task, and the worker that supervises it."""

    worker: psutil.Process
    task: psutil.Process

    def kill(self, *, with_worker: bool) -> None:
        """SIGKILL, as when memory runs out, or when the machine fails and the worker is gone as well."""
        if with_worker:
            self.worker.kill()
        self.task.kill()

    def freeze(self) -> None:
        """SIGSTOP for both, as when a virtual machine is paused."""
        self.worker.suspend()
        self.task.suspend()

    def thaw(self) -> None:
        self.task.resume()
        self.worker.resume()


class Stage(Protocol):
    """Where trials are played: Airflow, with its API, and the emulator, with its client."""

    airflow: Any
    emulator: Any


def runs_of(stage: Stage, trials: Trials) -> Iterator[Run]:
    """All dbt runs that were ever started for some trials, oldest first."""
    found: Iterator[Run] = stage.emulator.client.list_runs(
        job_definition_id=trials.job_id, order_by="id", include_related=["trigger"]
    )
    return found


@dataclass(frozen=True)
class Batch:
    """DAG runs of some trials, which were started together."""

    stack: Stage
    number: int
    dag_runs: dict[Trials, str]

    def trials(self) -> list[Trial]:
        """All of them, as they are now."""
        found = []
        for trials, run_id in self.dag_runs.items():
            runs: dict[str, list[Run]] = {}
            for run in runs_of(self.stack, trials):
                if run.trigger is not None:
                    runs.setdefault(run.trigger.schema_override or "", []).append(run)
            for one in self.stack.airflow.api.task_instances(trials.dag_id, run_id):
                number = one["map_index"]
                if number >= 0:  # else the scheduler has not expanded it yet
                    its_runs = tuple(runs.get(f"{self.number}_{number}", ()))
                    started = one["start_date"] and datetime.fromisoformat(one["start_date"])
                    state, tries = one["state"], one["try_number"]
                    found.append(Trial(trials, number, one["pid"], state, tries, started, its_runs))
        return found

    def has_run(self, trial: Trial) -> bool:
        """Whether a dbt run has been started for a trial by now."""
        schema = f"{self.number}_{trial.number}"
        runs = runs_of(self.stack, trial.trials)
        return any(run.trigger is not None and run.trigger.schema_override == schema for run in runs)

    def knows_its_run(self, trial: Trial) -> bool:
        """Whether the present try has told Airflow which run it waits for."""
        run_id = self.dag_runs[trial.trials]
        pushed = self.stack.airflow.api.xcom_time(
            trial.trials.dag_id, run_id, "run", "job_run_id", trial.number
        )
        # What the try before has told is there until the process of the present one has begun to work.
        return pushed is not None and trial.started is not None and pushed > trial.started

    def mark(self, trial: Trial, state: str) -> None:
        """Mark a trial's task, as a person would."""
        run_id = self.dag_runs[trial.trials]
        self.stack.airflow.api.mark(trial.trials.dag_id, run_id, "run", state, trial.number)

    def clear(self) -> int:
        """Clear all trials' tasks, as a person would; returns how many."""
        for trials, run_id in self.dag_runs.items():
            self.stack.airflow.api.clear(trials.dag_id, run_id, "run")
        return self.size

    @property
    def size(self) -> int:
        return sum(trials.size for trials in self.dag_runs)


class FaultStack(Startable):
    """Airflow and the emulator for the trials of a matrix.

    Args:
        folder: takes everything that is written; made if need be.
        trials: all that may be run.
    """

    def __init__(self, folder: Path, trials: Sequence[Trials]) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trials = trials
        self._batches = 0
        config = self.folder / "emulator.yaml"
        config.write_text(yaml.safe_dump(_emulator_config(trials)))
        # The official provider speaks https only.
        self.emulator = LocalEmulator(self.folder, config, ACCOUNT_ID, tls=True)
        settings = {
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": HEARTBEAT_TIMEOUT,
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 3,
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 3,
            # A task whose worker is killed before it has reported anything is queued again after this time.
            "SCHEDULER__TASK_QUEUED_TIMEOUT": 60,
            "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 5,
            "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 10,
            "API__MAXIMUM_PAGE_LIMIT": 500,
        }
        self.airflow = LocalAirflow(
            self.folder,
            DAGS,
            env={f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
            | self.emulator.trust
            | READ_ONCE
            | {
                "FAULT_TRIALS": json.dumps([one.described() for one in trials]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            triggerers=2,
            parallelism=48,
        )

    def start(self) -> None:
        self.emulator.start()
        self.airflow.start()
        for provider in {one.provider for one in self.trials}:
            self.airflow.api.create_connection(
                provider.connection_id,
                provider.connection_type,
                host=self.emulator.url.removeprefix("https://"),
                login=str(ACCOUNT_ID),
                password=self.emulator.token,
            )
        for one in self.trials:
            self.airflow.api.wait_for_dag(one.dag_id)
            self.airflow.api.unpause(one.dag_id)

    def stop(self) -> None:
        self.airflow.stop()
        self.emulator.stop()

    def begin(self, trials: Iterable[Trials]) -> Batch:
        """Start a DAG run of each."""
        self._batches += 1
        conf = {"batch": self._batches}
        return Batch(
            self,
            self._batches,
            {one: self.airflow.api.trigger(one.dag_id, conf=conf) for one in trials},
        )

    def end_runs(self) -> None:
        """Move the emulator's clock on, so that all of its runs end."""
        self.emulator.admin("POST", "clock", advance_seconds=RUN_SECONDS + 60)

    def rotate_token(self) -> None:
        """Give the account another token; the connections keep the old one until `renew_connections`."""
        self.emulator.rotate_token()

    def renew_connections(self) -> None:
        """Put the account's present token into the connections, as a person would."""
        for provider in {one.provider for one in self.trials}:
            self.airflow.api.change_password(provider.connection_id, self.emulator.token)

    def kill_triggerers(self) -> None:
        """SIGKILL for both triggerers at once; then start them again."""
        names = [name for name in self.airflow.services if name.startswith("triggerer")]
        for name in names:
            self.airflow.services[name].kill()
        for name in names:
            self.airflow.start_service(name)

    def replace_triggerer(self, name: str) -> None:
        """SIGTERM for one triggerer, as when a new version is rolled out; another takes its place."""
        self.airflow.services[name].popen.send_signal(signal.SIGTERM)
        self.airflow.services[name].stop()
        self.airflow.start_service(name)

    def kill_workers(self) -> None:
        """SIGKILL for the scheduler with all of its workers; then start it again."""
        self.airflow.services["scheduler"].kill()
        self.airflow.start_service("scheduler")

    def processes(self) -> dict[int, TaskProcess]:
        """The processes of the tasks that run now, by process id."""
        return {pid: TaskProcess(*pair) for pid, pair in self.airflow.task_processes().items()}


def _emulator_config(trials: Sequence[Trials]) -> dict[str, Any]:
    script = {"seconds": RUN_SECONDS, "concurrent": True}
    return {
        "account": {"id": ACCOUNT_ID, "token_env": "DBT_EMULATOR_TOKEN"},
        "projects": [{"name": "Trials"}],
        "environments": [{"name": "Trials"}],
        "jobs": [
            {"id": one.job_id, "name": one.dag_id, "steps": ["dbt build"], "script": script} for one in trials
        ],
    }
