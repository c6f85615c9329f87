"""Which field of an Airflow connection becomes which of dlt's: one table, as in docs/destinations.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlt.common.configuration.specs import (
    AwsCredentials,
    AzureCredentials,
    AzureServicePrincipalCredentials,
    CredentialsConfiguration,
    GcpServiceAccountCredentials,
)

from airflow_provider_dbtcloud_dlt.loads import readings as read
from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields

Reading = str | tuple[str, Callable[[ConnectionFields], Any]]
"""Where a value comes from: fields of the connection, and how to read them where that is not plain."""


@dataclass(frozen=True)
class ConnectionMapping:
    """How connections of some types become credentials of one of dlt's destinations."""

    conn_types: tuple[str, ...]
    destination: str
    """dlt's destination type."""
    credentials: Mapping[str, Reading]
    """Of dlt's credentials: ``query.x`` is ``x`` within ``query``, ``query.*`` is every extra not named."""
    settings: Mapping[str, Reading] = field(default_factory=dict)
    """Of the destination itself."""
    by_default: Callable[[ConnectionFields], bool] = lambda connection: True
    """Whether a connection of these types means this destination, if the task does not say which."""
    specs: tuple[type[CredentialsConfiguration], ...] = ()
    """The classes of credentials, where the destination takes several: the first that has all fields."""
    protocols: tuple[str, ...] = ()
    """Of a file system: how its addresses begin."""
    needed: tuple[tuple[str, ...], ...] = ()
    """Of each group one is needed, although dlt would go on without it, and find something else."""
    together: tuple[str, ...] = ()
    """Fields that make sense only all together: dlt takes the worker's own identity if one is missing."""
    refused: tuple[str, ...] = ()
    """Extras that ask for a way to log in, or to secure the connection, that dlt does not have."""


_SERVER: dict[str, Reading] = {
    "host": "host",
    "port": "port",
    "username": "login",
    "password": "password",
    "database": "schema",
}
_POSTGRES: dict[str, Reading] = {
    **_SERVER,
    "connect_timeout": "extra.connect_timeout",
    "client_encoding": "extra.client_encoding",
}
_AWS: dict[str, Reading] = {
    "aws_access_key_id": "login | extra.aws_access_key_id",
    "aws_secret_access_key": "password | extra.aws_secret_access_key",
    "aws_session_token": "extra.aws_session_token",
    "region_name": "extra.region_name",
    "profile_name": "extra.profile_name",
}
_AWS_PAIR = ("aws_access_key_id", "aws_secret_access_key")
_AWS_REFUSED = ("role_arn", "assume_role_method", "s3_config_file")
_GOOGLE_TYPES = ("google_cloud_platform", "gcpbigquery")
_GOOGLE: dict[str, Reading] = {
    "project_id": ("extra.project, extra.keyfile_dict, extra.key_path", read.google_project),
    **{
        name: ("extra.keyfile_dict, extra.key_path", read.google_key(name))
        for name in ("client_email", "private_key", "private_key_id")
    },
}
_GOOGLE_PAIR = ("client_email", "private_key")
_GOOGLE_REFUSED = ("key_secret_name", "credential_config_file", "impersonation_chain", "is_anonymous")

