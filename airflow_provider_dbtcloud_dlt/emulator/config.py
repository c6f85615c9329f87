"""What the emulator serves: an account with its projects, environments and jobs, from a YAML file.

Only names, a project's folder and a job's steps are needed; ids are given in order where none is said::

    account: {id: 1, name: Local, token: "…", run_slots: 4}     # or token_env: NAME_OF_A_VARIABLE
    env: {WAREHOUSE: /data/warehouse.duckdb}                    # for env_var() in profiles.yml, as it is
    projects:
      - {id: 10, name: Flights, dir: ./dbt, profiles_dir: ./dbt}
    environments:
      - {id: 100, name: Production, project: Flights, target: dev, schema: marts, threads: 4}
    jobs:
      - {id: 1000, name: Nightly build, environment: Production, steps: [dbt build],
         generate_docs: false, run_generate_sources: false, timeout_seconds: 0}
      - {id: 1001, name: Pretends, environment: Production, steps: [dbt build],
         script: {seconds: 5, outcome: success}}                # no dbt at all
    tokens:                                                     # more tokens, which may do less
      - {name: Auditor, token: "…", read_only: true, projects: [Flights]}
    lag: {artifacts: 2, logs: 2}            # seconds from a run's and a step's end until these are there
    faults: [{kind: status, status: 502, probability: 0.02}]    # from the start; see the documentation
    seed: 1                                                     # the same faults again at each start
    webhooks: {hosts: [receiver.internal],     # where they may lead, beside this machine
      pauses: [0.5, 1, 2, 4, 8], timeout: 10}  # seconds before each retry, and for an answer

Folders are relative to the YAML file. A job names its environment, an environment its project, by name or id;
both may be left out while there is only one. `target`, `schema` and `threads` default to the profile's.
"""

import dataclasses
import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_dbtcloud_dlt.emulator import commands
from airflow_provider_dbtcloud_dlt.emulator.access import Token, check_secret
from airflow_provider_dbtcloud_dlt.emulator.faults import Fault
from airflow_provider_dbtcloud_dlt.emulator.scripted import Script
from airflow_provider_dbtcloud_dlt.emulator.served import (
    DEFAULT_LAG,
    Account,
    Config,
    Environment,
    Job,
    Lag,
    Project,
    Webhooks,
)


