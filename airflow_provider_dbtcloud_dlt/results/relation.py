"""A relation's name taken apart."""

from __future__ import annotations

import re

_PART = re.compile(r'"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\]|([^.]+)')


def relation_parts(relation: str) -> tuple[str | None, str | None, str | None]:
    """Database, schema and table of a relation as SQL names it, such as ``"shop"."main"."orders"``."""
    names = [
        "".join(match.groups("")).replace('""', '"').replace("``", "`") for match in _PART.finditer(relation)
    ]
    database, schema, table = ([None, None, None, *names])[-3:]
    return database, schema, table
