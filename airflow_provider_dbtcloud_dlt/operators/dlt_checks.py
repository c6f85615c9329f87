"""What the arguments of a load must be: checked when the DAG file is parsed, and again once rendered."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.operators.dlt_source import LONGEST_NAME

# dlt's own lists would have to be imported from dlt, and a DAG file must not pay for that; a test
# compares them.
WRITE_DISPOSITIONS = ("append", "replace", "merge", "skip")
CONTRACT_ENTITIES = ("tables", "columns", "data_type")
CONTRACT_MODES = ("evolve", "discard_value", "freeze", "discard_row")
REFRESH_MODES = ("drop_sources", "drop_resources", "drop_data")

_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def check_source(source: Any) -> None:
    """Refuse what is no function, nor the name of one."""
    if _built_at_parse_time(source):
        raise TypeError(
            f"source is a {type(source).__name__} that was built while the DAG file was parsed. Pass the "
            "function itself, and its arguments in source_args: it is called when the task runs."
        )
    if isinstance(source, str):
        if not _REFERENCE.fullmatch(source):
            raise ValueError(
                f"source={source!r} does not name a function: write 'package.module:function', or pass the "
                "function."
            )
    elif not callable(source):
        raise TypeError(
            f"source is a {type(source).__name__}. Pass a function that returns what is to be loaded, or "
            "'package.module:function': it is called when the task runs."
        )
    elif inspect.iscoroutinefunction(source):
        raise TypeError(
            f"source {source.__name__!r} is an async function. Make it a plain one that returns what is to "
            "be loaded; dlt's resources inside of it may be async."
        )


def _built_at_parse_time(source: Any) -> bool:
    """Whether it is a source, or a resource that was called. Whoever made one imported dlt: we need not."""
    extract = sys.modules.get("dlt.extract")
    if extract is None:
        return False
    return isinstance(source, extract.DltSource) or (
        isinstance(source, extract.DltResource) and source.args_bound
    )


def check_resources(value: Any) -> None:
    """Refuse what is no list of names."""
    if value is None or not is_plain(value):
        return
    if isinstance(value, str):
        raise TypeError(f"resources={value!r} is a text: give a list of names, [{value!r}].")
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise TypeError(f"resources={value!r} is no list of names of resources.")
    if not value:
        raise ValueError("resources=[] selects nothing: name at least one resource, or leave it out for all.")


def check_rendered(name: str, value: Any, given: bool) -> None:
    """Refuse a name that is empty: dlt would take its default, and load into another place than was meant.

    Args:
        name: The argument.
        value: What it is by now.
        given: Whether the DAG file gives it: the output of another task may be None once it is there.
    """
    if (given and value is None) or (isinstance(value, str) and value.strip() in ("", "None")):
        raise ValueError(
            f"{name}={value!r} is empty: a template, or another task's output, rendered to nothing. For "
            "dlt's default leave the argument out."
        )


def check_pipeline_name(value: Any) -> None:
    """Refuse a name of which dlt cannot make a folder's and a schema's."""
    if value is None or not is_plain(value):
        return
    if not isinstance(value, str) or not value.isidentifier() or len(value) > LONGEST_NAME:
        raise ValueError(
            f"pipeline_name={value!r} cannot be a pipeline's name: write letters, digits and underscores, "
            f"{LONGEST_NAME} at most, with no digit in front."
        )


def check_connection_id(name: str, value: Any) -> None:
    """Refuse what is no connection's id."""
    if is_plain(value) and not isinstance(value, str | None):
        raise ValueError(f"{name}={value!r} names no Airflow connection: give it a connection's id, a text.")


def check_write_disposition(value: Any) -> None:
    """Refuse a disposition that dlt does not know."""
    if isinstance(value, Mapping):
        if "disposition" not in value:
            raise ValueError(
                "write_disposition is a dict without the key 'disposition': write for instance "
                "{'disposition': 'merge', 'strategy': 'scd2'}."
            )
        value = value["disposition"]
    check_choice("write_disposition", value, WRITE_DISPOSITIONS)


def check_schema_contract(value: Any) -> None:
    """Refuse a contract that dlt does not know."""
    if not isinstance(value, Mapping):
        check_choice("schema_contract", value, CONTRACT_MODES)
        return
    for entity, mode in value.items():
        if entity not in CONTRACT_ENTITIES:
            raise ValueError(
                f"schema_contract has the key {entity!r}; dlt knows {_listed(CONTRACT_ENTITIES)}."
            )
        check_choice(f"schema_contract[{entity!r}]", mode, CONTRACT_MODES)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is none of dlt's."""
    if value is not None and is_plain(value) and value not in choices:
        raise ValueError(f"{name}={value!r} is not one that dlt knows: {_listed(choices)}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
