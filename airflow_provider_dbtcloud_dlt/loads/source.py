"""From what a user's function returns to what dlt can load."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from dlt.extract import DltResource, DltSource
from dlt.extract.reference import SourceFactory

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError


def import_function(reference: str) -> Callable[..., Any]:
    """Import the function that ``"package.module:function"`` names.

    Raises:
        LoadError: The module or the function does not exist, or it is not callable.
    """
    module_name, _, function_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the named one imports may be missing: then its name is the one to tell.
        missing = f"module {error.name!r}" + ("" if error.name == module_name else ", which it needs,")
        raise LoadError(
            f"source={reference!r}: {missing} cannot be found on this worker. Install it there, or put it "
            "beside the DAG files."
        ) from error
    try:
        function: Any = module
        for name in function_name.split("."):
            function = getattr(function, name)
    except AttributeError as error:
        raise LoadError(
            f"source={reference!r}: module {module_name!r} has no function {function_name!r}."
        ) from error
    if not callable(function):
        raise LoadError(
            f"source={reference!r} is a {type(function).__name__}, not a function. Name a function that "
            "returns what is to be loaded."
        )
    return function  # type: ignore[no-any-return]


def loadable(data: Any, name: str) -> tuple[Any, bool]:
    """Check what a source function returned.

    Args:
        data: What it returned.
        name: What to call the function in messages.

    Returns:
        What dlt should load, and whether it is plain data (rows without a table's name) rather than dlt's
        objects.

    Raises:
        LoadError: It is nothing that dlt can load.
    """
    if data is None:
        raise LoadError(
            f"{name} returned nothing. Return a dlt source, a resource, a list of them, or rows: a list of "
            "dicts, a generator, a DataFrame, an Arrow table."
        )
    if isinstance(data, str | bytes | int | float | Mapping):
        hint = " Return a list of dicts." if isinstance(data, Mapping) else ""
        raise LoadError(f"{name} returned a {type(data).__name__}, which is not a set of rows.{hint}")
    if isinstance(data, tuple):
        data = list(data)
    parts = data if isinstance(data, list) else [data]
    ours = [isinstance(part, DltSource | DltResource | SourceFactory) for part in parts]
    if any(ours) and not all(ours):
        raise LoadError(
            f"{name} returned a list that mixes dlt's sources or resources with other data: return one kind."
        )
    return data, not (ours and all(ours))
