"""Rows that a load left behind when it was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.progress import TaskLog

_LOAD_ID = "_dlt_load_id"


def tell_leftovers(pipeline: Pipeline, log: TaskLog) -> None:
    """Warn of rows in appended tables whose load never ended: this load may append them once more.

    dlt writes a load's id into ``_dlt_loads`` when all its rows are there. A load that was killed before has
    no line there, and its state was not kept: the next load brings the same rows again. Merged and replaced
    tables are right then, appended ones have them twice.

    Args:
        pipeline: After its normalize step, when it knows the tables.
        log: Gets the warnings.
    """
    try:
        _look(pipeline, log)
    except Exception as error:  # noqa: BLE001 - whatever it is, the load itself may well succeed
        log.warning("Whether an earlier try has left rows behind is not known: %s", type(error).__name__)


def _look(pipeline: Pipeline, log: TaskLog) -> None:
    for schema in pipeline.schemas.values():
        client = pipeline.destination_client(schema.name)
        if not isinstance(client, SqlJobClientBase):
            return  # files in a bucket, say: no database to ask
        with client:
            for table in _appended(schema):
                with suppress(DatabaseUndefinedRelation):  # nothing was ever loaded into it
                    for load_id, count in _unfinished(client, schema, table):
                        log.warning(
                            "Table %s holds %s rows of load %s, which has not ended: it was killed, or runs "
                            "at this moment. If it was killed, this load may append the same rows again: "
                            "delete those whose %s is %s, and what belongs to them in child tables.",
                            table,
                            f"{count:,}",
                            load_id,
                            _LOAD_ID,
                            load_id,
                        )


def _appended(schema: Schema) -> Iterator[str]:
    for table in schema.data_tables(seen_data_only=True):
        is_root = not table.get("parent")
        if is_root and table.get("write_disposition", "append") == "append" and _LOAD_ID in table["columns"]:
            yield str(table["name"])


def _unfinished(client: SqlJobClientBase, schema: Schema, table: str) -> list[tuple[str, int]]:
    sql = client.sql_client
    column = sql.escape_column_name(_LOAD_ID)
    ended = sql.make_qualified_table_name(schema.loads_table_name)
    query = (
        f"SELECT {column}, COUNT(*) FROM {sql.make_qualified_table_name(table)} "  # noqa: S608 - dlt's own names
        f"WHERE {column} NOT IN (SELECT {sql.escape_column_name('load_id')} FROM {ended}) "
        f"GROUP BY {column} ORDER BY {column}"
    )
    return [(str(load_id), int(count)) for load_id, count in sql.execute_sql(query) or []]
