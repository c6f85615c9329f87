"""Which commands a job may run, and how a job's commands become the steps of a run.

See https://docs.getdbt.com/docs/deploy/job-commands for the vendor's list.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

# What makes sense in a job. `init` and `docs serve` would wait for a person, `clean` would delete from the
# project that other runs are reading.
ALLOWED = frozenset(
    ("build", "clone", "compile", "debug", "deps", "docs", "list", "ls", "parse", "retry", "run")
    + ("run-operation", "seed", "show", "snapshot", "source", "test")
)

# What `dbt retry` can take up again (https://docs.getdbt.com/reference/commands/retry).
RETRYABLE = ALLOWED - {"debug", "deps", "list", "ls", "parse", "show", "source"}


class CommandError(ValueError):
    """A job's step is not a dbt command that the emulator runs."""


def words(command: str) -> list[str]:
    """Split a step into words as a shell would, without a shell.

    Args:
        command: A step such as ``dbt build --select "tag:daily"``.

    Returns:
        The words, ``dbt`` first.

    Raises:
        CommandError: If it is no dbt command, or one that has no place in a job.
    """
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise CommandError(f"The step {command!r} cannot be split into words: {error}.") from error
    if not parts or parts[0] != "dbt":
        raise CommandError(f"The step {command!r} does not start with 'dbt': only dbt is run, and no shell.")
    if subcommand(parts) is None:
        allowed = ", ".join(sorted(ALLOWED))
        raise CommandError(f"The step {command!r} has no dbt command that a job can run: {allowed}.")
    if parts[1:3] == ["docs", "serve"]:
        raise CommandError(f"The step {command!r} would never end.")
    return parts


def subcommand(parts: list[str]) -> str | None:
    """Return dbt's command among the words of a step: global options and their values may precede it."""
    for before, word in pairwise(parts):
        if word in ALLOWED:
            return word
        if not word.startswith("-") and not before.startswith("-"):
            return None
    return None


def can_retry(dbt_version: str) -> bool:
    """Whether a release of dbt has `dbt retry`: since 1.6; what has no number, such as `latest`, is new."""
    number = re.match(r"(\d+)\.(\d+)", dbt_version)
    return number is None or (int(number[1]), int(number[2])) >= (1, 6)


def is_retryable(command: str) -> bool:
    """Whether `dbt retry` can take up a step with this command after it failed."""
    return subcommand(words(command)) in RETRYABLE


@dataclass(frozen=True)
class Step:
    """One step of a run, before it runs.

    Attributes:
        name: What the run's page calls it.
        command: The dbt command, or None for the steps that prepare the run.
        optional: Its failure does not fail the run: dbt Cloud's check boxes for docs and source freshness.
        retries: `(run id, step index)` whose results ``dbt retry`` takes up.
    """

    name: str
    command: str | None = None
    optional: bool = False
    retries: tuple[int, int] | None = None


def step(command: str, *, optional: bool = False, retries: tuple[int, int] | None = None) -> Step:
    """Return the step that runs a dbt command, named the way dbt Cloud names it."""
    return Step(f"Invoke dbt with `{command}`", command, optional, retries)


def preparation(connection: str) -> list[Step]:
    """Return the steps that precede every run's dbt commands."""
    return [Step("Clone git repository"), Step(f"Create profile from connection {connection}")]


def plan(job_steps: Iterable[str], *, generate_sources: bool, generate_docs: bool) -> list[Step]:
    """Return the steps that run a job's dbt commands.

    Args:
        job_steps: The commands.
        generate_sources: Check the freshness of sources first.
        generate_docs: Make the documentation at the end.

    Raises:
        CommandError: If one of the commands is none that a job may run.
    """
    steps = []
    for command in job_steps:
        words(command)
        steps.append(step(command))
    before = [step("dbt source freshness", optional=True)] if generate_sources else []
    after = [step("dbt docs generate", optional=True)] if generate_docs else []
    return [*before, *steps, *after]
