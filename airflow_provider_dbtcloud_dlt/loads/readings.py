"""Fields of Airflow connections that are not read as they stand: one function for each."""

from __future__ import annotations

import importlib.util
import json
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields

# Extras that Airflow's PostgresHook keeps for itself; it hands all others to libpq, as is done here.
_NOT_FOR_LIBPQ = {
    "aws_conn_id",
    "client_log_level",
    "cluster-identifier",
    "cursor",
    "enable_log_db_messages",
    "iam",
    "redshift",
    "redshift-serverless",
    "sqlalchemy_query",
    "sqlalchemy_scheme",
    "workgroup-name",
}
_MYSQL_DRIVERS = {
    "pymysql": "mysql+pymysql",
    "MySQLdb": "mysql+mysqldb",
    "mysql.connector": "mysql+mysqlconnector",
}
_CLICKHOUSE_PORTS = {"native": (9000, 9440), "http": (8123, 8443)}
"""The customary ports, without and with TLS."""


def bare_host(connection: ConnectionFields) -> str | None:
    """The host of what may be a whole address, as copied from a browser."""
    host = (connection.host or "").strip()
    return urlsplit(host if "://" in host else f"//{host}").hostname


def libpq_options(connection: ConnectionFields) -> dict[str, Any]:
    """What a connection to PostgreSQL has beside the usual fields: ``sslmode``, ``sslrootcert``, …"""
    fields = _NOT_FOR_LIBPQ | {"connect_timeout", "client_encoding"}
    return {key: value for key, value in connection.extras.items() if key not in fields}


def snowflake_account(connection: ConnectionFields) -> str | None:
    """The account's identifier, with the region of an old one."""
    account, region = connection.get("extra.account"), connection.get("extra.region")
    return f"{account}.{region}" if account and region and "." not in account else account


def _has_private_key(connection: ConnectionFields) -> bool:
    return bool(connection.get("extra.private_key_content | extra.private_key_file"))


def snowflake_password(connection: ConnectionFields) -> str | None:
    """The password, unless it is a private key's."""
    return None if _has_private_key(connection) else connection.password


def snowflake_passphrase(connection: ConnectionFields) -> str | None:
    """The password, if it is a private key's."""
    return connection.password if _has_private_key(connection) else None


def snowflake_token(connection: ConnectionFields) -> Any:
    """A token; Airflow keeps a programmatic access token in the password."""
    personal = str(connection.get("extra.authenticator")).lower() == "programmatic_access_token"
    return connection.get("extra.token | password" if personal else "extra.token")


def _google_keyfile(connection: ConnectionFields) -> dict[str, Any]:
    """The key of a service account, from the connection or from the file that it names."""
    if path := connection.get("extra.key_path"):
        try:
            content = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise connection.error(f"the file of extra 'key_path' cannot be read: {error}.") from None
    else:
        content = connection.get("extra.keyfile_dict")
    if not content:
        return {}
    try:
        key = json.loads(content) if isinstance(content, str) else content
    except ValueError:
        key = None
    if not isinstance(key, dict) or key.get("type", "service_account") != "service_account":
        raise connection.error(
            "the key is not that of a service account. Put the JSON that Google Cloud gave out for it into "
            "extra 'keyfile_dict', or its path into 'key_path'."
        )
    return key


def google_key(name: str) -> Callable[[ConnectionFields], Any]:
    """A field of the service account's key."""
    return lambda connection: _google_keyfile(connection).get(name)


def google_project(connection: ConnectionFields) -> Any:
    """The connection's project, else that of the service account."""
    return connection.get("extra.project") or _google_keyfile(connection).get("project_id")


def databricks_token(connection: ConnectionFields) -> Any:
    """The personal access token."""
    if connection.says("extra.service_principal_oauth"):
        return None
    return connection.get("password | extra.token")


def databricks_principal(name: str) -> Callable[[ConnectionFields], Any]:
    """Id or secret of a service principal, if the connection says that it is one."""
    return lambda connection: (
        connection.get(name) if connection.says("extra.service_principal_oauth") else None
    )


def odbc_driver(connection: ConnectionFields) -> str | None:
    """The driver's name, which Airflow takes with and without the braces of ODBC."""
    driver = connection.get("extra.driver")
    return str(driver).strip("{}") if driver else None


