"""Where tables are, by what dlt makes of an Airflow connection; nothing is opened."""

import json
from typing import Any

import dlt
import duckdb
import pytest

from airflow_provider_dbtcloud_dlt.loads.address import Address, address
from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.credentials import connected
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets

SECRET = "s3cr3t of the warehouse"
SERVER = {"host": "db.example.com", "login": "loader", "password": SECRET, "schema": "shop"}
KEY = {
    "type": "service_account",
    "project_id": "shop-prod",
    "private_key_id": "17",
    "private_key": SECRET,
    "client_email": "loader@shop-prod.iam.gserviceaccount.com",
}


def found(destination: Any) -> Address:
    """What the destination's resolved configuration says."""
    initial = destination.spec()
    if hasattr(initial, "_bind_dataset_name"):
        initial._bind_dataset_name("raw")
    return address(destination.configuration(initial), "raw")


def by_connection(destination: Any = None, **given: Any) -> Address:
    """The same, with the credentials of a connection."""
    extra = json.dumps(given.pop("extra", {}))
    return found(connected(destination, ConnectionFields("warehouse", extra=extra, **given), Secrets()))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"conn_type": "postgres", **SERVER},
            Address("shop", "postgres://db.example.com:5432/shop/raw/{table}"),
        ),
        (
            {"conn_type": "postgres", **SERVER, "port": 6543},
            Address("shop", "postgres://db.example.com:6543/shop/raw/{table}"),
        ),
        (
            {"conn_type": "redshift", **SERVER},
            Address("shop", "redshift://db.example.com:5439/shop/raw/{table}"),
        ),
        (
            {"conn_type": "snowflake", **SERVER, "extra": {"account": "ab1", "database": "shop"}},
            Address("shop", "snowflake://ab1/shop/raw/{table}"),
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": KEY}},
            Address("shop-prod", "bigquery://shop-prod/raw/{table}"),
        ),
        (
            {
                "conn_type": "databricks",
                "host": "https://dbc-1.cloud.databricks.com",
                "password": SECRET,
                "extra": {"http_path": "/sql/1", "catalog": "main"},
            },
            Address("main", "databricks://dbc-1.cloud.databricks.com/main/raw/{table}"),
        ),
        (
            {"conn_type": "mssql", **SERVER, "extra": {"driver": "ODBC Driver 18 for SQL Server"}},
            Address("shop", "mssql://db.example.com:1433/shop/raw/{table}"),
        ),
        ({"conn_type": "mysql", **SERVER}, Address("shop", "mysql://db.example.com:3306/raw/{table}")),
        (
            {"conn_type": "clickhouse", **SERVER},
            Address("shop", "clickhouse://db.example.com:9000/shop/raw___{table}"),
        ),
        (
            {
                "conn_type": "athena",
                "login": "AKIA1",
                "password": SECRET,
                "extra": {"region_name": "eu-west-1", "s3_staging_dir": "s3://lake/results"},
            },
            Address(
                "awsdatacatalog", "awsathena://athena.eu-west-1.amazonaws.com/awsdatacatalog/raw/{table}"
            ),
        ),
        (
            {"conn_type": "motherduck", "schema": "shop", "password": SECRET},
            Address("shop", "motherduck://shop/raw/{table}"),
        ),
        (
            {"conn_type": "duckdb", "host": "/data/shop.duckdb"},
            Address("shop", "duckdb:///data/shop.duckdb/raw/{table}"),
        ),
        (
            {"conn_type": "sqlite", "host": "/data/shop.db"},
            Address("shop", "sqlite:///data/shop.db/raw/{table}"),
        ),
    ],
    ids=lambda value: value.get("conn_type") if isinstance(value, dict) else "",
)
def test_a_database(given, expected):
    """Tables are called as Airflow's providers and OpenLineage call them; no secret is in it."""
    assert by_connection(**given) == expected


@pytest.mark.parametrize(
    ("bucket", "table_uri"),
    [
        ("s3://lake/landing/", "s3://lake/landing/raw/{table}"),
        ("gs://lake", "gs://lake/raw/{table}"),
        (
            "abfss://files@lake.dfs.core.windows.net/shop",
            "abfss://files@lake.dfs.core.windows.net/shop/raw/{table}",
        ),
        ("file:///data/lake", "file:///data/lake/raw/{table}"),
        ("sftp://me:pa55word@host/lake", "sftp://me@host/lake/raw/{table}"),
    ],
)
def test_a_bucket(bucket, table_uri):
    """By its address; a password stays out."""
    config = dlt.destinations.filesystem(bucket).spec(bucket_url=bucket)
    assert address(config, "raw") == Address(None, table_uri)


def test_a_database_without_a_host_is_not_told_apart_from_others():
    """By a socket, the server has no name that others know: then there is no URI."""
    made = by_connection(
        conn_type="mysql", login="me", password=SECRET, extra={"unix_socket": "/run/my.sock"}
    )
    assert made.table_uri is None


def test_a_database_in_memory_has_no_address():
    """Nobody else can find its tables."""
    with duckdb.connect(":memory:") as connection:
        assert found(dlt.destinations.duckdb(connection)) == Address()


def test_a_destination_of_ones_own_has_no_address():
    """What it does with the rows is its own affair."""
    assert found(dlt.destination(lambda items, table: None, name="sink")()) == Address()
