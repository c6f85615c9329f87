"""What a load did, as plain JSON: a task's result, for templates and for the tasks after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dlt.common.pipeline import LoadInfo, NormalizeInfo
from dlt.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class LoadSummary:
    """The result of a load; free of secrets."""

    pipeline_name: str
    dataset_name: str
    """The dataset as it is called at the destination."""
    destination: str
    """The destination's name, which is its type unless it was given a name of its own."""
    destination_type: str
    load_ids: list[str]
    """dlt's ids of the packages loaded: ``_dlt_loads.load_id``, and ``_dlt_load_id`` of each row."""
    rows: dict[str, int]
    """Rows per table as sent to the destination; the tables that dlt keeps for itself are left out."""
    row_count: int
    first_run: bool
    """Nothing was known at the destination of a pipeline of that name."""
    nothing_loaded: bool
    """No table's contents were touched: no rows came, and no table was emptied by ``replace``."""
    started_at: str
    finished_at: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def summarise(
    pipeline: Pipeline,
    normalized: NormalizeInfo | None,
    loaded: LoadInfo | None,
    *,
    first_run: bool,
    started_at: datetime,
    finished_at: datetime,
) -> LoadSummary:
    """Make the summary of what dlt's steps reported; either report is None if there was nothing to do."""
    prefix = pipeline.default_schema._dlt_tables_prefix if pipeline.default_schema_name else "_dlt"
    counts = normalized.row_counts if normalized else {}
    rows = {table: count for table, count in counts.items() if not table.startswith(prefix)}
    touched = {
        job.job_file_info.table_name
        for package in (loaded.load_packages if loaded else [])
        for job in package.jobs["completed_jobs"]
        if not job.job_file_info.table_name.startswith(prefix)
    }
    return LoadSummary(
        pipeline_name=pipeline.pipeline_name,
        dataset_name=(loaded.dataset_name if loaded else None) or pipeline.dataset_name,
        destination=pipeline.destination.destination_name,
        destination_type=pipeline.destination.destination_type.rsplit(".", 1)[-1],
        load_ids=list(loaded.loads_ids) if loaded else [],
        rows=rows,
        row_count=sum(rows.values()),
        first_run=first_run,
        nothing_loaded=not touched and not any(rows.values()),
        started_at=started_at.isoformat(),
        finished_at=finished_at.isoformat(),
        seconds=round((finished_at - started_at).total_seconds(), 3),
    )
