"""Runs, their steps and webhooks in SQLite: what survives a restart, and a kill.

Times are microseconds since the epoch. Not thread-safe by itself: the engine's lock guards it.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

from airflow_provider_dbtcloud_dlt.emulator import private

# As large as dbt Cloud's own: a client that squeezes them into 32 bits shall notice. Runs and triggers count
# from different numbers, so that a client that mixes them up notices as well.
FIRST_RUN_ID = 70_403_110_000_000
FIRST_TRIGGER_ID = 70_471_820_000_000


class Status(IntEnum):
    """A run's or a step's status, as the API numbers it."""

    QUEUED = 1
    STARTING = 2
    RUNNING = 3
    SUCCESS = 10
    ERROR = 20
    CANCELLED = 30

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self >= Status.SUCCESS


@dataclass
class Run:
    """A run's record.

    Attributes:
        trigger: The body of the request that started it.
        plan: Its steps as `commands.Step`s in the form of dicts.
        script: How it pretends, as a dict, or None if it runs dbt.
        cause_category: `api`, or `rerun` for what retry and rerun start.
    """

    id: int
    job_id: int
    environment_id: int
    project_id: int
    created_at: int
    trigger: dict[str, Any]
    plan: list[dict[str, Any]]
    script: dict[str, Any] | None = None
    cause_category: str = "api"
    retrying_run_id: int | None = None
    dbt_version: str = "versionless"
    status: Status = Status.QUEUED
    status_message: str | None = None
    updated_at: int = 0
    dequeued_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    has_docs_generated: bool = False
    has_sources_generated: bool = False
    artifacts_saved: bool = False
    deferring_run_id: int | None = None
    git_branch: str | None = None
    git_sha: str | None = None

    @property
    def trigger_id(self) -> int:
        """The id of the trigger, which every run has one of."""
        return self.id - FIRST_RUN_ID + FIRST_TRIGGER_ID

    @property
    def is_concurrent(self) -> bool:
        """Whether it neither waits for others nor makes others wait."""
        return self.script is not None and bool(self.script["concurrent"])


@dataclass
class StepRecord:
    """A step's record; `logs` is None when they are in the file that dbt writes."""

    run_id: int
    index: int
    name: str
    command: str | None
    status: Status = Status.QUEUED
    started_at: int | None = None
    finished_at: int | None = None
    logs: str | None = None

    @property
    def id(self) -> int:
        """The step's id, from which `step_key` tells the run and the index."""
        return self.run_id * 1000 + self.index


def step_key(step_id: int) -> tuple[int, int]:
    """Return the run id and the index (from 1) that a step's id stands for."""
    return divmod(step_id, 1000)


@dataclass(frozen=True)
class Subscription:
    """Somebody who wants to hear of runs.

    Attributes:
        secret: What signs all that is sent.
        job_ids: The only jobs of interest; all of them if there are none.
        http_status_code: What the last delivery was answered with; 0 if there was none, or no answer.
    """

    id: str
    secret: str = field(repr=False)
    created_at: int
    updated_at: int
    name: str
    client_url: str
    event_types: list[str]
    job_ids: list[int]
    active: bool
    description: str
    dispatched_at: int | None = None
    http_status_code: int = 0


@dataclass(frozen=True)
class Selection:
    """Which runs to list: conditions that all hold, their values, an order and a page."""

    conditions: Sequence[str] = ()
    values: Sequence[object] = ()
    order: str = "id"
    limit: int = 100
    offset: int = 0


