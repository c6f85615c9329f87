"""Which database a run's relations are in, as far as dbt Cloud tells. Knows no OpenLineage.

See https://openlineage.io/docs/spec/naming for how OpenLineage calls databases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError, Run

PORTS = {"clickhouse": 8443, "postgres": 5432, "redshift": 5439, "sqlserver": 1433, "trino": 443}
"""What dbt's adapters use where nothing is said."""

NAMES = {"hostname": "host"}
"""What the API calls otherwise than dbt's profiles do."""


def connection_details(client: DBTCloudClientV2, run: Run) -> dict[str, Any]:
    """What dbt Cloud tells of the database that a run has worked in, named as in dbt's profiles.

    An environment has a connection of its own, or its project has one; a token may see neither.

    Returns:
        ``host``, ``port``, ``account`` and the like; empty if dbt Cloud does not tell.
    """
    for path in _paths(client, run):
        try:
            data = client.get_endpoint(path).get("data")
        except (DbtCloudError, AttributeError):
            continue
        connection = data.get("connection") if isinstance(data, Mapping) else None
        if isinstance(connection, Mapping) and (details := _flat(connection)):
            return details
    return {}


def _paths(client: DBTCloudClientV2, run: Run) -> Iterator[str]:
    if run.environment_id is not None:
        yield f"{client.accounts_url}/environments/{run.environment_id}/?include_related=%5Bconnection%5D"
    if run.project_id is not None:
        yield f"{client.accounts_url}/projects/{run.project_id}/?include_related=%5Bconnection%5D"


def _flat(connection: Mapping[str, Any]) -> dict[str, Any]:
    """The details of a connection, which lie elsewhere in each of the kinds that there are."""
    details = connection.get("details") or connection.get("config") or {}
    fields = (details.get("connection_details") or {}).get("fields") or {}
    values = {name: field.get("value") for name, field in fields.items() if isinstance(field, Mapping)}
    found = {**connection, **details, **values}
    plain = {NAMES.get(name, name): value for name, value in found.items() if isinstance(value, str | int)}
    return plain if plain.keys() & {"host", "account", "server", "path", "region_name", "project_id"} else {}


def general_namespace(adapter: str, details: Mapping[str, Any]) -> str | None:
    """How a database is called that OpenLineage has no rule for; None if its address is not known."""
    host = details.get("host") or details.get("server")
    if not host:
        return None
    port = details.get("port")
    return f"{adapter}://{host}:{port}" if port else f"{adapter}://{host}"


def own_namespace(client: DBTCloudClientV2, run: Run) -> str:
    """How the database is called where nothing is known of it: after the project that works in it."""
    return f"dbt://{client.host}/{client.account_id}/{run.project_id}"
