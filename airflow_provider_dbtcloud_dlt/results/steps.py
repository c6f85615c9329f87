"""What is put into a job's steps: a selection, and variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import yaml

from airflow_provider_dbtcloud_dlt.results.command import Command, Option, StepError

NARROWED = frozenset(
    ("build", "clone", "compile", "run", "snapshot", "test")
    + ("source freshness", "source snapshot-freshness")
)
"""The commands that a selection is put into. ``seed`` would be left with nothing, since no seed depends on a
source. ``docs generate`` takes a selection as well, but documentation of a part of the project would replace
that of the whole; ``list`` and ``show`` build nothing."""

_STRICT = ("--warn-error", "--warn-error-options")
"""With these dbt may fail where a selection is of nothing, of which it warns otherwise."""


def with_selection(step: str, selection: Sequence[str], default_selector: str | None = None) -> str:
    """Narrow a step to a selection: what it runs is in its own selection and in this one.

    A union within the step (``--select a b``) is narrowed member by member, by dbt's comma:
    ``--select a,ours b,ours``. An ``--exclude`` stays beside it: dbt subtracts it from what is selected.
    See https://docs.getdbt.com/reference/node-selection/set-operators.

    Args:
        step: The step.
        selection: A union of selectors without commas, such as ``source:raw.orders+``; at least one.
        default_selector: The project's selector for steps that select nothing themselves, if it has one.

    Returns:
        The step; as it was if it is of a command that is not narrowed.

    Raises:
        StepError: The step has to stay as it is.
    """
    if not selection:
        raise ValueError("An empty selection would select everything.")
    command = Command.read(step)
    if command.name not in NARROWED or command.has("--inline"):
        return step
    if strict := next((name for name in _STRICT if command.has(name)), None):
        raise StepError(f"with its {strict} dbt would fail if nothing of it depends on what was loaded")
    if command.has("--selector"):
        raise StepError("dbt ignores --select beside its --selector")
    own = list(command.selections())
    if not own:
        if default_selector is not None and not command.has("--exclude"):
            raise StepError(
                f"it runs what the project's default selector {default_selector!r} selects, which dbt "
                "ignores beside a --select"
            )
        following = command.words[command.at : command.at + 1]
        if following and not following[0].is_option:
            raise StepError(f"it has the word {following[0].value!r} where dbt expects an option")
        return str(command.with_words(command.at, command.at, ["--select", *selection]))
    for option in reversed(own):  # from the end, so that the places of the others stay right
        members = _members(option)
        crossed = [f"{member},{ours}" for member in members for ours in selection]
        command = command.with_words(option.start, option.end, [*option.name.split(" "), *crossed])
    return str(command)


def _members(option: Option) -> list[str]:
    """The members of a selection's union; dbt splits them at each blank, within quotes too."""
    members = [member for value in option.values for member in value.split(" ") if member]
    if not members:
        raise StepError("its own selection is empty")
    if any(member.startswith("-") for member in members):
        raise StepError(f"{' '.join(members)!r} is no selection that is understood here")
    return members


def with_vars(step: str, variables: Mapping[str, Any]) -> str:
    """Give a step variables, beside those that it has in its own ``--vars``, and before them.

    Args:
        step: The step.
        variables: The variables, by name.

    Raises:
        StepError: The step has to stay as it is.
        ValueError: A variable has a value that dbt can't be told.
    """
    command = Command.read(step)
    own = list(command.valued("--vars"))
    merged = {**_vars(own[-1].values[0]), **variables} if own else variables
    for option in reversed(own):
        command = command.with_words(option.start, option.end, [])
    at = min([command.at, *(option.start for option in own)])
    return str(command.with_words(at, at, ["--vars", dumped(merged)]))


def _vars(text: str) -> dict[Any, Any]:
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # a ValueError: a date that there is not
        found = None
    if not isinstance(found, dict):
        raise StepError("its --vars are no YAML mapping")
    return found


def dumped(variables: Mapping[Any, Any]) -> str:
    r"""Variables as dbt's ``--vars`` takes them: YAML on one line, printable ASCII without a single quote.

    So the quotes around it are the only ones, and nothing in a value ends them, whoever splits the step into
    words. Texts are always in double quotes: no version of YAML takes one of them for a number.

    Raises:
        ValueError: A value is of a type that YAML has no form for.
    """
    try:
        text = yaml.dump(
            dict(variables),
            Dumper=_OneLine,
            default_flow_style=True,
            allow_unicode=False,
            sort_keys=False,
            width=math.inf,
        )
    except yaml.representer.RepresenterError as error:
        value = error.args[-1]
        raise ValueError(f"{value!r} is a {type(value).__name__}, which YAML has no form for") from None
    return text.strip().replace("'", r"\x27")


class _OneLine(yaml.SafeDumper):
    """All that is quoted is in double quotes, which alone can escape anything."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def choose_scalar_style(self) -> Any:
        return "" if super().choose_scalar_style() == "" else '"'


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style='"')


# Multi: subclasses too, such as the times of Airflow's context.
_OneLine.add_representer(str, _text)
_OneLine.add_multi_representer(str, _text)
_OneLine.add_multi_representer(datetime, yaml.SafeDumper.represent_datetime)
_OneLine.add_multi_representer(date, yaml.SafeDumper.represent_date)