_JSON = {"trigger", "plan", "script"}
_RUN = [f.name for f in fields(Run)]
# What `save` writes: how a run was started never changes.
_CHANGING = ["status", "status_message", "updated_at", "dequeued_at", "started_at", "finished_at"]
_CHANGING += ["has_docs_generated", "has_sources_generated", "artifacts_saved", "git_branch", "git_sha"]
_STEP = {"run_id": "run_id", "index": "idx", "name": "name", "command": "command", "status": "status"} | {
    "started_at": "started_at",
    "finished_at": "finished_at",
    "logs": "logs",
}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, {", ".join(name for name in _RUN if name != "id")});
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status);
CREATE INDEX IF NOT EXISTS runs_by_job ON runs (job_id, id);
CREATE TABLE IF NOT EXISTS steps (run_id INTEGER, idx INTEGER, name, command, status, started_at, finished_at,
    logs, PRIMARY KEY (run_id, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscriptions (id PRIMARY KEY, record);
"""


class StoreInUseError(RuntimeError):
    """Another emulator has the same state folder."""


class Store:
    """The runs, steps and subscriptions.

    Args:
        path: The database's file, made if need be.

    Raises:
        StoreInUseError: If another process uses it.
    """

    def __init__(self, path: Path) -> None:
        private.make_folder(path.parent)
        # It holds the secrets of webhooks.
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, timeout=0.5, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            # One emulator a folder: the queue of the other would not know of this one's runs.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            # A write-ahead log survives the death of the process without a disk flush for every transaction.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
            self._add_new_columns()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise StoreInUseError(f"{path.parent} is used by another emulator ({error}).") from error

    def _add_new_columns(self) -> None:
        """Bring the database of an earlier release up to date: what it did not know is null."""
        known = {row["name"] for row in self._db.execute("PRAGMA table_info(runs)")}
        for name in _RUN:
            if name not in known:
                self._db.execute(f"ALTER TABLE runs ADD COLUMN {name}")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is written inside one unit; may be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def next_run_id(self) -> int:
        """Return an id that no run had before."""
        (last,) = self._db.execute("SELECT max(id) FROM runs").fetchone()
        return (last or FIRST_RUN_ID) + 1

    def add(self, run: Run) -> None:
        """Insert a run."""
        run.updated_at = run.updated_at or run.created_at
        marks = ", ".join("?" * len(_RUN))
        self._db.execute(f"INSERT INTO runs ({', '.join(_RUN)}) VALUES ({marks})", _row(run))  # noqa: S608

    def save(self, run: Run) -> None:
        """Write a run's new state."""
        assignments = ", ".join(f"{name} = ?" for name in _CHANGING)
        values = [getattr(run, name) for name in _CHANGING]
        self._db.execute(f"UPDATE runs SET {assignments} WHERE id = ?", [*values, run.id])  # noqa: S608

    def run(self, run_id: int) -> Run | None:
        """Return a run, or None if there is none with that id."""
        if run_id >= 2**63:
            return None
        row = self._db.execute("SELECT * FROM runs WHERE id = ?", [run_id]).fetchone()
        return None if row is None else _run(row)

    def latest_time(self) -> int:
        """Return when the newest change was made; 0 if there was none."""
        (latest,) = self._db.execute("SELECT max(updated_at) FROM runs").fetchone()
        return int(latest or 0)

    def unfinished(self) -> list[Run]:
        """Return the runs that are not final, oldest first."""
        rows = self._db.execute("SELECT * FROM runs WHERE status < ? ORDER BY id", [Status.SUCCESS])
        return [_run(row) for row in rows]

    def latest_id_of(self, job_id: int) -> int | None:
        """Return the id of a job's newest run, if it has any."""
        (latest,) = self._db.execute("SELECT max(id) FROM runs WHERE job_id = ?", [job_id]).fetchone()
        return None if latest is None else int(latest)

    def retries_of(self, run_id: int) -> list[Run]:
        """Return the runs that retried a run, oldest first."""
        rows = self._db.execute("SELECT * FROM runs WHERE retrying_run_id = ? ORDER BY id", [run_id])
        return [_run(row) for row in rows]

    def select(self, which: Selection) -> tuple[list[Run], int]:
        """Return a page of runs, and how many there are on all pages.

        Only column names that the caller's code spells out may be in its conditions and order; what a user
        sent goes into its values.
        """
        where = " AND ".join(["1", *which.conditions])
        (total,) = self._db.execute(f"SELECT count(*) FROM runs WHERE {where}", which.values).fetchone()  # noqa: S608
        rows = self._db.execute(
            f"SELECT * FROM runs WHERE {where} ORDER BY {which.order} LIMIT ? OFFSET ?",  # noqa: S608
            [*which.values, which.limit, which.offset],
        )
        return [_run(row) for row in rows], total

    def put_steps(self, records: Iterable[StepRecord]) -> None:
        """Write steps, new or known."""
        marks = ", ".join("?" * len(_STEP))
        self._db.executemany(
            f"INSERT OR REPLACE INTO steps ({', '.join(_STEP.values())}) VALUES ({marks})",  # noqa: S608
            [[getattr(record, name) for name in _STEP] for record in records],
        )

    def steps(self, run_id: int) -> list[StepRecord]:
        """Return a run's steps in order."""
        rows = self._db.execute("SELECT * FROM steps WHERE run_id = ? ORDER BY idx", [run_id])
        records = [StepRecord(**{name: row[column] for name, column in _STEP.items()}) for row in rows]
        for record in records:
            record.status = Status(record.status)
        return records

    def put_subscription(self, one: Subscription) -> None:
        """Write a subscription, new or known."""
        self._db.execute(
            "INSERT INTO subscriptions VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            [one.id, json.dumps(asdict(one))],
        )

    def remove_subscription(self, subscription_id: str) -> None:
        """Forget a subscription."""
        self._db.execute("DELETE FROM subscriptions WHERE id = ?", [subscription_id])

    def subscriptions(self) -> list[Subscription]:
        """Return the subscriptions, oldest first."""
        rows = self._db.execute("SELECT record FROM subscriptions ORDER BY rowid")
        return [Subscription(**json.loads(row["record"])) for row in rows]


def _row(run: Run) -> list[object]:
    return [json.dumps(getattr(run, name)) if name in _JSON else getattr(run, name) for name in _RUN]


def _run(row: sqlite3.Row) -> Run:
    values = {name: json.loads(row[name]) if name in _JSON else row[name] for name in _RUN}
    values["status"] = Status(values["status"])
    for name in ("has_docs_generated", "has_sources_generated", "artifacts_saved"):
        values[name] = bool(values[name])
    return Run(**values)
