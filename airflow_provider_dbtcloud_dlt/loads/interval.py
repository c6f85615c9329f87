"""The DAG run's data interval, handed to dlt's incremental cursors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from dlt.common.configuration.container import Container
from dlt.extract import DltResource, DltSource

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError

try:
    from dlt.extract.incremental.context import TimeIntervalContext
except ImportError:  # an older dlt asks Airflow itself
    TimeIntervalContext = None  # type: ignore[assignment,misc]

Interval = tuple[datetime, datetime]


@contextmanager
def interval_for_cursors(interval: Interval | None) -> Iterator[None]:
    """Let cursors with ``allow_external_schedulers`` load this interval, whatever their state says.

    dlt would find the interval in Airflow's context itself, but only by names that Airflow calls deprecated,
    and not where there is no task around. ``dlt.current.interval()`` has it too.
    """
    if interval is None or TimeIntervalContext is None:
        yield
        return
    with Container().injectable_context(TimeIntervalContext(interval=interval)):
        yield


def check_interval(data: Any, interval: Interval | None) -> None:
    """Refuse an empty interval that a cursor has followed: it would load nothing, now and at every run.

    Args:
        data: What was extracted.
        interval: The data interval.

    Raises:
        LoadError: The interval is empty, and one of the selected resources has a cursor that follows it.
    """
    if interval is None or interval[0] < interval[1]:
        return
    for resource in _resources(data):
        cursor: Any = resource.incremental
        cursor = getattr(cursor, "incremental", cursor)
        if cursor is not None and cursor.allow_external_schedulers:
            raise LoadError(
                f"The cursor {cursor.cursor_path!r} of resource {resource.name!r} follows the DAG run's data "
                f"interval, which is empty: both its ends are {interval[0].isoformat()}. Since Airflow 3 "
                "schedules such as '@daily' have no intervals: use CronDataIntervalTimetable('0 0 * * *', "
                "timezone='UTC')."
            )


def _resources(data: Any) -> Iterable[DltResource]:
    for part in data if isinstance(data, list) else [data]:
        if isinstance(part, DltSource):
            yield from part.selected_resources.values()
        elif isinstance(part, DltResource):
            yield part
