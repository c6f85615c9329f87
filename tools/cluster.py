"""The Airflow of docker-compose.yaml without Docker, and what becomes of its tasks when parts of it fail.

PostgreSQL, Redis, an API server, a DAG processor, two each of schedulers, Celery workers and triggerers, and
the emulator of dbt Cloud are started on this machine, with the file's own settings. The example DAGs run;
then many dbt runs at a time, while a worker, a triggerer, a scheduler and another worker are killed. At last
it is counted whether each task ended once, with its run's result.

    make cluster                                     # in a quarter of an hour
    make cluster CLUSTER_ARGS='--runs 40'            # fewer runs
    make cluster CLUSTER_ARGS=--stay                 # and it stays up for looking around

Needs PostgreSQL and Redis: apt-get install postgresql redis-server.
"""

import argparse
import datetime as dt
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from airflow_api import AirflowAPIError
from bench_report import Section, markdown, table
from counts import Counts
from fault_stack import OURS, Batch, Trial, Trials
from flights_stack import ACCOUNT_ID, CONNECTION_ID, DAGS, EMULATOR_CONFIG
from local_airflow import READ_ONCE
from local_cluster import LocalCluster
from local_emulator import EmulatorAPI
from processes import ServiceError, exit_on_signals
from progress import Narrator
from rich.console import Console

from airflow_provider_dbtcloud_dlt.client import RunStatus

EXAMPLES = ("flights_elt", "wait_for_run", "weather_elt", "planes_load")
MONTH = (dt.datetime(2013, 1, 1, tzinfo=dt.UTC), dt.datetime(2013, 2, 1, tzinfo=dt.UTC))
TRIAL_DAGS = Path(__file__).parent / "fault_dags" / "fault_trials.py"
RUN_SECONDS = 3600.0
"""How long every dbt run of the second part takes: it ends when the emulator's clock is moved on."""
BACK_AFTER = 10.0
"""Seconds until what was killed is started again, as Docker would."""
PATIENCE = 1200.0

# What Airflow gives up after: minutes by default, which nobody wants to watch.
QUICK = {
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 60,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 3,
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 3,
    "SCHEDULER__TASK_QUEUED_TIMEOUT": 60,
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 5,
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 15,
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 15,
    "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 10,
    "API__MAXIMUM_PAGE_LIMIT": 500,
}


@dataclass(frozen=True)
class Kind:
    """Tasks whose dbt runs end alike.

    Attributes:
        name: of their DAG, and in the table.
        share: of all runs.
        outcome: how the runs end, as the emulator's scripts say it.
    """

    name: str
    share: float
    outcome: str


KINDS = (
    Kind("succeeds", 0.7, "success"),
    Kind("fails", 0.2, "error"),
    Kind("is_cancelled", 0.1, "cancelled"),
)


@dataclass
class Count(Counts):
    """What became of some tasks.

    Attributes:
        tasks: how many.
        runs: dbt runs that were started for them, those of retries included.
        tries_lost: tries that ended with the process that was killed.
        twice: runs that were started although the one before went on, or had succeeded.
        wrong: tasks whose state is not the result of their last run.
        left: runs that went on when all tasks had ended.
    """

    tasks: int = 0
    runs: int = 0
    tries_lost: int = 0
    twice: int = 0
    wrong: int = 0
    left: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.twice or self.wrong or self.left)


def counted(trial: Trial) -> Count:
    """What became of one task."""
    runs = sorted(trial.runs, key=lambda run: run.id)
    twice = sum(
        before.finished_at is None
        or before.status is RunStatus.SUCCESS
        or before.finished_at > run.created_at
        for before, run in itertools.pairwise(runs)
    )
    ended_well = bool(runs) and runs[-1].status is RunStatus.SUCCESS
    return Count(
        tasks=1,
        runs=len(runs),
        tries_lost=max(0, trial.try_number - len(runs)),
        twice=twice,
        wrong=int(not runs or trial.state != ("success" if ended_well else "failed")),
        left=len(trial.active_runs),
    )


