"""Which commands a job may run, and how a job's commands become the steps of a run.

See https://docs.getdbt.com/docs/deploy/job-commands for the vendor's list.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

# What makes sense in a job. `init` and `docs serve` would wait for a person, `clean` would delete from the
# project that other runs are reading.
ALLOWED = frozenset(
    ("build", "clone", "compile", "debug", "deps", "docs", "list", "ls", "parse", "retry", "run")
    + ("run-operation", "seed", "show", "snapshot", "source", "test")
)

# What installs a project's packages before a run's commands.
DEPS = "dbt deps"

# The one command of each group of commands that makes sense in a job.
_OF_GROUP = {"docs": "generate", "source": "freshness"}

# dbt's options that may precede the command: which of them take a value decides which word is the command.
# Written down, since dbt takes a second to import, and a test compares.
_GLOBAL_VALUES = frozenset(
    ("--defer-state", "--deprecated-defer", "--deprecated-favor-state", "--deprecated-state")
    + ("--indirect-selection", "--log-file-max-bytes", "--log-format", "--log-format-file", "--log-level")
    + ("--log-level-file", "--printer-width", "--state", "--target", "--warn-error-options")
)
_GLOBAL_SWITCHES = (
    ("cache-selected-only", "debug", "defer", "fail-fast", "favor-state", "log-cache-events")
    + ("macro-debugging", "partial-parse", "partial-parse-file-diff", "populate-cache", "print", "quiet")
    + ("send-anonymous-usage-stats", "show-all-deprecations", "show-resource-report", "single-threaded")
    + ("static-parser", "upload-to-artifacts-ingest-api", "use-colors", "use-colors-file")
    + ("use-experimental-parser", "use-fast-test-edges", "version-check", "write-json")
)
_GLOBAL_FLAGS = frozenset(
    ("--warn-error", "--deprecated-print", "--deprecated-no-print")
    + tuple(f"{prefix}{name}" for prefix in ("--", "--no-") for name in _GLOBAL_SWITCHES)
)
# `-d`, `-q` and `-x` have no value and may be put together, `-t` is the target: `-q`, `-qt prod`, `-tprod`.
_GLOBAL_SHORT = re.compile(r"-(?:[dqx]+|[dqx]*t(?P<value>.*))", re.DOTALL)

# Where a run reads and writes. dbt takes no abbreviations of its options.
_FIXED = frozenset(
    ("--log-path", "--partial-parse-file-path", "--profile", "--profiles-dir", "--project-dir")
    + ("--record-timing-info", "--target-path")
)
# `-r` is --record-timing-info, also behind others that have no value.
_FIXED_SHORT = re.compile(r"-[dfqvVx]*r")
# `dbt source freshness` alone takes a path for this; elsewhere it is a format.
_OUTPUT = re.compile(r"--output(=|$)|-[dqvVx]*o")

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
    if "\0" in command:
        raise CommandError(f"The step {command!r} holds a NUL, which no command can.")
    try:
        _check(parts)
    except CommandError as error:
        raise CommandError(f"The step {command!r} {error}") from None
    return parts


def _check(parts: list[str]) -> None:
    """Raise CommandError, whose message goes on from "The step … ", unless a job may run these words."""
    for word in parts[1:]:
        if word.partition("=")[0] in _FIXED or _FIXED_SHORT.match(word):
            raise CommandError(_fixed(word))
    at = _next_word(parts, 1)
    command = parts[at] if at < len(parts) else None
    if command not in ALLOWED:
        raise CommandError(f"has no dbt command that a job can run: {', '.join(sorted(ALLOWED))}.")
    if command in _OF_GROUP:
        at = _next_word(parts, at + 1)
        if at == len(parts) or parts[at] != _OF_GROUP[command]:
            raise CommandError(f"is none that a job can run: only 'dbt {command} {_OF_GROUP[command]}' is.")
    rest = parts[at + 1 :]
    if command != "run-operation" and rest and not rest[0].startswith("-"):
        raise CommandError(f"has the word {rest[0]!r} where dbt expects an option.")
    for word in rest:
        if command == "source" and _OUTPUT.match(word):
            raise CommandError(_fixed(word))


def _fixed(option: str) -> str:
    return f"has the option {option!r}: the emulator, as dbt Cloud, sets where a run reads and writes itself."


def _next_word(parts: list[str], at: int) -> int:
    """Return where the first word is, from `at` on, that is neither a global option nor the value of one."""
    while at < len(parts) and parts[at].startswith("-"):
        name, equals, _ = parts[at].partition("=")
        short = _GLOBAL_SHORT.fullmatch(parts[at])
        if name in _GLOBAL_VALUES:
            at += 1 if equals else 2
        elif short:
            at += 2 if short["value"] == "" else 1
        elif parts[at] in _GLOBAL_FLAGS:
            at += 1
        else:
            raise CommandError(
                f"has the option {parts[at]!r}, which dbt does not know in front of a command."
            )
    return min(at, len(parts))


def subcommand(parts: list[str]) -> str:
    """Return dbt's command among the words of a step that `words` let pass."""
    return parts[_next_word(parts, 1)]


def can_retry(dbt_version: str) -> bool:
    """Whether a release of dbt has `dbt retry`: since 1.6; what has no number, such as `latest`, is new."""
    number = re.match(r"(\d+)\.(\d+)", dbt_version)
    return number is None or (int(number[1]), int(number[2])) >= (1, 6)


def is_retryable(command: str) -> bool:
    """Whether `dbt retry` can take up a step with this command after it failed."""
    try:
        return subcommand(words(command)) in RETRYABLE
    except CommandError:
        # A run of an earlier version, which took steps that this one does not.
        return False


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
