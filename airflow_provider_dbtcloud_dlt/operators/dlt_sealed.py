"""Destinations that Airflow neither calls nor shows, for they may hold credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SEALED = ("destination", "staging")


class _Sealed:
    """Keeps a destination that is no name away from Airflow's templates, and out of its database.

    Airflow calls a callable in a template field, and shows other objects by their ``repr()`` in the task's
    page and in the serialized DAG.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def __repr__(self) -> str:
        return getattr(self.content, "__name__", type(self.content).__name__)


def sealed(value: Any) -> Any:
    """Seal a destination, unless it is a name, a reference to another task's result, or sealed already."""
    # Airflow resolves such a reference itself, and finds one by this method.
    is_reference = hasattr(value, "iter_references")
    return value if value is None or isinstance(value, str | _Sealed) or is_reference else _Sealed(value)


def unsealed(value: Any) -> Any:
    """The destination itself."""
    return value.content if isinstance(value, _Sealed) else value


def with_sealed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Seal the destinations among a load's arguments.

    Those of a mapped task are written into the serialized DAG before there is an operator to seal them.
    """
    return {name: sealed(value) if name in _SEALED else value for name, value in arguments.items()}