class ConfigError(ValueError):
    """The configuration is wrong; the message says where and what to do."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Secret(_Entry):
    token: str | None = None
    token_env: str | None = None


class _Account(_Secret):
    id: int = 1
    name: str = "Local"
    run_slots: int = Field(default=4, ge=1)


class _Token(_Secret):
    name: str
    read_only: bool = False
    projects: list[str | int] | None = None


class _Lag(_Entry):
    artifacts: float = Field(default=DEFAULT_LAG, ge=0, le=86400)
    logs: float = Field(default=DEFAULT_LAG, ge=0, le=86400)


class _Project(_Entry):
    id: int | None = None
    name: str
    dir: Path | None = None
    profiles_dir: Path | None = None


class _Environment(_Entry):
    id: int | None = None
    name: str
    project: str | int | None = None
    target: str | None = None
    # pydantic's own models have a method `schema`.
    schema_: str | None = Field(default=None, alias="schema")
    threads: int | None = Field(default=None, ge=1)
    dbt_version: str = "versionless"


class _Job(_Entry):
    id: int | None = None
    name: str
    description: str = ""
    environment: str | int | None = None
    steps: list[str] = Field(min_length=1)
    generate_docs: bool = False
    run_generate_sources: bool = False
    timeout_seconds: int = Field(default=0, ge=0)
    script: Script | None = None


class _File(_Entry):
    account: _Account = _Account()
    env: dict[str, str] = {}
    projects: list[_Project] = Field(min_length=1)
    environments: list[_Environment] = Field(min_length=1)
    jobs: list[_Job] = Field(min_length=1)
    tokens: list[_Token] = []
    lag: _Lag = _Lag()
    faults: list[Fault] = []
    seed: int | None = None
    webhooks: Webhooks = Webhooks()


def load(path: Path) -> Config:
    """Read a configuration file.

    Args:
        path: The YAML file; its paths are relative to its folder.

    Returns:
        The configuration, checked as a whole.

    Raises:
        ConfigError: If the file cannot be read, or says something that cannot be served.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"The configuration {path} is not YAML: {error}") from error
    try:
        return parse(content, path.resolve().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(content: object, folder: Path) -> Config:
    """Check a configuration that is already in memory.

    Args:
        content: What the YAML file would hold.
        folder: What relative paths are relative to.

    Returns:
        The configuration, checked as a whole.

    Raises:
        ConfigError: If it says something that cannot be served.
    """
    if not isinstance(content, dict):
        raise ConfigError("A mapping with the keys account, projects, environments and jobs is expected.")
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None
    account = Account(file.account.id, file.account.name, file.account.run_slots)
    projects = [
        Project(id_, entry.name, _folder(folder, entry.dir), _folder(folder, entry.profiles_dir or entry.dir))
        for id_, entry in _with_ids(file.projects, "projects", 10)
    ]
    environments = [
        Environment(
            id_,
            entry.name,
            _find(projects, entry.project, f"environments: {entry.name!r}", "project"),
            entry.target,
            entry.schema_,
            entry.threads,
            entry.dbt_version,
        )
        for id_, entry in _with_ids(file.environments, "environments", 100)
    ]
    jobs = [_job(id_, entry, environments) for id_, entry in _with_ids(file.jobs, "jobs", 1000)]
    tokens = [Token("the account's own", _secret(file.account, "account"))]
    for token in file.tokens:
        where = f"tokens: {token.name!r}"
        seen = (
            None
            if token.projects is None
            else [_find(projects, one, where, "project") for one in token.projects]
        )
        ids = None if seen is None else frozenset(project.id for project in seen)
        tokens.append(Token(token.name, _secret(token, where), token.read_only, ids))
    return Config(
        account,
        tuple(tokens),
        tuple(projects),
        tuple(environments),
        tuple(jobs),
        file.env,
        Lag(file.lag.artifacts, file.lag.logs),
        tuple(file.faults),
        file.seed,
        file.webhooks,
    )


def _job(id_: int, entry: _Job, environments: list[Environment]) -> Job:
    where = f"jobs: {entry.name!r}"
    environment = _find(environments, entry.environment, where, "environment")
    for command in entry.steps:
        try:
            commands.words(command)
        except commands.CommandError as error:
            raise ConfigError(f"{where}: {error}") from None
    project = environment.project
    if entry.script is None:
        if project.dir is None:
            raise ConfigError(f"{where}: its project {project.name!r} needs a `dir`, or the job a `script`.")
        if not (project.dir / "dbt_project.yml").is_file():
            raise ConfigError(f"projects: {project.name!r}: there is no dbt_project.yml in {project.dir}.")
    return Job(
        id_,
        entry.name,
        entry.description,
        environment,
        tuple(entry.steps),
        entry.generate_docs,
        entry.run_generate_sources,
        entry.timeout_seconds,
        entry.script,
    )


def _secret(entry: _Secret, where: str) -> str:
    if (entry.token is None) == (entry.token_env is None):
        raise ConfigError(
            f"{where}: give either `token` or `token_env` (the name of a variable that holds it)."
        )
    token = entry.token if entry.token_env is None else os.environ.get(entry.token_env)
    if not token:
        raise ConfigError(f"{where}: the token is empty ({entry.token_env or 'token'} has no value).")
    try:
        check_secret(token)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return token


def _folder(base: Path, path: Path | None) -> Path | None:
    return None if path is None else (base / path.expanduser()).resolve()


_EntryT = TypeVar("_EntryT", _Project, _Environment, _Job)
_NamedT = TypeVar("_NamedT", Project, Environment)


def _with_ids(entries: list[_EntryT], key: str, first: int) -> Iterable[tuple[int, _EntryT]]:
    taken = [entry.id for entry in entries if entry.id is not None]
    twice = sorted({id_ for id_ in taken if taken.count(id_) > 1})
    if twice:
        raise ConfigError(f"{key}: the id {twice[0]} is given twice.")
    free = (id_ for id_ in range(first, first + 2 * len(entries) + 1) if id_ not in taken)
    return [(next(free) if entry.id is None else entry.id, entry) for entry in entries]


def _find(things: list[_NamedT], wanted: str | int | None, where: str, key: str) -> _NamedT:
    if wanted is None and len(things) == 1:
        return things[0]
    found = [thing for thing in things if wanted in (thing.id, thing.name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{thing.name!r} ({thing.id})" for thing in things)
    if wanted is None:
        raise ConfigError(f"{where}: say which `{key}` it belongs to: {known}.")
    problem = "is ambiguous, use an id" if found else "does not exist"
    raise ConfigError(f"{where}: {key} {wanted!r} {problem}. There are: {known}.")


def _sentence(error: ValidationError) -> str:
    """Tell the first mistake in terms of the file, with the key that was probably meant."""
    first = error.errors(include_url=False)[0]
    *parents, last = first["loc"] or ("",)
    where = ": ".join(str(part + 1) if isinstance(part, int) else part for part in parents)
    prefix = f"{where}: " if where else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        close = difflib.get_close_matches(str(last), _keys(), 1)
        hint = f"; did you mean `{close[0]}`?" if close else "."
        return f"{prefix}there is no key `{last}`{hint}"
    if first["type"] == "missing":
        return f"{prefix}the key `{last}` is missing."
    return f"{prefix}`{last}`: {first['msg']}."


def _keys() -> list[str]:
    models: tuple[type[BaseModel], ...] = (_File, _Account, _Token, _Lag, _Project, _Environment, _Job, Fault)
    fields = [one.name for kind in (Script, Webhooks) for one in dataclasses.fields(kind)]
    for model in models:
        fields += [info.alias or name for name, info in model.model_fields.items()]
    return fields


def example() -> dict[str, Any]:
    """Return the smallest configuration: one scripted job, for tests that bring none of their own."""
    return {
        "account": {"id": 1, "name": "Local", "token": "emulator-token", "run_slots": 100},
        "projects": [{"id": 10, "name": "Analytics"}],
        "environments": [{"id": 100, "name": "Production"}],
        "jobs": [
            {"id": 1000, "name": "Nightly build", "steps": ["dbt build"], "script": {"concurrent": True}}
        ],
    }
