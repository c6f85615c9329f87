"""Who may edit a dbt Cloud connection's extra, and nothing else, can't read files with it nor run code."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from airflow.sdk import Connection

from airflow_provider_dbtcloud_dlt.client import DbtCloudError
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.hooks import connection
from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS

SECRET = "what-stands-in-the-file"
HOSTILE = [
    "{path}",
    "file://{path}",
    "@{path}",
    "$(cat {path})",
    "`cat {path}`",
    "{{{{ open('{path}').read() }}}}",
    "__import__('os').system('id')",
    "!!python/object/apply:os.system ['id']",
    {"__type": "posix.system", "__var": "id"},
    ["{path}"],
]
EVENTS = ("open", "exec", "compile", "os.system", "os.exec", "subprocess.Popen", "pickle.find_class")

_seen: list[tuple[str, str]] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is not None and event in EVENTS:
        _seen.append((event, str(arguments[:1])))


sys.addaudithook(_note)  # it can't be taken away again, and notes nothing unless it is told to


@contextmanager
def noted() -> Iterator[list[tuple[str, str]]]:
    """Note which files are opened and what is executed meanwhile."""
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def made_of(extra: object) -> list[tuple[str, str]]:
    """Read a connection with that extra and make its client; return what was opened and executed for it."""
    one = Connection(conn_id="c", conn_type="dbt_cloud_dlt", login="7", password="t", extra=json.dumps(extra))
    try:
        connection.read(Connection(conn_id="c", conn_type="dbt_cloud_dlt", password="t")).client(7)  # imports
    except DbtCloudError:
        pass
    with noted() as seen:
        try:
            connection.read(one).client()
            told = ""
        except DbtCloudError as error:
            told = str(error)
    assert SECRET not in told
    return list(seen)


def test_the_notes_are_taken(tmp_path):
    """The tests below would notice."""
    (tmp_path / "file").write_text("1")
    with noted() as seen:
        exec((tmp_path / "file").read_text())
    assert {event for event, _ in seen} >= {"open", "compile", "exec"}


@pytest.mark.parametrize("key", [*CONNECTION_FIELDS, "__extra__", "nonsense"])
@pytest.mark.parametrize("value", HOSTILE, ids=str)
def test_no_field_opens_a_file_or_runs_anything(tmp_path, key, value):
    """Whatever it is set to: it is taken as it stands, or refused in a sentence."""
    file = tmp_path / "file"
    file.write_text(SECRET)
    text = json.dumps(value).replace("{path}", str(file)).replace("{{{{", "{{").replace("}}}}", "}}")
    assert made_of({key: json.loads(text)}) == []


@pytest.mark.parametrize("answers", [True, False], ids=["file", "no file"])
def test_a_bundle_that_holds_no_certificate_is_not_shown(tmp_path, answers):
    """The one path, `verify`, is read as certificates: an error tells that it is none, not what it is."""
    file = tmp_path / "file"
    if answers:
        file.write_text(SECRET)
    with emulator(tls=True) as emu:
        extra = json.dumps({"verify": str(file)})
        one = Connection(
            conn_id="c", conn_type="dbt_cloud_dlt", host=emu.host, login="7", password="t", extra=extra
        )
        with pytest.raises(DbtCloudError) as raised:
            connection.read(one).client(retry_budget=0).get_run(1)
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize("driver", ["/tmp/evil.so", "{/tmp/evil.so}", "ODBC Driver 18 for SQL Server;X=1"])
def test_a_destinations_connection_names_no_library(driver):
    """An ODBC driver is one of those that dlt knows by name, never a file that would be loaded."""
    from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
    from airflow_provider_dbtcloud_dlt.loads.credentials import connected
    from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
    from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets

    server = {"host": "db.example.com", "login": "loader", "password": "p", "schema": "shop"}
    extra = json.dumps({"driver": driver})
    fields = ConnectionFields(
        "warehouse", conn_type="mssql", extra=extra, argument="destination_conn_id", **server
    )
    with pytest.raises(LoadError, match="does not take it"):
        connected(None, fields, Secrets())
