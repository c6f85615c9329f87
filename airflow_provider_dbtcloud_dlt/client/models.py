"""What the dbt Cloud API answers, as frozen records.

Parsing is tolerant: an unknown field stays in ``raw``, an unknown run status is kept and is never terminal,
a time that can't be read becomes ``None``. Only what a record can't do without (its id) is insisted on.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Self, get_args, get_origin, get_type_hints

import pendulum

JsonObject = Mapping[str, Any]


class RunStatus(enum.IntEnum):
    """Where a run stands; see https://docs.getdbt.com/dbt-cloud/api-v2#/operations/Retrieve%20Run.

    A number that dbt adds one day is accepted: ``RunStatus(42)`` is ``RunStatus.UNKNOWN_42``, not terminal.
    """

    QUEUED = 1
    STARTING = 2
    RUNNING = 3
    SUCCESS = 10
    ERROR = 20
    CANCELLED = 30

    @classmethod
    def _missing_(cls, value: object) -> RunStatus | None:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = f"UNKNOWN_{value}"
        unknown._value_ = value
        return unknown

    @property
    def is_terminal(self) -> bool:
        """Whether a run in this state will not change any more."""
        return self in (RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.CANCELLED)

    @property
    def is_known(self) -> bool:
        """Whether this is one of the states that dbt documents."""
        return self.value in RunStatus._value2member_map_

    @property
    def humanized(self) -> str:
        """The word that dbt Cloud shows for it: ``Queued``, ``Success``, ``Error``, …"""
        return self.name.capitalize()


UNKNOWN_STATUS = RunStatus(0)
ACTIVE_STATUSES = (RunStatus.QUEUED, RunStatus.STARTING, RunStatus.RUNNING)


def parse_time(value: object) -> pendulum.DateTime | None:
    """Read any of the API's three time formats; ``None`` for nothing or for what is no time."""
    if not isinstance(value, str) or not value:
        return None
    try:
        # A tenth of the time that pendulum's own parser takes: a poller reads thousands of times a second.
        read = datetime.fromisoformat(value)
        utc = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return pendulum.DateTime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=pendulum.UTC
    )


def parse_duration(value: object) -> timedelta | None:
    """Read ``HH:MM:SS`` (hours may exceed 23); ``None`` for nothing or for what is no duration."""
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    try:
        hours, minutes, seconds = map(int, parts)
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):
        return None


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _integers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(number for number in map(_integer, value) if number is not None)


def _status(value: object) -> RunStatus:
    return RunStatus(_integer(value) or 0)


_READERS: dict[Any, Callable[[object], Any]] = {
    RunStatus: _status,
    int: _integer,
    str: _text,
    bool: _boolean,
    pendulum.DateTime: parse_time,
    timedelta: parse_duration,
    tuple[str, ...]: _strings,
    tuple[int, ...]: _integers,
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record of the API. ``raw`` holds the whole answer, the fields that have no attribute included."""

    raw: JsonObject = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def from_api(cls, data: JsonObject) -> Self:
        """Build the record from the API's JSON object.

        Args:
            data: the object below ``data`` in the API's answer.

        Raises:
            ValueError: when it is not an object, or lacks its id.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"expected a JSON object for a {cls.__name__}, got {type(data).__name__}")
        readers = _field_readers(cls)  # type: ignore[arg-type]  # mypy takes no type[Self] for a Hashable
        values = {name: read(data.get(name)) for name, read in readers.items()}
        if values.get("id", cls) is None and cls.__dataclass_fields__["id"].default is MISSING:
            raise ValueError(f"a {cls.__name__} without an id")
        return cls(**values, raw=dict(data))


@cache
def _field_readers(record: type[Record]) -> dict[str, Callable[[object], Any]]:
    hints = get_type_hints(record)
    return {item.name: _reader(hints[item.name]) for item in fields(record) if item.name != "raw"}


def _reader(hint: Any) -> Callable[[object], Any]:
    """The function that reads a field of this type: the annotation says how a field is parsed."""
    if hint in _READERS:
        return _READERS[hint]
    kind = next(option for option in get_args(hint) if option is not type(None))
    if kind in _READERS:
        return _READERS[kind]
    read: Callable[..., Any] = _records if get_origin(hint) is tuple else _record
    return partial(read, kind)


