"""Which of a project's sources are the tables that were loaded, as dbt's selectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from airflow_provider_dbtcloud_dlt.results.manifest import Source

DLT_PREFIX = "_dlt"
"""What the names of dlt's own tables begin with."""


@dataclass(frozen=True, order=True)
class Table:
    """A loaded table, as it is called at the destination.

    Attributes:
        schema: Where it is.
        name: What dlt calls it.
        identifier: What it is called there, if that is something else.
    """

    schema: str
    name: str
    identifier: str = ""

    @classmethod
    def of(cls, load: Mapping[str, Any], name: str) -> Self:
        """The table of this name that a load's summary tells of.

        In ClickHouse, which has no schemas, dlt puts the dataset's name before the table's; dbt calls the
        database the schema. The tables' URI has both.
        """
        uri = load.get("table_uri")
        if load.get("destination_type") != "clickhouse" or not uri:
            return cls(str(load["dataset_name"]), name)
        database, table = map(unquote, str(uri).split("/")[-2:])
        return cls(database, name, table.replace("{table}", name))

    def __str__(self) -> str:
        return f"{self.schema}.{self.identifier or self.name}"


@dataclass(frozen=True)
class Selection:
    """What was loaded, in dbt's terms.

    Attributes:
        selectors: ``source:<name>.<table>+`` of each loaded table that is a source, in the project's order.
        unknown: The loaded tables that are no sources.
    """

    selectors: tuple[str, ...]
    unknown: tuple[Table, ...]


def select(sources: Iterable[Source], tables: Iterable[Table], dbt_source: str | None = None) -> Selection:
    """Find the sources that are loaded tables.

    Args:
        sources: The project's.
        tables: The loaded tables; dlt's own are left out.
        dbt_source: The name of the dbt source that they belong to; default: whichever has their schema.
    """
    wanted = [table for table in dict.fromkeys(tables) if not table.name.startswith(DLT_PREFIX)]
    chosen: dict[str, None] = {}
    known: set[Table] = set()
    for source in sources:
        here = [table for table in wanted if _is(source, table, dbt_source)]
        if here:
            known.update(here)
            chosen[f"source:{_pattern(source.source_name)}.{_pattern(source.name)}+"] = None
    return Selection(tuple(chosen), tuple(table for table in wanted if table not in known))


def _is(source: Source, table: Table, dbt_source: str | None) -> bool:
    """Whether a source is a table. Some databases write all names in capitals: case says nothing."""
    name, identifier = table.name.casefold(), (table.identifier or table.name).casefold()
    if dbt_source is not None:
        names = {source.identifier.casefold(), source.name.casefold()}
        return source.source_name == dbt_source and not names.isdisjoint((name, identifier))
    return source.schema.casefold() == table.schema.casefold() and source.identifier.casefold() == identifier


def _pattern(name: str) -> str:
    """A name within a selector, where dots, blanks, commas … have a meaning: a ``?`` stands for any of them.

    See https://docs.getdbt.com/reference/node-selection/methods, "Unix-style wildcards".
    """
    return re.sub(r"[^\w-]", "?", name)