@dataclass
class Cluster:
    """The cluster with what is played in it."""

    airflow: LocalCluster
    narrator: Narrator

    @property
    def emulator(self) -> EmulatorAPI:
        return self.airflow.emulator

    def run_examples(self, dag_ids: Iterable[str]) -> bool:
        """Run example DAGs one after the other; returns whether all succeeded."""
        api, states = self.airflow.api, {}
        for dag_id in dag_ids:
            api.wait_for_dag(dag_id, timeout=PATIENCE)
            api.unpause(dag_id)
            begun = time.monotonic()
            run_id = api.trigger(dag_id, logical_date=MONTH[0], data_interval=MONTH)
            states[dag_id] = api.wait_for_run(dag_id, run_id, timeout=PATIENCE)
            style = "green" if states[dag_id] == "success" else "red"
            self.narrator.say(dag_id, f"{states[dag_id]} after {time.monotonic() - begun:.0f} s", style)
        return set(states.values()) == {"success"}

    def play(self, kinds: Sequence[Trials]) -> dict[str, Count]:
        """Start all dbt runs at once, kill on the way, and count by kind of task."""
        api, size = self.airflow.api, sum(one.size for one in kinds)
        for one in kinds:
            api.wait_for_dag(one.dag_id, timeout=PATIENCE)
            api.unpause(one.dag_id)
        batch = Batch(self, 1, {one: api.trigger(one.dag_id, conf={"batch": 1}) for one in kinds})
        self._until(batch, lambda trials: sum(bool(one.runs) for one in trials) >= size / 3, "a third runs")
        self.kill("worker-1")
        self._until(batch, lambda trials: all(one.is_waiting for one in trials), "every run is waited for")
        self.narrator.say("dbt", f"{size} runs go on at the same time, and each task waits for its own")
        self.kill("triggerer-1")
        self.kill("scheduler-1")
        self._end_runs()
        self._until(
            batch, lambda trials: sum(one.has_ended for one in trials) >= size / 10, "a tenth has ended"
        )
        self.kill("worker-2")
        while not self._settled(batch):
            self._end_runs()
        found: dict[str, Count] = {}
        for trial in batch.trials():
            name = trial.trials.row
            found[name] = found.get(name, Count()) + counted(trial)
        return found

    def kill(self, name: str) -> None:
        """SIGKILL for a container's processes, and a new one in its place after a while."""
        self.airflow.kill(name)
        self.narrator.say(name, f"killed; back in {BACK_AFTER:.0f} s", "red")
        time.sleep(BACK_AFTER)
        self.airflow.start_host(name)
        self.airflow.wait_until_healthy(name)

    def _end_runs(self) -> None:
        self.emulator.admin("POST", "clock", advance_seconds=RUN_SECONDS + 60)
        self.narrator.say("dbt", "an hour passes: all runs that go on end")

    def _settled(self, batch: Batch) -> bool:
        """Wait until every task has ended, or waits for a retry's run; returns whether all have ended."""
        trials = self._until(
            batch, lambda trials: all(one.has_ended or one.is_waiting for one in trials), "rests"
        )
        return all(one.has_ended for one in trials)

    def _until(self, batch: Batch, holds: Callable[[list[Trial]], bool], what: str) -> list[Trial]:
        """Wait until something holds of the trials, and tell how they stand."""

        def found() -> list[Trial]:
            trials = batch.trials()
            return trials if len(trials) == batch.size and holds(trials) else []

        def how_things_stand() -> str:
            return f"Not yet: {what}: {_states(batch.trials())}"

        trials = self.airflow.api.until(found, how_things_stand, PATIENCE, 1.0)
        self.narrator.say("airflow", f"{what}: {_states(trials)}")
        return trials


