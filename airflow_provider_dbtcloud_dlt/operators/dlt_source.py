"""The function that makes what is loaded, as a task has it: its names, its arguments, its call."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.compat import AirflowException, AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

T = TypeVar("T")

Source = Callable[..., Any] | str
"""A function, or ``"package.module:function"``."""

LONGEST_NAME = 64
"""What dlt allows for a pipeline's name, of which it makes a schema's; a test compares them."""


def call_source(source: Source, source_args: Mapping[str, Any] | None, context: Context) -> Any:
    """Call the source function with its arguments and what it asks for of the context."""
    if isinstance(source, str):
        from airflow_provider_dbtcloud_dlt.loads.source import import_function

        source = import_function(source)
    arguments = dict(source_args or {})
    wanted = _context_parameters(source) - arguments.keys()
    values: Mapping[str, Any] = {**context}
    return source(**arguments, **{name: values[name] for name in wanted if name in values})


def data_interval(context: Context) -> tuple[Any, Any] | None:
    """The DAG run's data interval, if it has one: a run without a logical date does not."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    return (start, end) if start is not None and end is not None else None


def heeding_airflow(work: Callable[[], T]) -> T:
    """Do what calls a source; what that raises for Airflow, skip or fail without a retry, comes through.

    Raises:
        LoadError: It failed otherwise.
    """
    from airflow_provider_dbtcloud_dlt.loads.errors import LoadError

    try:
        return work()
    except LoadError as error:
        asked = _asked_of_airflow(error)
        if asked is None:
            raise
    raise asked  # out here, where Python does not chain it to the LoadError, whose cause it is


def source_name(source: Source) -> str | None:
    """The function's name, which is a table's default name."""
    if isinstance(source, str):
        return source.rpartition(":")[2].rpartition(".")[2]
    function: Any = source
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else None


def default_pipeline_name(dag_id: str, task_id: str) -> str:
    """Name a pipeline that was given no name: dlt keeps state and, by default, the tables under it.

    Two tasks never share such a name, nor do their datasets, for whose names dlt writes small letters and
    squeezes underscores: what the plain form cannot tell apart gets a digest.

    Example::

        default_pipeline_name("shop", "orders") == "shop_orders"
        default_pipeline_name("shop", "eu_orders") == "shop_eu_orders_00ab58ad"
    """
    plain = re.sub(r"[\W_]+", "_", f"{dag_id}_{task_id}", flags=re.ASCII).strip("_")
    name = _identifier(plain)
    if all(re.fullmatch(r"[a-z0-9]+", one) for one in (dag_id, task_id)) and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(repr((dag_id, task_id)).encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 1 - len(digest)].rstrip('_')}_{digest}"


def _identifier(name: str) -> str:
    return f"_{name}" if name[:1].isdigit() else name


def check_source_args(source: Source, arguments: Mapping[str, Any] | None) -> None:
    """Refuse arguments that the source function cannot take, where both are known."""
    if not is_plain(arguments):
        return
    if arguments is not None and not isinstance(arguments, Mapping):
        raise TypeError(f"source_args is a {type(arguments).__name__}: pass a dict of keyword arguments.")
    if inspect.isfunction(source):
        known = dict.fromkeys(_context_parameters(source))
        try:
            inspect.signature(source).bind(**{**known, **(arguments or {})})
        except TypeError as error:
            raise TypeError(f"source_args do not fit source {source.__name__!r}: {error}.") from None


def _context_parameters(function: Callable[..., Any]) -> set[str]:
    """The parameters that Airflow fills in: those named like a value of its context and without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        return set()
    # A default other than None is the author's own, such as dlt.config.value, by which dlt fills the
    # parameter in.
    unset = (None, inspect.Parameter.empty)
    return {p.name for p in parameters if p.name in KNOWN_CONTEXT_KEYS and any(p.default is u for u in unset)}


def _asked_of_airflow(error: BaseException) -> AirflowException | None:
    """Find what a source raised for Airflow, skip or fail without a retry, beneath what dlt made of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, AirflowSkipException | AirflowFailException):
        cause = cause.__cause__
    return cause
