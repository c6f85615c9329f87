"""What earlier tries of a task have loaded: they may have died before they could say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from dlt.common.schema import Schema
from dlt.common.schema.typing import TTableSchema
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.progress import TaskLog

EarlierRows = dict[str, dict[str, int]]
"""By load id: rows by table, for each table that has any."""


def earlier_rows(
    pipeline: Pipeline, since: datetime | None, own: Iterable[str], log: TaskLog
) -> EarlierRows | None:
    """Find the rows of loads that ended since the DAG run began.

    An incremental load that is tried again brings no row twice: what the earlier try loaded would be in no
    summary, if that try died with its load done.

    Args:
        pipeline: After its load.
        since: When the DAG run began; a load's id is the time at which it began, in seconds.
        own: The ids of this try's loads, which are left out.
        log: Told of what is found, and of what can't be known.

    Returns:
        The rows by load and table; None if they can't be known.
    """
    try:
        found = _look(pipeline, since, {*own}) if since else None
    except Exception as error:  # noqa: BLE001 - whatever it is, the load has succeeded
        log.warning("Earlier tries' loads can't be looked up: %s", type(error).__name__)
        return None
    if found is None:
        log.info("What earlier tries have loaded is not known, so that it counts as something.")
    for load_id, rows in (found or {}).items():
        told = ", ".join(f"{table}: {count:,}" for table, count in rows.items())
        log.info("Load %s had arrived before this try, and counts as its own: %s rows", load_id, told)
    return found


def _look(pipeline: Pipeline, since: datetime, own: set[str]) -> EarlierRows | None:
    found: EarlierRows = {}
    for schema in pipeline.schemas.values():
        client = pipeline.destination_client(schema.name)
        if not isinstance(client, SqlJobClientBase):
            return None  # files in a bucket, say: no database to ask
        with client, suppress(DatabaseUndefinedRelation):  # nothing was ever loaded
            for load_id in _ended(client, schema, since):
                if load_id in own:
                    continue
                if not all("_dlt_load_id" in one["columns"] for one in _roots(schema)):
                    return None  # tables of data frames do not say which load a row came with
                if rows := dict(_counts(client, schema, load_id)):
                    found[load_id] = rows
    return found


def _roots(schema: Schema) -> list[TTableSchema]:
    return [one for one in schema.data_tables(seen_data_only=True) if not one.get("parent")]


def _ended(client: SqlJobClientBase, schema: Schema, since: datetime) -> list[str]:
    sql = client.sql_client
    load_id = sql.escape_column_name("load_id")
    query = (
        f"SELECT {load_id} FROM {sql.make_qualified_table_name(schema.loads_table_name)} "  # noqa: S608 - dlt's own names
        f"WHERE {sql.escape_column_name('schema_name')} = '{schema.name}' "
        f"AND {load_id} >= '{since.timestamp():.0f}' ORDER BY {load_id}"
    )
    return [str(row[0]) for row in sql.execute_sql(query) or []]


def _counts(client: SqlJobClientBase, schema: Schema, load_id: str) -> Iterator[tuple[str, int]]:
    sql = client.sql_client
    for table in schema.data_tables(seen_data_only=True):
        name = str(table["name"])
        where = _of_load(client, schema, name, load_id)
        query = f"SELECT COUNT(*) FROM {sql.make_qualified_table_name(name)} WHERE {where}"  # noqa: S608 - as above
        count = int((sql.execute_sql(query) or [[0]])[0][0])
        if count:
            yield name, count


def _of_load(client: SqlJobClientBase, schema: Schema, table: str, load_id: str) -> str:
    """The condition for a load's rows of a table: those of a nested one belong to their parents."""
    sql = client.sql_client
    parent = schema.tables[table].get("parent")
    if not parent:
        return f"{sql.escape_column_name('_dlt_load_id')} = '{load_id}'"
    return (
        f"{sql.escape_column_name('_dlt_parent_id')} IN (SELECT {sql.escape_column_name('_dlt_id')} "  # noqa: S608 - as above
        f"FROM {sql.make_qualified_table_name(parent)} WHERE {_of_load(client, schema, parent, load_id)})"
    )