MAPPINGS = (
    ConnectionMapping(
        ("redshift", "postgres"),
        "redshift",
        {
            **_POSTGRES,
            "database": "schema | extra.database",
            "query.sslmode": ("extra.sslmode, extra.ssl", read.redshift_sslmode),
            **{f"query.{word}": f"extra.{word}" for word in ("sslrootcert", "sslcert", "sslkey")},
        },
        by_default=lambda connection: connection.conn_type == "redshift" or connection.says("extra.redshift"),
        refused=("iam", "credentials_provider"),
    ),
    ConnectionMapping(
        ("postgres",),
        "postgres",
        {**_POSTGRES, "query.*": ("every other extra", read.libpq_options)},
        refused=("iam", "azure_conn_id"),
    ),
    ConnectionMapping(
        ("snowflake",),
        "snowflake",
        {
            "host": ("extra.account, extra.region", read.snowflake_account),
            "database": "extra.database",
            "username": "login",
            "password": ("password", read.snowflake_password),
            "private_key": "extra.private_key_content",
            "private_key_path": "extra.private_key_file",
            "private_key_passphrase": ("password, with a private key", read.snowflake_passphrase),
            "warehouse": "extra.warehouse",
            "role": "extra.role",
            "authenticator": "extra.authenticator",
            "token": ("extra.token, password as a programmatic_access_token", read.snowflake_token),
            "workload_identity_provider": "extra.workload_identity_provider",
        },
        refused=("refresh_token", "azure_conn_id", "token_endpoint", "token_file_path"),
    ),
    ConnectionMapping(
        _GOOGLE_TYPES,
        "bigquery",
        _GOOGLE,
        settings={"location": "extra.location"},
        specs=(GcpServiceAccountCredentials,),
        together=_GOOGLE_PAIR,
        refused=_GOOGLE_REFUSED,
    ),
    ConnectionMapping(
        ("databricks",),
        "databricks",
        {
            "server_hostname": ("host", read.bare_host),
            "http_path": "extra.http_path",
            "catalog": "extra.catalog",
            "access_token": ("password, extra.token", read.databricks_token),
            "client_id": ("login, with service_principal_oauth", read.databricks_principal("login")),
            "client_secret": (
                "password, with service_principal_oauth",
                read.databricks_principal("password"),
            ),
            "session_configuration": "extra.session_configuration",
            "http_headers": "extra.http_headers",
        },
        needed=(("server_hostname",), ("http_path",), ("access_token", "client_id")),
        together=("client_id", "client_secret"),
        refused=(
            "azure_tenant_id",
            "use_azure_managed_identity",
            "use_default_azure_credential",
            "federated_k8s",
        ),
    ),
    ConnectionMapping(
        ("mssql", "odbc"),
        "mssql",
        {
            **_SERVER,
            "driver": ("extra.driver", read.odbc_driver),
            "connect_timeout": "extra.connect_timeout | extra.login_timeout",
            **{
                f"query.{word}": (f"extra.{word}", read.odbc_word(word))
                for word in ("Encrypt", "TrustServerCertificate", "MultiSubnetFailover", "Authentication")
            },
        },
    ),
    ConnectionMapping(
        ("mysql",),
        "sqlalchemy",
        {
            **_SERVER,
            "drivername": ("the driver that is installed", read.mysql_driver),
            "query.charset": "extra.charset",
            "query.unix_socket": "extra.unix_socket",
            **{
                f"query.ssl_{part}": f"extra.ssl.{part}" for part in ("ca", "cert", "key", "capath", "cipher")
            },
        },
        needed=(("host", "query.unix_socket"),),
        refused=("iam", "ssl_mode"),
    ),
    ConnectionMapping(
        ("sqlite",),
        "sqlalchemy",
        {"drivername": ("sqlite", lambda connection: "sqlite"), "database": ("host, schema", read.file_path)},
    ),
    ConnectionMapping(
        ("motherduck", "duckdb"),
        "motherduck",
        {
            "database": ("schema, host after md:", read.motherduck_database),
            "password": "password | extra.token | extra.motherduck_token",
        },
        by_default=read.is_motherduck,
    ),
    ConnectionMapping(("duckdb",), "duckdb", {"database": ("host, schema", read.file_path)}),
    ConnectionMapping(
        ("clickhouse",),
        "clickhouse",
        {
            **_SERVER,
            "http_port": ("port, extra.http_port", read.clickhouse_port("http")),
            "port": ("port, extra.native_port", read.clickhouse_port("native")),
            "secure": ("extra.secure", lambda connection: int(connection.says("extra.secure"))),
            "connect_timeout": "extra.connect_timeout",
            "send_receive_timeout": "extra.send_receive_timeout",
        },
        refused=("ca_certs", "certfile", "keyfile"),
    ),
    ConnectionMapping(
        ("aws",),
        "filesystem",
        {**_AWS, "endpoint_url": "extra.service_config.s3.endpoint_url | extra.endpoint_url"},
        settings={"bucket_url": ("extra.bucket_url, extra.service_config.s3.bucket_name", read.s3_bucket)},
        specs=(AwsCredentials,),
        protocols=("s3",),
        together=_AWS_PAIR,
        refused=_AWS_REFUSED,
    ),
    ConnectionMapping(
        ("athena", "aws"),
        "athena",
        {**_AWS, "endpoint_url": "extra.service_config.athena.endpoint_url | extra.endpoint_url"},
        settings={
            "query_result_bucket": "extra.s3_staging_dir",
            "athena_work_group": "extra.work_group",
            "aws_data_catalog": "extra.catalog_name",
        },
        together=_AWS_PAIR,
        refused=_AWS_REFUSED,
    ),
    ConnectionMapping(
        _GOOGLE_TYPES,
        "filesystem",
        _GOOGLE,
        settings={"bucket_url": "extra.bucket_url"},
        specs=(GcpServiceAccountCredentials,),
        protocols=("gs", "gcs"),
        together=_GOOGLE_PAIR,
        refused=_GOOGLE_REFUSED,
    ),
    ConnectionMapping(
        ("wasb", "adls"),
        "filesystem",
        {
            "azure_storage_account_name": ("host, login, extra.connection_string", read.azure_account),
            "azure_storage_account_key": (
                "extra.account_key, extra.shared_access_key, password, extra.connection_string",
                read.azure_key,
            ),
            "azure_storage_sas_token": ("extra.sas_token, extra.connection_string", read.azure_sas),
            "azure_account_host": "extra.account_host",
            "azure_tenant_id": "extra.tenant_id",
            "azure_client_id": ("login, with tenant_id", read.azure_principal("login")),
            "azure_client_secret": ("password, with tenant_id", read.azure_principal("password")),
        },
        settings={"bucket_url": "extra.bucket_url"},
        specs=(AzureCredentials, AzureServicePrincipalCredentials),
        protocols=("az", "abfs", "abfss", "adl", "azure"),
        together=("azure_tenant_id", "azure_client_id", "azure_client_secret"),
        refused=("managed_identity_client_id", "workload_identity_tenant_id"),
    ),
    ConnectionMapping(
        ("fs",),
        "filesystem",
        {},
        settings={"bucket_url": "extra.bucket_url | extra.path"},
        protocols=("file",),
    ),
)


def value_of(reading: Reading, connection: ConnectionFields) -> Any:
    """Read a value; None if the connection has none."""
    value = connection.get(reading) if isinstance(reading, str) else reading[1](connection)
    return None if value == "" else value


def where(reading: Reading) -> str:
    """Where a value comes from, in words."""
    return reading.replace(" | ", ", ") if isinstance(reading, str) else reading[0]