def odbc_word(word: str) -> Callable[[ConnectionFields], Any]:
    """A word of ODBC's, for which upper and lower case are the same."""
    return lambda connection: {key.lower(): value for key, value in connection.extras.items()}.get(
        word.lower()
    )


def redshift_sslmode(connection: ConnectionFields) -> Any:
    """As libpq calls it; Redshift's own driver has a switch beside it."""
    return connection.get("extra.sslmode") or ("require" if connection.says("extra.ssl") else None)


def mysql_driver(connection: ConnectionFields) -> str:
    """The driver that is installed, as SQLAlchemy calls it."""
    for module, driver in _MYSQL_DRIVERS.items():
        if importlib.util.find_spec(module.partition(".")[0]) and importlib.util.find_spec(module):
            return driver
    raise connection.error(
        "no driver for MySQL is installed on this worker: pip install 'dlt[sqlalchemy]' pymysql."
    )


def file_path(connection: ConnectionFields) -> str:
    """The path of a database that is a file: the host, or what a URI such as ``sqlite:////data/x.db`` has."""
    path = connection.host or connection.schema
    if path and path.startswith("md:"):
        raise connection.error("this is a MotherDuck database: the task needs destination='motherduck'.")
    if path == ":memory:":
        raise connection.error("a database in memory ends with the task. Put a file's path into the host.")
    if not path:
        raise connection.error("the host is empty: put the database file's path into it.")
    if not connection.host and not posixpath.isabs(path):
        raise connection.error(
            "the database file's path is relative. In a URI an absolute path needs four slashes, such as "
            f"{connection.conn_type}:////data/warehouse.db; else put the path into the host."
        )
    return path


def is_motherduck(connection: ConnectionFields) -> bool:
    """Whether a connection leads to MotherDuck rather than to a file."""
    token = connection.get("password | extra.token | extra.motherduck_token")
    named = (connection.host or "").startswith("md:")
    return connection.conn_type == "motherduck" or bool(token) or named


def motherduck_database(connection: ConnectionFields) -> str | None:
    """The database's name."""
    return connection.schema or (connection.host or "").removeprefix("md:").partition("?")[0] or None


def clickhouse_port(kind: str) -> Callable[[ConnectionFields], Any]:
    """One of the two ports that dlt needs.

    Airflow's provider talks HTTP, so that the connection's port is that one, unless it is customary for the
    native protocol. The other port is the customary one, or an extra.
    """

    def port(connection: ConnectionFields) -> Any:
        is_native = connection.port in _CLICKHOUSE_PORTS["native"]
        own = connection.port if is_native == (kind == "native") else None
        customary = _CLICKHOUSE_PORTS[kind][connection.says("extra.secure")]
        return connection.get(f"extra.{kind}_port") or own or customary

    return port


def s3_bucket(connection: ConnectionFields) -> str | None:
    """The bucket's address."""
    name = connection.get("extra.service_config.s3.bucket_name")
    return connection.get("extra.bucket_url") or (f"s3://{name}" if name else None)


def _azure_string(connection: ConnectionFields) -> dict[str, str]:
    """The parts of a storage account's connection string."""
    text = str(connection.get("extra.connection_string") or "")
    return dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)


def azure_account(connection: ConnectionFields) -> str | None:
    """The storage account's name, which is the first part of its address."""
    login = None if connection.get("extra.tenant_id") else connection.login
    name = (bare_host(connection) or "").partition(".")[0] or login
    return _azure_string(connection).get("AccountName") or name


def azure_key(connection: ConnectionFields) -> Any:
    """The account's key, if it is no service principal's secret that is in the password."""
    key = connection.get("extra.account_key | extra.shared_access_key")
    password = None if connection.get("extra.tenant_id | extra.sas_token") else connection.password
    return _azure_string(connection).get("AccountKey") or key or password


def azure_sas(connection: ConnectionFields) -> str | None:
    """The token of a shared access signature, also from the whole address that Azure's portal shows."""
    token = connection.get("extra.sas_token")
    return _azure_string(connection).get("SharedAccessSignature") or (
        str(token).rpartition("?")[2] if token else None
    )


def azure_principal(name: str) -> Callable[[ConnectionFields], Any]:
    """Id or secret of a service principal, if the connection has its tenant."""
    return lambda connection: connection.get(name) if connection.get("extra.tenant_id") else None
