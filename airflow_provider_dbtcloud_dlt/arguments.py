"""What a task's arguments must be: checked at DAG parse time where that is possible, else once rendered."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.client.checks import is_id

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.hooks.connection import Settings


def is_plain(value: object) -> bool:
    """Whether a value is known at parse time: no template, no XCom of another task."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    return value is None or isinstance(value, bool | int | float | list | tuple | dict)


def check_id_argument(name: str, value: object) -> None:
    """Refuse an id that is no whole number, as far as it is known at parse time."""
    if value is None or not is_plain(value):
        return
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"0*[1-9][0-9]{0,18}", text, re.ASCII):
        hint = " A job's name goes into job_name." if name == "job_id" and text.strip("0123456789.-") else ""
        raise InvalidRequestError(
            f"{name} must be a positive whole number or a template, got {value!r}.{hint}"
        )


def rendered_id(name: str, value: object) -> int:
    """Return an id whose template has been rendered.

    Raises:
        InvalidRequestError: it rendered to nothing, or to no number.
    """
    text = "" if value is None else str(value).strip()
    if text in ("", "None"):
        raise InvalidRequestError(
            f"{name} is empty: its template rendered to nothing. Does the task that it refers to run before "
            "this one, and return a value?"
        )
    if not is_id(value, text):
        hint = " A job's name goes into job_name." if name == "job_id" else ""
        raise InvalidRequestError(f"{name} must be a whole number, but rendered to {text[:80]!r}.{hint}")
    return int(text)


def moment(name: str, value: object) -> datetime:
    """Return a moment; without a time zone it is one of UTC.

    Raises:
        InvalidRequestError: it is no datetime, and no text in ISO format.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    if not isinstance(value, datetime):
        raise InvalidRequestError(
            f"{name} must be a datetime, or one in ISO format such as '2026-01-31T06:00:00+00:00', got "
            f"{str(value)[:80]!r}."
        )
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def default_run_id(settings: Settings, task_id: str) -> int:
    """Return the connection's run, for a task that names none.

    Raises:
        InvalidRequestError: the connection names none either.
    """
    default = settings.defaults.get("run_id")
    if default is None:
        raise InvalidRequestError(
            f"Task {task_id!r} names no run: give run_id, such as the output of the task that starts it, or "
            f"put a run_id into the extra of {settings.origin}."
        )
    return rendered_id("run_id", default)


def seconds(name: str, value: float | timedelta) -> float:
    """Return a positive number of seconds.

    Raises:
        InvalidRequestError: it is no positive number and no timedelta.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise InvalidRequestError(
            f"{name} must be a positive number of seconds or a timedelta, got {value!r}."
        )
    return float(number)
