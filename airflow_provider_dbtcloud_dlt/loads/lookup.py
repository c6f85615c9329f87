"""Which resources a source has, found out without loading any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dlt

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.loads.interval import Interval, interval_for_cursors
from airflow_provider_dbtcloud_dlt.loads.resources import components
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets
from airflow_provider_dbtcloud_dlt.loads.source import loadable
from airflow_provider_dbtcloud_dlt.loads.variables import thrifty_variables
from airflow_provider_dbtcloud_dlt.loads.workdir import working_folder


def look_resources_up(
    build: Callable[[], Any],
    name: str,
    *,
    interval: Interval | None = None,
    hide: Callable[[str], Any] | None = None,
) -> list[list[str]]:
    """Build a source, extract nothing, and return the resources of each part that can be loaded by itself.

    Args:
        build: Makes the source.
        name: What to call the source function in messages.
        interval: The DAG run's data interval, which the source may ask for.
        hide: Told of each secret that dlt resolved, so that the log can hide it.

    Raises:
        LoadError: It cannot be built, or selects no resources.
    """
    secrets = Secrets(hide)
    try:
        with thrifty_variables(), interval_for_cursors(interval), working_folder("lookup") as folder:
            # A source may ask for its state, which is that of a pipeline: here of an empty one.
            pipeline = dlt.pipeline("lookup", pipelines_dir=folder)
            try:
                return components(loadable(build(), name)[0], name)
            finally:
                secrets.collect()
                pipeline.deactivate()
    except Exception as error:
        told = (
            str(error) if isinstance(error, LoadError) else f"{name} failed: {type(error).__name__}: {error}"
        )
        raise LoadError(secrets.redact(told)) from error