def _states(trials: Iterable[Trial]) -> str:
    states = [one.state or "none" for one in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def trials(runs: int) -> list[Trials]:
    """The second part's tasks, by kind; some of each kind, however few."""
    ours = replace(OURS, connection_id=CONNECTION_ID)
    sizes = [max(1, round(runs * kind.share)) for kind in KINDS]
    return [
        Trials(kind.name, ours, size, 2000 + number, retries=2, max_active_tasks=runs)
        for number, (kind, size) in enumerate(zip(KINDS, sizes, strict=True))
    ]


def dags(folder: Path, kinds: Sequence[Trials]) -> Path:
    """The example DAGs, and what the second part needs: its DAGs, and its jobs in the emulator."""
    copy = folder / "dags"
    shutil.copytree(DAGS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TRIAL_DAGS, copy)
    config = copy / EMULATOR_CONFIG.relative_to(DAGS)
    content = yaml.safe_load(config.read_text())
    content["jobs"] += [
        {
            "id": one.job_id,
            "name": one.dag_id,
            "environment": "Production",
            "steps": ["dbt build"],
            "script": {"seconds": RUN_SECONDS, "outcome": kind.outcome, "concurrent": True},
        }
        for one, kind in zip(kinds, KINDS, strict=True)
    ]
    config.write_text(yaml.safe_dump(content))
    return copy


def settings(kinds: Sequence[Trials]) -> dict[str, str]:
    """What Airflow is told beyond the compose file."""
    described = json.dumps([one.described() for one in kinds])
    quick = {f"AIRFLOW__{key}": str(value) for key, value in QUICK.items()}
    # All workers share one machine. More tasks at once than it has time for send no sign of life while they
    # import, and are given up.
    quick["AIRFLOW__CELERY__WORKER_CONCURRENCY"] = str(2 * (os.cpu_count() or 1))
    return quick | READ_ONCE | {"FAULT_TRIALS": described}


def result(counts: dict[str, Count]) -> Section:
    """What became of the tasks, as a table."""
    columns = (
        "dbt runs end with",
        "tasks",
        "dbt runs",
        "tries lost to a kill",
        "started twice",
        "not the run's result",
        "runs left",
    )
    ends = {kind.name: kind.outcome for kind in KINDS}
    rows = [[ends[name], *map(str, count.cells)] for name, count in counts.items()]
    note = "Each task has two retries: a run that fails is started anew twice."
    return Section("What became of the tasks", note, columns, rows)


def memory(cluster: LocalCluster) -> Section:
    """What each container's processes take, as a table."""
    rows = [[name, f"{service.memory / 1e6:,.0f}"] for name, service in sorted(cluster.services.items())]
    return Section("Memory", "Shared pages are divided between those that share them.", ("", "MB"), rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=200, help="dbt runs at the same time (default: %(default)s)"
    )
    parser.add_argument("--no-examples", action="store_true", help="leave the example DAGs out")
    parser.add_argument("--stay", action="store_true", help="keep it up afterwards, until Ctrl-C")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to a file as well")
    parser.add_argument("--folder", type=Path, help="keep databases and logs in this new folder")
    options = parser.parse_args()
    if options.runs < len(KINDS):
        parser.error(f"--runs: at least {len(KINDS)}, one that ends in each way.")
    exit_on_signals()
    narrator = Narrator(Console(highlight=False))
    try:
        with _folder(options.folder) as folder:
            return _show(folder, options, narrator)
    except KeyboardInterrupt:
        narrator.say("cluster", "interrupted; everything has been stopped")
        return 128 + signal.SIGINT
    except (ServiceError, AirflowAPIError) as error:
        narrator.console.print(str(error), style="red", markup=False)
        return 1


def _show(folder: Path, options: argparse.Namespace, narrator: Narrator) -> int:
    kinds = trials(options.runs)
    narrator.say("cluster", f"starts; logs are in {folder}/logs")
    airflow = LocalCluster(folder, dags(folder, kinds), ACCOUNT_ID, env=settings(kinds), say=narrator.say)
    with airflow:
        narrator.stage("until all is healthy", narrator.seconds)
        cluster = Cluster(airflow, narrator)
        good, begun = True, narrator.seconds
        if not options.no_examples:
            good = cluster.run_examples(EXAMPLES)
            narrator.stage("the example DAGs", narrator.seconds - begun)
            begun = narrator.seconds
        counts = cluster.play(kinds)
        narrator.stage(f"{sum(one.size for one in kinds)} dbt runs, and four kills", narrator.seconds - begun)
        sections = [result(counts), memory(airflow)]
        for section in sections:
            narrator.console.print(table(section))
        narrator.console.print(narrator.stages())
        if options.markdown:
            options.markdown.write_text(markdown(sections))
        if options.stay:
            narrator.say("airflow", f"{airflow.api.url}: {airflow.login}; Ctrl-C stops everything")
            signal.pause()
    return 0 if good and all(count.is_clean for count in counts.values()) else 1


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        wanted.mkdir(parents=True)
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="cluster-") as temporary:
        yield Path(temporary)


if __name__ == "__main__":
    sys.exit(main())
