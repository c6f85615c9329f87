"""Times and spans as the API writes them.

Times come in three ways: with a space (runs, steps), with a T and an offset (jobs and other objects), with a
T and a Z (the job inside a run).
"""

from datetime import UTC, datetime

from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND


def spaced(at: int | None) -> str | None:
    """Return a time as in runs and steps: ``2024-05-27 10:42:16.179903+00:00``."""
    return None if at is None else str(_datetime(at))


def offset(at: int) -> str:
    """Return a time as in jobs: ``2024-05-27T10:42:10.111442+00:00``."""
    return _datetime(at).isoformat()


def zulu(at: int) -> str:
    """Return a time as in the job inside a run: ``2024-05-27T10:42:10.111442Z``."""
    return offset(at).replace("+00:00", "Z")


def duration(microseconds: int) -> str:
    """Return a span of time as ``HH:MM:SS``; the hours may exceed 23."""
    seconds = max(microseconds, 0) // SECOND
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def humanized(microseconds: int) -> str:
    """Return a span of time in its largest unit, such as ``2 minutes``."""
    minutes = max(microseconds, 0) // (60 * SECOND)
    hours, days = minutes // 60, minutes // (60 * 24)
    count, unit = (days, "day") if days else (hours, "hour") if hours else (minutes, "minute")
    return f"{count} {unit}" + ("" if count == 1 else "s")


def _datetime(at: int) -> datetime:
    seconds, microseconds = divmod(at, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
