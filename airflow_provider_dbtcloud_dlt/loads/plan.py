"""What is to be loaded, where to and how: the arguments of a load, as dlt names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.interval import Interval
from airflow_provider_dbtcloud_dlt.loads.resources import part_name


@dataclass(frozen=True)
class LoadPlan:
    """The arguments of ``dlt.pipeline()`` and ``pipeline.run()`` that a task may set; None: dlt's default.

    See https://dlthub.com/docs/general-usage/pipeline for what each of them does.
    """

    pipeline_name: str
    """Of the whole load, if ``resources`` makes this one a part of it."""
    resources: Sequence[str] | None = None
    """The names of the source's resources that are loaded; None: what the source itself selects."""
    destination: Any = None
    """A destination's name, a destination object, or a callable that makes one."""
    staging: Any = None
    """Where files are staged before they are loaded; as ``destination``."""
    destination_connection: ConnectionFields | None = None
    """Whose credentials the destination gets."""
    staging_connection: ConnectionFields | None = None
    dataset_name: str | None = None
    import_schema_path: str | None = None
    export_schema_path: str | None = None
    dev_mode: bool = False
    pipelines_dir: str | None = None
    """The folder in which the private working folder is made; None: the system's folder for temporary
    files."""

    table_name: str | None = None
    write_disposition: Any = None
    columns: Any = None
    primary_key: Any = None
    schema_contract: Any = None
    loader_file_format: str | None = None
    table_format: str | None = None
    refresh: str | None = None

    default_table_name: str | None = None
    """The table for plain data when ``table_name`` is not given: a list of dicts has no name of its own."""
    log_interval: float = 10.0
    """Seconds between two lines of progress within one stage."""
    lock_timeout: float = 3600.0
    """Seconds to wait for a database that has one writer at a time."""
    interval: Interval | None = None
    """The DAG run's data interval, for incremental cursors that follow it; None: there is none."""
    is_retry: bool = False
    """Whether an earlier try of the task may have been killed amid its load, or after it."""
    run_start: datetime | None = None
    """When the DAG run began: what earlier tries have loaded came since then. None: it is not known."""

    @property
    def name(self) -> str:
        """The pipeline's name: loads in parallel must not share one, for with it they share a state."""
        return part_name(self.pipeline_name, self.resources) if self.resources else self.pipeline_name

    def hints(self) -> dict[str, Any]:
        """The arguments of ``pipeline.extract()`` that were given."""
        names = (
            "table_name",
            "write_disposition",
            "columns",
            "primary_key",
            "schema_contract",
            "loader_file_format",
            "table_format",
            "refresh",
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}
