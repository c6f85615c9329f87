"""How a table is called as an asset: one URI for all tasks that write or read it. Knows no Airflow, no dlt.

Airflow's schemes: https://airflow.apache.org/docs/apache-airflow-providers/core-extensions/asset-schemes.html
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

PLACES = ("database", "schema", "table")
"""What a pattern may leave open."""

_PLACE = re.compile(r"\{([^{}]*)\}")


def check_pattern(pattern: str) -> None:
    """Refuse a pattern of which no table's URI can be made.

    Raises:
        ValueError: the sentence says what is wrong, after the name of the argument that the caller adds.
    """
    unknown = [name for name in _PLACE.findall(pattern) if name not in PLACES]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise ValueError(f"has {{{unknown[0]}}}, which is none of {known}.")
    if "{table}" not in pattern:
        raise ValueError("has no {table}: every table would be the same asset.")
    if urlsplit(pattern).password is not None:
        raise ValueError("holds a password, which everyone could read. Leave user and password out.")


def table_uri(pattern: str, *, database: str | None, schema: str | None, table: str) -> str:
    """Fill a pattern such as ``postgres://db.example.com:5432/{database}/{schema}/{table}``.

    Raises:
        ValueError: the pattern asks for what is not known.
    """
    values = {"database": database, "schema": schema, "table": table}

    def value(match: re.Match[str]) -> str:
        found = values[match[1]]
        if not found:
            raise ValueError(f"it is not known what {match[0]} is.")
        return quote(found, safe="")

    return _PLACE.sub(value, pattern)
