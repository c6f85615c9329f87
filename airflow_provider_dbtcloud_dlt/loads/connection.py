"""An Airflow connection, as plain fields: loads know nothing of Airflow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError


@dataclass(frozen=True)
class ConnectionFields:
    """The fields of an Airflow connection, as Airflow stores them; only its id and type are ever shown."""

    conn_id: str
    conn_type: str | None = None
    host: str | None = field(default=None, repr=False)
    login: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    schema: str | None = field(default=None, repr=False)
    port: int | None = field(default=None, repr=False)
    extra: str | None = field(default=None, repr=False)
    """JSON."""
    argument: str = "destination_conn_id"
    """The task's argument that names the connection."""

    def __str__(self) -> str:
        return f"Airflow connection {self.conn_id!r} ({self.argument}, of type {self.conn_type!r})"

    def error(self, problem: str) -> LoadError:
        """Make an error that names the connection. No value of a field belongs into it: it may be secret."""
        return LoadError(f"{self}: {problem}")

    @cached_property
    def extras(self) -> dict[str, Any]:
        """The extra's content, without what a form stored as an empty string.

        Raises:
            LoadError: It is no JSON object.
        """
        content = self._json("the extra", self.extra) if self.extra and self.extra.strip() else {}
        # Keys of forms had a prefix once, and connections of that time are still around.
        prefix = f"extra__{self.conn_type}__"
        filled = {key: value for key, value in content.items() if value not in (None, "")}
        old = {key[len(prefix) :]: value for key, value in filled.items() if key.startswith(prefix)}
        return old | {key: value for key, value in filled.items() if not key.startswith(prefix)}

    def get(self, where: str) -> Any:
        """Read the first field that is filled of ``"password | extra.token"``; None if none is.

        Raises:
            LoadError: A field that should hold an object does not.
        """
        for name in where.split(" | "):
            field_name, *keys = name.split(".")
            value = self.extras if field_name == "extra" else getattr(self, field_name)
            for number, key in enumerate(keys):
                within = f"extra {'.'.join(keys[:number])!r}"
                value = self._json(within, value).get(key) if value else None
            if value not in (None, ""):
                return value
        return None

    def says(self, where: str) -> bool:
        """Whether a field says yes: true, or in a URI the word."""
        return str(self.get(where)).strip().lower() in ("true", "1", "yes")

    def _json(self, name: str, value: Any) -> dict[str, Any]:
        try:
            content = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise self.error(f"{name} is no valid JSON.") from None
        if not isinstance(content, dict):
            raise self.error(f"{name} must be a JSON object.")
        return content
