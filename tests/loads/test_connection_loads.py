"""Loads with the credentials of an Airflow connection: those into files, for which no server is needed."""

import json
import os
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import duckdb
import pytest
from airflow.sdk import DAG

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

CONTEXT: Any = {"ti": SimpleNamespace(dag_id="shop", task_id="load")}


def orders():
    """A source function as users write it."""
    return [{"id": 1}, {"id": 2}]


def load(source=orders, **arguments):
    """Run a task that loads into the dataset `raw`."""
    return DltLoadOperator(task_id="load", source=source, dataset_name="raw", **arguments).execute(CONTEXT)


@pytest.fixture
def connection(monkeypatch):
    """Make an Airflow connection `warehouse`, or one of another name, from a URI or from fields."""

    def make(uri: str = "", name: str = "warehouse", **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", uri or json.dumps(fields))

    return make


def duckdb_rows(path: Path) -> list[tuple[Any, ...]]:
    """What was loaded into a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as opened:
        return opened.sql("select id from raw.orders order by id").fetchall()


def test_duckdb(connection, tmp_path):
    """The destination follows from the connection's type."""
    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"))
    assert load(destination_conn_id="warehouse")["destination_type"] == "duckdb"
    assert duckdb_rows(tmp_path / "shop.duckdb") == [(1,), (2,)]


@pytest.mark.parametrize("slashes", ["host", "path"])
def test_a_connection_as_a_uri(connection, tmp_path, slashes):
    """Airflow's own form, with the path as the host, and SQLAlchemy's with four slashes."""
    path = str(tmp_path / "shop.duckdb")
    connection(f"duckdb://{quote(path, safe='')}" if slashes == "host" else f"duckdb:///{path}")
    load(destination_conn_id="warehouse")
    assert duckdb_rows(tmp_path / "shop.duckdb") == [(1,), (2,)]


def test_sqlite(connection, tmp_path):
    """By dlt's sqlalchemy destination, which keeps a dataset in a file of its own beside the database."""
    connection(conn_type="sqlite", host=str(tmp_path / "shop.db"))
    assert load(destination_conn_id="warehouse")["rows"] == {"orders": 2}
    (dataset,) = tmp_path.glob("shop__raw.db")
    with sqlite3.connect(dataset) as opened:
        assert opened.execute("select id from orders order by id").fetchall() == [(1,), (2,)]


def test_a_folder(connection, tmp_path):
    """Airflow's connections of type `fs` name a folder."""
    connection(conn_type="fs", extra={"path": str(tmp_path / "lake")})
    load(destination_conn_id="warehouse", loader_file_format="jsonl")
    assert list((tmp_path / "lake" / "raw" / "orders").glob("*.jsonl*"))


def test_staging_by_a_connection(connection, tmp_path):
    """Files are staged by one connection and loaded by another, where the destination can do that."""
    connection(conn_type="fs", extra={"path": str(tmp_path / "lake")}, name="lake")
    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"))
    with pytest.raises(LoadError, match="`destination=duckdb` does not support loading via staging"):
        load(destination_conn_id="warehouse", staging_conn_id="lake")


def test_a_database_as_staging(connection, tmp_path):
    """Only what has files can stage them."""
    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"))
    with pytest.raises(LoadError, match=r"staging_conn_id.*no bucket to stage files in. Types that do: adls"):
        load(destination_conn_id="warehouse", staging_conn_id="warehouse")


def test_a_folder_that_the_task_names(connection, tmp_path):
    """An address as the destination says which bucket, or which folder, the connection is for."""
    connection(conn_type="fs")
    load(
        destination_conn_id="warehouse", destination=(tmp_path / "lake").as_uri(), loader_file_format="jsonl"
    )
    assert list((tmp_path / "lake" / "raw" / "orders").glob("*.jsonl*"))


def test_the_decorator_takes_a_connection(connection, tmp_path):
    """`@task.dlt_load` has the operator's arguments."""
    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"))
    with DAG("shop", schedule=None):
        decorated = dlt_load_task(orders, dataset_name="raw", destination_conn_id="warehouse")()
    decorated.operator.execute(CONTEXT)
    assert duckdb_rows(tmp_path / "shop.duckdb") == [(1,), (2,)]


def test_the_connections_id_is_templated(connection, tmp_path):
    """One DAG may load into the warehouse of each customer."""
    connection(conn_type="duckdb", host=str(tmp_path / "nz.duckdb"), name="warehouse_nz")
    with DAG("shop", schedule=None):
        task = DltLoadOperator(
            task_id="load",
            source=orders,
            dataset_name="raw",
            destination_conn_id="warehouse_{{ params.country }}",
        )
    context = {**CONTEXT, "params": {"country": "nz"}}
    task.render_template_fields(context)
    task.execute(context)
    assert duckdb_rows(tmp_path / "nz.duckdb") == [(1,), (2,)]


def test_a_load_leaves_nothing_but_the_data(connection, tmp_path):
    """No file and no environment variable has the credentials, neither during the load nor after it."""
    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"))
    before = dict(os.environ)
    seen = []

    def watched():
        seen.append(dict(os.environ) == before)
        files = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
        seen.append(not any(b"shop.duckdb" in path.read_bytes() for path in files))
        return [{"id": 1}]

    load(watched, destination_conn_id="warehouse")
    assert seen == [True, True]
    assert dict(os.environ) == before
    assert {path.name for path in tmp_path.iterdir()} == {"shop.duckdb", "tmp"}


def test_a_connection_that_does_not_exist():
    """The sentence names the id and the argument."""
    with pytest.raises(
        ValueError, match=r"no Airflow connection 'warehuose' \(destination_conn_id\): create"
    ):
        load(destination_conn_id="warehuose")


@pytest.mark.parametrize("argument", ["destination_conn_id", "staging_conn_id"])
@pytest.mark.parametrize("value", ["", " ", "None", 7])
def test_an_empty_id_is_refused_when_the_dag_is_parsed(argument, value):
    """Nobody means no connection by an empty one: the load would go where dlt's configuration says."""
    with pytest.raises(ValueError, match=f"{argument}={value!r} (is empty|names no Airflow connection)"):
        DltLoadOperator(task_id="load", source=orders, **{argument: value})


def test_an_unmapped_type_fails_the_task(connection):
    """The sentence lists the types that are mapped."""
    connection("ftp://files.example.com")
    with pytest.raises(LoadError, match=r"of type 'ftp'\).*Types that do: adls, athena, aws"):
        load(destination_conn_id="warehouse")


def test_a_message_shows_no_secret(connection, tmp_path):
    """Whoever puts the password into a message, also as a URL has it, does not leak it."""

    def talkative():
        raise OSError("no luck with pa ss/w0rd or postgres://x:pa%20ss%2Fw0rd@y or pa+ss%2Fw0rd")

    connection(conn_type="duckdb", host=str(tmp_path / "shop.duckdb"), password="pa ss/w0rd")
    with pytest.raises(LoadError, match="no luck with") as caught:
        load(talkative, destination="duckdb", destination_conn_id="warehouse")
    assert "w0rd" not in str(caught.value)


def test_a_missing_driver_is_named_with_dlts_extra(connection, monkeypatch):
    """The sentence says which extra of dlt to install."""
    for name in [n for n in sys.modules if n.startswith(("psycopg2", "dlt.destinations.impl.postgres."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    connection(conn_type="postgres", host="db", login="loader", password="word", schema="shop")
    with pytest.raises(LoadError, match=r"lacks: pip install 'dlt\[postgres\]'\.$"):
        load(destination_conn_id="warehouse")