def _record(kind: type[Record], value: object) -> Record | None:
    """What is embedded; nobody's wait for a run shall fail because its job can't be read."""
    try:
        return kind.from_api(value)  # type: ignore[arg-type]  # it says so itself
    except ValueError:
        return None


def _records(kind: type[Record], value: object) -> tuple[Record, ...]:
    items = value if isinstance(value, list | tuple) else ()
    return tuple(record for item in items if (record := _record(kind, item)) is not None)


@dataclass(frozen=True, kw_only=True)
class RunTrigger(Record):
    """Why a run was started, and with which overrides."""

    id: int | None = None
    cause: str | None = None
    job_definition_id: int | None = None
    git_branch: str | None = None
    git_sha: str | None = None
    schema_override: str | None = None
    dbt_version_override: str | None = None
    target_name_override: str | None = None
    threads_override: int | None = None
    timeout_seconds_override: int | None = None
    generate_docs_override: bool | None = None
    steps_override: tuple[str, ...] = ()
    created_at: pendulum.DateTime | None = None


@dataclass(frozen=True, kw_only=True)
class RunStep(Record):
    """One step of a run; ``index`` is 1-based, ``logs`` may lag the end of the run by some seconds."""

    id: int
    run_id: int | None = None
    index: int | None = None
    status: RunStatus = UNKNOWN_STATUS
    name: str | None = None
    logs: str | None = field(default=None, repr=False)
    debug_logs: str | None = field(default=None, repr=False)
    status_humanized: str | None = None
    duration: timedelta | None = None
    started_at: pendulum.DateTime | None = None
    finished_at: pendulum.DateTime | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it ran at all: those after a step that failed are told as cancelled."""
        return self.status is not RunStatus.CANCELLED or self.started_at is not None or bool(self.logs)


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    """A job's definition."""

    id: int
    account_id: int | None = None
    project_id: int | None = None
    environment_id: int | None = None
    name: str | None = None
    description: str | None = None
    dbt_version: str | None = None
    execute_steps: tuple[str, ...] = ()
    generate_docs: bool | None = None
    deactivated: bool | None = None
    created_at: pendulum.DateTime | None = None
    updated_at: pendulum.DateTime | None = None


@dataclass(frozen=True, kw_only=True)
class Project(Record):
    """A project of an account."""

    id: int
    account_id: int | None = None
    name: str | None = None
    description: str | None = None
    created_at: pendulum.DateTime | None = None
    updated_at: pendulum.DateTime | None = None


@dataclass(frozen=True, kw_only=True)
class Environment(Record):
    """An environment of a project."""

    id: int
    account_id: int | None = None
    project_id: int | None = None
    name: str | None = None
    type: str | None = None
    deployment_type: str | None = None
    dbt_version: str | None = None
    created_at: pendulum.DateTime | None = None
    updated_at: pendulum.DateTime | None = None


@dataclass(frozen=True, kw_only=True)
class Account(Record):
    """The account that a token belongs to."""

    id: int
    name: str | None = None
    plan: str | None = None
    run_slots: int | None = None
    locked: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """A run of a job. ``trigger``, ``job`` and ``run_steps`` are there when they were asked for."""

    id: int
    account_id: int | None = None
    project_id: int | None = None
    environment_id: int | None = None
    job_definition_id: int | None = None
    status: RunStatus = UNKNOWN_STATUS
    status_message: str | None = None
    href: str | None = None
    dbt_version: str | None = None
    git_branch: str | None = None
    git_sha: str | None = None
    artifacts_saved: bool | None = None
    blocked_by: tuple[int, ...] = ()
    retrying_run_id: int | None = None
    can_retry: bool | None = None
    retry_not_supported_reason: str | None = None
    created_at: pendulum.DateTime | None = None
    updated_at: pendulum.DateTime | None = None
    dequeued_at: pendulum.DateTime | None = None
    started_at: pendulum.DateTime | None = None
    finished_at: pendulum.DateTime | None = None
    duration: timedelta | None = None
    queued_duration: timedelta | None = None
    run_duration: timedelta | None = None
    trigger: RunTrigger | None = None
    job: Job | None = None
    run_steps: tuple[RunStep, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, well or not."""
        return self.status.is_terminal

    @property
    def failed_steps(self) -> tuple[RunStep, ...]:
        """The steps that failed, in order; empty unless ``run_steps`` was included."""
        return tuple(step for step in self.run_steps if step.status is RunStatus.ERROR)
