"""The body of a job's trigger: a task's arguments, its further configuration, the connection's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.client.checks import check_trigger_body

DEFAULTED = ("git_branch", "git_sha", "schema_override")
"""The fields for which a connection may have a default."""


def check_given(task_id: str, given: Mapping[str, Any], config: object) -> None:
    """Refuse, while the DAG file is parsed, what dbt Cloud would not take.

    Args:
        task_id: for the message.
        given: the fields that the task has as arguments.
        config: its ``additional_run_config``.

    Raises:
        InvalidRequestError: a field that is none, a value that it can't have, or a field that is given twice.
    """
    if config is not None and is_plain(config) and not isinstance(config, Mapping):
        raise InvalidRequestError(f"additional_run_config must be a dictionary, got {config!r}.")
    config = config if isinstance(config, Mapping) else {}
    known = {name: value for name, value in {**config, **given}.items() if is_plain(value)}
    check_trigger_body({**known, "cause": "known only when the task runs"})
    twice = [name for name in given if name in config]
    if twice:
        raise InvalidRequestError(
            f"Task {task_id!r} gives {', '.join(twice)} both as an argument and in "
            "additional_run_config: give it once."
        )


def merged_body(given: Mapping[str, Any], config: object, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The body once all templates are rendered; a cause is only in it when `config` has one.

    Args:
        given: the fields that the task has as arguments.
        config: its ``additional_run_config``.
        defaults: the connection's, which count least.

    Raises:
        InvalidRequestError: a template rendered to nothing, or `config` to no dictionary.
    """
    given = {name: value for name, value in given.items() if value != ""}
    nothing = [name for name, value in given.items() if value == "None"]
    if nothing:
        raise InvalidRequestError(f"{' and '.join(nothing)} rendered to 'None': what does the template read?")
    config = config or {}
    if not isinstance(config, Mapping):
        raise InvalidRequestError(
            f"additional_run_config must be a dictionary of the trigger's fields, got {config!r}."
        )
    given = {**config, **given}
    body = {name: defaults[name] for name in DEFAULTED if name in defaults}
    if "git_sha" in given or "git_branch" in given:
        body.pop("git_sha", None)  # a default commit does not belong to the task's branch, nor vice versa
        body.pop("git_branch", None)
    return {**body, **given}
