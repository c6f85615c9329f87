"""What Airflow stores of a trigger."""

from __future__ import annotations

import inspect
from typing import Any

from airflow.triggers.base import BaseTrigger


def stored(trigger: BaseTrigger) -> tuple[str, dict[str, Any]]:
    """A trigger's class path and its arguments, each of which it keeps under the argument's name."""
    arguments = inspect.signature(type(trigger)).parameters
    path = f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    return path, {name: getattr(trigger, name) for name in arguments}
