"""Loads with the credentials of an Airflow connection into real servers, which ask for the password."""

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from airflow.sdk import Connection
from database_servers import PASSWORD, mariadb, postgres

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

pytestmark = pytest.mark.slow

CONTEXT: Any = {"ti": SimpleNamespace(dag_id="shop", task_id="load")}


@pytest.fixture(scope="module")
def postgres_port() -> Iterator[int]:
    """A PostgreSQL server."""
    with postgres() as port:
        yield port


@pytest.fixture(scope="module")
def mariadb_port() -> Iterator[int]:
    """A MariaDB server."""
    with mariadb() as port:
        yield port


@pytest.fixture
def connection(monkeypatch):
    """Make the Airflow connection `warehouse`, from JSON or from the URI that Airflow makes of it."""

    def make(conn_type: str, port: int, as_uri: bool = False, password: str = PASSWORD, **more: Any) -> None:
        fields = {
            "conn_type": conn_type,
            "host": "127.0.0.1",
            "port": port,
            "login": "loader",
            "password": password,
            "schema": "shop",
            **more,
        }
        text = json.dumps(fields)
        text = Connection.from_json(text, conn_id="warehouse").get_uri() if as_uri else text
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", text)

    return make


def load(source):
    """Run a task that merges into the dataset `raw`."""
    task = DltLoadOperator(
        task_id="load",
        source=source,
        destination_conn_id="warehouse",
        pipeline_name="shop",
        dataset_name="raw",
        table_name="orders",
        write_disposition="merge",
        primary_key="id",
    )
    return task.execute(CONTEXT)


def rows_in_postgres(port: int) -> list[tuple[Any, ...]]:
    """What was loaded."""
    import psycopg2

    opened = psycopg2.connect(host="127.0.0.1", port=port, user="loader", password=PASSWORD, dbname="shop")
    try:
        with opened.cursor() as cursor:
            cursor.execute("select id, what from raw.orders order by id")
            return cursor.fetchall()
    finally:
        opened.close()


@pytest.mark.parametrize("as_uri", [False, True], ids=["JSON", "URI"])
def test_postgres(connection, postgres_port, as_uri):
    """Rows arrive, and a second load merges into them; an extra reaches the driver."""
    connection("postgres", postgres_port, as_uri, extra={"sslmode": "disable", "application_name": "loads"})
    load(lambda: [{"id": 1, "what": "tea"}, {"id": 2, "what": "jam"}])
    summary = load(lambda: [{"id": 2, "what": "ham"}])
    assert (summary["destination_type"], summary["first_run"]) == ("postgres", False)
    assert rows_in_postgres(postgres_port) == [(1, "tea"), (2, "ham")]


def test_a_load_into_postgres_leaves_its_credentials_nowhere(connection, postgres_port, tmp_path):
    """While rows are extracted and dlt knows the password, no file and no environment variable has it."""
    connection("postgres", postgres_port)
    found = []

    def watched():
        yield {"id": 3, "what": "egg"}
        texts = [value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")]
        files = [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
        texts += [path.read_text(encoding="utf-8", errors="ignore") for path in files]
        found.extend(text for text in texts if PASSWORD.strip() in text or "w%2Fo" in text)

    load(watched)
    assert found == []


def test_what_a_load_into_postgres_tells_holds_no_password(connection, postgres_port, capsys):
    """The tables' URI is made of host, port and database; the log has dlt's own summary."""
    connection("postgres", postgres_port)
    summary = load(lambda: [{"id": 1, "what": "tea"}])
    assert summary["table_uri"] == f"postgres://127.0.0.1:{postgres_port}/shop/raw/{{table}}"
    told = json.dumps(summary) + capsys.readouterr().out
    assert "load package(s) were loaded" in told
    assert not [form for form in (PASSWORD.strip(), quote(PASSWORD), quote_plus(PASSWORD)) if form in told]


def test_a_wrong_password_is_not_told(connection, postgres_port):
    """The driver's own message is the cause that is told, without what was tried."""
    connection("postgres", postgres_port, password="wr0ng-word")
    with pytest.raises(LoadError, match="password authentication failed") as caught:
        load(lambda: [{"id": 1}])
    assert "wr0ng-word" not in str(caught.value)


@pytest.mark.parametrize("as_uri", [False, True], ids=["JSON", "URI"])
def test_mariadb(connection, mariadb_port, as_uri):
    """By dlt's sqlalchemy destination, whose datasets are databases of the server."""
    import pymysql

    connection("mysql", mariadb_port, as_uri, extra={"charset": "utf8mb4"})
    load(lambda: [{"id": 1, "what": "tea"}, {"id": 2, "what": "jäm"}])
    summary = load(lambda: [{"id": 2, "what": "hâm"}])
    assert (summary["destination_type"], summary["first_run"]) == ("sqlalchemy", False)
    assert summary["table_uri"] == f"mysql://127.0.0.1:{mariadb_port}/raw/{{table}}"
    opened = pymysql.connect(
        host="127.0.0.1", port=mariadb_port, user="loader", password=PASSWORD, database="raw"
    )
    with opened, opened.cursor() as cursor:
        cursor.execute("select id, what from orders order by id")
        assert cursor.fetchall() == ((1, "tea"), (2, "hâm"))
