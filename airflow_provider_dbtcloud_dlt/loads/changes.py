"""How a load has changed the destination's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlt.common.schema import Schema
from dlt.common.storages.load_package import LoadPackageInfo


@dataclass(frozen=True)
class SchemaChanges:
    """What is new at the destination; dlt's own tables and columns are left out."""

    new_tables: list[str] = field(default_factory=list)
    new_columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """By table: the data types of the columns that a table has got which was there before."""
    changed_types: dict[str, dict[str, str]] = field(default_factory=dict)
    """By table: columns whose values came with another type, and the columns that hold such values.

    dlt never alters a column's type. It puts values that cannot be converted into a column beside it:
    https://dlthub.com/docs/general-usage/schema-evolution.
    """

    def lines(self) -> Iterator[str]:
        """Tell them."""
        if self.new_tables:
            yield f"New tables: {', '.join(self.new_tables)}"
        for table, columns in self.new_columns.items():
            yield f"New columns in {table}: {', '.join(f'{n} ({kind})' for n, kind in columns.items())}"

    def warnings(self) -> Iterator[str]:
        """Tell what is seldom meant."""
        for table, columns in self.changed_types.items():
            for name, variant in columns.items():
                yield f"{table}.{name}: there were values of another type, which are in the column {variant}"


def schema_changes(packages: list[LoadPackageInfo], schemas: Mapping[str, Schema]) -> SchemaChanges:
    """Read from load packages what they have changed.

    Args:
        packages: What was loaded.
        schemas: The pipeline's schemas after the load.
    """
    changes = SchemaChanges()
    for package in packages:
        schema = schemas[package.schema_name]
        prefix = schema._dlt_tables_prefix
        for table, update in (package.schema_update or {}).items():
            if table.startswith(prefix):
                continue
            added = update["columns"]
            # A table is new, or was dropped before, when each of its columns was added.
            if added.keys() >= schema.get_table_columns(table).keys():
                changes.new_tables.append(table)
                continue
            for name, column in added.items():
                if not name.startswith(prefix):
                    _add(changes, table, name, column)
    return changes


def _add(changes: SchemaChanges, table: str, name: str, column: Any) -> None:
    data_type = str(column["data_type"])
    if column.get("variant"):
        original = name.removesuffix(f"__v_{data_type}")
        changes.changed_types.setdefault(table, {})[original] = name
    else:
        changes.new_columns.setdefault(table, {})[name] = data_type
