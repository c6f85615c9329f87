"""What the emulator serves: an account with its projects, environments and jobs, and how it behaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from airflow_provider_dbtcloud_dlt.emulator.access import Token
from airflow_provider_dbtcloud_dlt.emulator.faults import Fault
from airflow_provider_dbtcloud_dlt.emulator.scripted import Script

DEFAULT_LAG = 2.0


@dataclass(frozen=True)
class Account:
    """The one account that is served.

    Attributes:
        run_slots: How many runs execute at once; the others wait as queued.
    """

    id: int
    name: str
    run_slots: int


@dataclass(frozen=True)
class Project:
    """A dbt project on disk; `dir` is None when all of its jobs are scripted."""

    id: int
    name: str
    dir: Path | None
    profiles_dir: Path | None


@dataclass(frozen=True)
class Environment:
    """Where a job runs: which target of the profile, and what to change in it."""

    id: int
    name: str
    project: Project
    target: str | None
    schema: str | None
    threads: int | None
    dbt_version: str


@dataclass(frozen=True)
class Job:
    """What a run executes."""

    id: int
    name: str
    description: str
    environment: Environment
    steps: tuple[str, ...]
    generate_docs: bool
    run_generate_sources: bool
    timeout_seconds: int
    script: Script | None


@dataclass(frozen=True)
class Lag:
    """How long things are not there yet, in seconds.

    Attributes:
        artifacts: After a run's end: no artifacts are listed, and each is a 404.
        logs: After a step's end: its log is empty, as while it runs. With 0 a log can be read as it grows.
    """

    artifacts: float = DEFAULT_LAG
    logs: float = DEFAULT_LAG


@dataclass(frozen=True)
class Webhooks:
    """How webhooks are delivered.

    Attributes:
        hosts: The hosts that they may lead to, beside this machine.
        pauses: How many seconds pass before each retry; there are as many retries.
        timeout: How many seconds a receiver has.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    hosts: tuple[str, ...] = ()
    pauses: tuple[Annotated[float, Field(ge=0, le=86400)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    timeout: Annotated[float, Field(gt=0, le=86400)] = 10.0


@dataclass(frozen=True)
class Config:
    """Everything that is served.

    Attributes:
        tokens: Who may ask; the first is the account's own.
        env: What dbt is given on top of the emulator's own environment.
        faults: What goes wrong from the start.
        seed: What makes the faults' chance the same at each start, if anything.
    """

    account: Account
    tokens: tuple[Token, ...]
    projects: tuple[Project, ...]
    environments: tuple[Environment, ...]
    jobs: tuple[Job, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    lag: Lag = Lag()
    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    webhooks: Webhooks = Webhooks()
