"""Where a load's tables are, told without secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dlt.common.destination.client import DestinationClientConfiguration

# URIs of tables as Airflow's providers and OpenLineage write them, so that other tools' names agree:
# https://openlineage.io/docs/spec/naming/.
_SCHEMES = {"postgresql": "postgres", "mariadb": "mysql"}
_PORTS = {"postgres": 5432, "redshift": 5439, "mysql": 3306, "mssql": 1433}
_IN_MEMORY = (":memory:", ":external:")


@dataclass(frozen=True)
class Address:
    """Where tables are; None for what the destination's configuration does not say."""

    database: str | None = None
    table_uri: str | None = None
    """A table's URI, but for its name: ``postgres://db.example.com:5432/shop/raw/{table}``."""


def address(config: DestinationClientConfiguration, dataset_name: str) -> Address:
    """Read a destination's resolved configuration; its secrets are not looked at.

    Args:
        config: The configuration.
        dataset_name: The dataset as it is called at the destination.
    """
    reader = READERS.get(config.destination_type.rpartition(".")[2])
    return reader(config, dataset_name) if reader else Address()


def _made(
    scheme: str, netloc: str | None, path: Sequence[str | None], database: str | None = None
) -> Address:
    """An address, if all of it is known."""
    if not netloc or not all(path):
        return Address(database)
    parts = "/".join(quote(str(part), safe="") for part in path)
    return Address(database, f"{scheme}://{netloc}/{parts}/{{table}}")


def _netloc(scheme: str, credentials: Any) -> str | None:
    host, port = credentials.host, credentials.port or _PORTS.get(scheme)
    if not host:
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def _server(config: Any, dataset: str) -> Address:
    scheme, credentials = config.destination_type.rpartition(".")[2], config.credentials
    return _made(scheme, _netloc(scheme, credentials), [credentials.database, dataset], credentials.database)


def _sqlalchemy(config: Any, dataset: str) -> Address:
    credentials = config.credentials
    dialect = str(credentials.drivername).partition("+")[0]
    if dialect == "sqlite":
        return _file(config, dataset, scheme="sqlite")
    scheme = _SCHEMES.get(dialect, dialect)
    # A schema of MySQL is a database.
    path = [dataset] if scheme == "mysql" else [credentials.database, dataset]
    return _made(scheme, _netloc(scheme, credentials), path, credentials.database)


def _file(config: Any, dataset: str, scheme: str = "duckdb") -> Address:
    database = config.credentials.database
    if not isinstance(database, str) or not database or database in _IN_MEMORY:
        return Address()
    path = Path(database).absolute()
    return Address(path.stem, f"{scheme}://{quote(path.as_posix())}/{quote(dataset, safe='')}/{{table}}")


def _motherduck(config: Any, dataset: str) -> Address:
    database = config.credentials.database
    return _made("motherduck", database and quote(database, safe=""), [dataset], database)


def _snowflake(config: Any, dataset: str) -> Address:
    # What dlt calls the host is the account.
    credentials = config.credentials
    return _made("snowflake", credentials.host, [credentials.database, dataset], credentials.database)


def _bigquery(config: Any, dataset: str) -> Address:
    project = config.project_id or config.credentials.project_id
    return _made("bigquery", project, [dataset], project)


def _databricks(config: Any, dataset: str) -> Address:
    credentials = config.credentials
    return _made(
        "databricks", credentials.server_hostname, [credentials.catalog, dataset], credentials.catalog
    )


def _athena(config: Any, dataset: str) -> Address:
    region, catalog = config.credentials.region_name, config.aws_data_catalog
    return _made("awsathena", region and f"athena.{region}.amazonaws.com", [catalog, dataset], catalog)


def _clickhouse(config: Any, dataset: str) -> Address:
    # ClickHouse has no schemas: dlt puts the dataset's name before the table's.
    credentials = config.credentials
    netloc = _netloc("clickhouse", credentials)
    if not netloc or not credentials.database:
        return Address(credentials.database)
    table = f"{quote(dataset, safe='')}{config.dataset_table_separator}{{table}}"
    return Address(
        credentials.database, f"clickhouse://{netloc}/{quote(credentials.database, safe='')}/{table}"
    )


def _filesystem(config: Any, dataset: str) -> Address:
    url = str(config.bucket_url or "")
    if "://" not in url:
        url = Path(url).absolute().as_uri() if url else ""
    parts = urlsplit(url)
    if not parts.scheme:
        return Address()
    # In abfss://container@account… what stands where a user would is the container; a password is never kept.
    user, at, host = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + at + host
    folder = quote(parts.path.rstrip("/"), safe="/%=+,:@~")
    return Address(None, f"{parts.scheme}://{netloc}{folder}/{quote(dataset, safe='')}/{{table}}")


READERS: dict[str, Callable[[Any, str], Address]] = {
    "postgres": _server,
    "redshift": _server,
    "mssql": _server,
    "snowflake": _snowflake,
    "bigquery": _bigquery,
    "databricks": _databricks,
    "athena": _athena,
    "clickhouse": _clickhouse,
    "sqlalchemy": _sqlalchemy,
    "motherduck": _motherduck,
    "duckdb": _file,
    "filesystem": _filesystem,
}
"""By dlt's destination types; docs/assets.md has the same table."""
