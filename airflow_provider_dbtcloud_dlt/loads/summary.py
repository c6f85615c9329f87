"""What a load did, as plain JSON: a task's result, for templates and for the tasks after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from dlt.common.metrics import DataWriterMetrics
from dlt.common.pipeline import LoadInfo, NormalizeInfo
from dlt.common.schema import Schema
from dlt.common.schema.utils import get_inherited_table_hint, get_nested_tables
from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.address import Address
from airflow_provider_dbtcloud_dlt.loads.changes import SchemaChanges, schema_changes
from airflow_provider_dbtcloud_dlt.loads.earlier import EarlierRows


@dataclass(frozen=True)
class LoadSummary:
    """The result of a load; free of secrets."""

    pipeline_name: str
    dataset_name: str
    """The dataset as it is called at the destination."""
    destination: str
    """The destination's name, which is its type unless it was given a name of its own."""
    destination_type: str
    database: str | None
    """The database, project or catalog that the dataset is in; None if there is none, or it is not known."""
    table_uri: str | None
    """The URI of the tables, free of secrets, with ``{table}`` for their names; None if it is not known."""
    load_ids: list[str]
    """dlt's ids of the packages loaded: ``_dlt_loads.load_id``, and ``_dlt_load_id`` of each row. Those that
    earlier tries have loaded come first."""
    rows: dict[str, int]
    """Rows sent to the destination, for each table whose contents were touched; 0 where ``replace`` emptied
    it. The tables that dlt keeps for itself are left out."""
    bytes: dict[str, int]
    """Bytes of the files with these rows, before compression; those of earlier tries are not known."""
    table_load_ids: dict[str, list[str]]
    """The ids of the packages that these rows were in."""
    row_count: int
    schema_changes: SchemaChanges
    first_run: bool
    """Nothing was known at the destination of a pipeline of that name."""
    nothing_loaded: bool
    """No table's contents were touched: no rows came, and no table was emptied by ``replace``; nor, as far
    as that can be known, by an earlier try."""
    started_at: str
    finished_at: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass
class _Counts:
    """What was sent to one table."""

    rows: int = 0
    bytes: int = 0
    load_ids: list[str] = field(default_factory=list)


def summarise(
    pipeline: Pipeline,
    normalized: NormalizeInfo | None,
    loaded: LoadInfo | None,
    *,
    earlier: EarlierRows | None,
    address: Address,
    first_run: bool,
    started_at: datetime,
    finished_at: datetime,
) -> LoadSummary:
    """Make the summary of what dlt's steps reported; either report is None if there was nothing to do.

    What earlier tries have loaded is part of it; None if that is not known.
    """
    packages = loaded.load_packages if loaded else []
    tables = _touched(normalized, {p.load_id: pipeline.schemas[p.schema_name] for p in packages})
    for load_id, before in reversed((earlier or {}).items()):
        for name, count in before.items():
            counts = tables.setdefault(name, _Counts())
            counts.rows += count
            counts.load_ids.insert(0, load_id)
    rows = {name: counts.rows for name, counts in tables.items()}
    return LoadSummary(
        pipeline_name=pipeline.pipeline_name,
        dataset_name=dataset_name(pipeline, loaded),
        destination=pipeline.destination.destination_name,
        destination_type=pipeline.destination.destination_type.rsplit(".", 1)[-1],
        database=address.database,
        table_uri=address.table_uri,
        load_ids=[*(earlier or {}), *(loaded.loads_ids if loaded else [])],
        rows=rows,
        bytes={name: counts.bytes for name, counts in tables.items()},
        table_load_ids={name: counts.load_ids for name, counts in tables.items()},
        row_count=sum(rows.values()),
        schema_changes=schema_changes(packages, pipeline.schemas),
        first_run=first_run,
        nothing_loaded=not tables and earlier is not None,
        started_at=started_at.isoformat(),
        finished_at=finished_at.isoformat(),
        seconds=round((finished_at - started_at).total_seconds(), 3),
    )


def dataset_name(pipeline: Pipeline, loaded: LoadInfo | None) -> str:
    """The dataset as it is called at the destination, once something was loaded."""
    return str((loaded.dataset_name if loaded else None) or pipeline.dataset_name)


def _touched(normalized: NormalizeInfo | None, schemas: dict[str, Schema]) -> dict[str, _Counts]:
    """The tables that got rows, and those that were emptied, by their names.

    Args:
        normalized: dlt's report, which has the rows.
        schemas: The schemas of what was loaded, by load id.
    """
    touched: dict[str, _Counts] = {}
    for load_id, reports in (normalized.metrics if normalized else {}).items():
        schema = schemas[load_id]
        metrics = {name: one for report in reports for name, one in report["table_metrics"].items()}
        for name in _touched_names(metrics, schema):
            counts = touched.setdefault(name, _Counts())
            counts.load_ids.append(load_id)
            if name in metrics:
                counts.rows += metrics[name].items_count
                counts.bytes += metrics[name].file_size
    return touched


def _touched_names(metrics: Mapping[str, DataWriterMetrics], schema: Schema) -> list[str]:
    names = [name for name, one in metrics.items() if one.items_count]
    for name in metrics:
        how = get_inherited_table_hint(schema.tables, name, "write_disposition", allow_none=True)
        if how == "replace":
            # What was nested in the old rows is emptied with them, and then there is no report of it.
            names += [str(table["name"]) for table in get_nested_tables(schema.tables, name)]
    return [name for name in dict.fromkeys(names) if not name.startswith(schema._dlt_tables_prefix)]
