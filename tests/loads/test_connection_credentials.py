"""What becomes of an Airflow connection, by what dlt's own classes make of it; nothing is opened."""

import json
import sys
from typing import Any

import dlt
import hypothesis
import pytest
from airflow.sdk import Connection
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.credentials import connected
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.loads.mappings import MAPPINGS
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets

SECRET = "s3cr3t of the warehouse"
SERVER = {"host": "db.example.com", "login": "loader", "password": SECRET, "schema": "shop", "port": 1234}
AS_DLT_SAYS = {
    "host": "db.example.com",
    "username": "loader",
    "password": SECRET,
    "database": "shop",
    "port": 1234,
}
KEY = {
    "type": "service_account",
    "project_id": "shop-prod",
    "private_key_id": "17",
    "private_key": f"{SECRET}\n",
    "client_email": "loader@shop-prod.iam.gserviceaccount.com",
}
GOOGLE = {name: KEY[name] for name in ("project_id", "private_key", "private_key_id", "client_email")}
AWS = {"login": "AKIA1", "password": SECRET}
AWS_KEYS = {"aws_access_key_id": "AKIA1", "aws_secret_access_key": SECRET, "region_name": "eu-west-1"}
DATABRICKS = {"http_path": "/sql/1.0/warehouses/1", "catalog": "main"}


def fields(extra: Any = None, argument: str = "destination_conn_id", **given: Any) -> ConnectionFields:
    """A connection as the operator hands it in."""
    extra = extra if extra is None or isinstance(extra, str) else json.dumps(extra)
    return ConnectionFields("warehouse", extra=extra, argument=argument, **given)


def make(connection: ConnectionFields, destination: Any = None) -> Any:
    """The destination with the connection's credentials."""
    return connected(destination, connection, Secrets())


def credentials(connection: ConnectionFields, destination: Any = None) -> Any:
    """The credentials as dlt uses them: those of the destination's resolved configuration."""
    made = make(connection, destination)
    initial = made.spec()
    if hasattr(initial, "_bind_dataset_name"):
        initial._bind_dataset_name("raw")
    return made.configuration(initial).credentials


@pytest.mark.parametrize(
    ("given", "destination", "kind", "expected"),
    [
        pytest.param(
            {"conn_type": "postgres", **SERVER, "extra": {"sslmode": "require", "connect_timeout": "3"}},
            None,
            "postgres",
            {**AS_DLT_SAYS, "query": {"sslmode": "require"}, "connect_timeout": 3},
            id="postgres",
        ),
        pytest.param({"conn_type": "redshift", **SERVER}, None, "redshift", AS_DLT_SAYS, id="redshift"),
        pytest.param(
            {"conn_type": "redshift", **SERVER, "extra": {"sslmode": "verify-full", "sslrootcert": "/ca"}},
            None,
            "redshift",
            {"query": {"sslmode": "verify-full", "sslrootcert": "/ca"}},
            id="redshift by TLS",
        ),
        pytest.param(
            {"conn_type": "redshift", **SERVER, "extra": {"ssl": True}},
            None,
            "redshift",
            {"query": {"sslmode": "require"}},
            id="redshift by its own driver's TLS",
        ),
        pytest.param(
            {"conn_type": "postgres", **SERVER, "extra": {"redshift": True}},
            None,
            "redshift",
            AS_DLT_SAYS,
            id="a Redshift of type postgres",
        ),
        pytest.param(
            {
                "conn_type": "snowflake",
                "login": "loader",
                "password": SECRET,
                "schema": "public",
                "extra": {
                    "account": "ab1",
                    "region": "eu",
                    "database": "shop",
                    "warehouse": "wh",
                    "role": "",
                },
            },
            None,
            "snowflake",
            {
                "host": "ab1.eu",
                "database": "shop",
                "username": "loader",
                "password": SECRET,
                "warehouse": "wh",
                "role": None,
            },
            id="snowflake",
        ),
        pytest.param(
            {
                "conn_type": "snowflake",
                "login": "loader",
                "password": SECRET,
                "extra": {"account": "ab1", "database": "shop", "private_key_content": "LS0tLS1C"},
            },
            None,
            "snowflake",
            {"private_key": "LS0tLS1C", "private_key_passphrase": SECRET, "password": None},
            id="snowflake by a private key",
        ),
        pytest.param(
            {
                "conn_type": "snowflake",
                "login": "loader",
                "password": SECRET,
                "extra": {
                    "account": "ab1",
                    "database": "shop",
                    "authenticator": "programmatic_access_token",
                },
            },
            None,
            "snowflake",
            {"token": SECRET, "authenticator": "programmatic_access_token"},
            id="snowflake by an access token",
        ),
        pytest.param(
            {
                "conn_type": "snowflake",
                "login": "loader",
                "password": SECRET,
                "extra": {"extra__snowflake__account": "ab1", "extra__snowflake__database": "shop"},
            },
            None,
            "snowflake",
            {"host": "ab1", "database": "shop"},
            id="keys of an old form",
        ),
        pytest.param(
            {
                "conn_type": "google_cloud_platform",
                "extra": {"keyfile_dict": json.dumps(KEY), "key_path": ""},
            },
            None,
            "bigquery",
            GOOGLE,
            id="bigquery",
        ),
        pytest.param(
            {"conn_type": "gcpbigquery", "extra": {"keyfile_dict": KEY, "project": "shop-test"}},
            None,
            "bigquery",
            {**GOOGLE, "project_id": "shop-test"},
            id="bigquery, another project",
        ),
        pytest.param(
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": KEY}},
            "gs://lake/raw",
            "filesystem",
            GOOGLE,
            id="GCS",
        ),
        pytest.param(
            {
                "conn_type": "databricks",
                "host": "https://adb-1.azuredatabricks.net/",
                "login": "token",
                "password": SECRET,
                "extra": DATABRICKS,
            },
            None,
            "databricks",
            {**DATABRICKS, "server_hostname": "adb-1.azuredatabricks.net", "access_token": SECRET},
            id="databricks",
        ),
        pytest.param(
            {
                "conn_type": "databricks",
                "host": "adb-1.azuredatabricks.net",
                "login": "principal",
                "password": SECRET,
                "extra": {**DATABRICKS, "service_principal_oauth": "true"},
            },
            None,
            "databricks",
            {"client_id": "principal", "client_secret": SECRET, "access_token": None},
            id="databricks by a service principal",
        ),
        pytest.param(
            {
                "conn_type": "mssql",
                **SERVER,
                "extra": {"driver": "{ODBC Driver 18 for SQL Server}", "TrustServerCertificate": "yes"},
            },
            None,
            "mssql",
            {
                **AS_DLT_SAYS,
                "driver": "ODBC Driver 18 for SQL Server",
                "query": {"TrustServerCertificate": "yes"},
            },
            id="mssql",
        ),
        pytest.param(
            {
                "conn_type": "mssql",
                **SERVER,
                "extra": {"driver": "{ODBC Driver 18 for SQL Server}", "encrypt": "strict"},
            },
            None,
            "mssql",
            {"query": {"Encrypt": "strict"}},
            id="mssql in lower case",
        ),
        pytest.param(
            {"conn_type": "mysql", **SERVER, "extra": {"charset": "utf8mb4", "ssl": '{"ca": "/ca.pem"}'}},
            None,
            "sqlalchemy",
            {
                **AS_DLT_SAYS,
                "drivername": "mysql+pymysql",
                "query": {"charset": "utf8mb4", "ssl_ca": "/ca.pem"},
            },
            id="mysql",
        ),
        pytest.param(
            {"conn_type": "mysql", **SERVER, "extra": {"ssl_mode": "PREFERRED", "ssl": {"capath": "/ca"}}},
            None,
            "sqlalchemy",
            {"query": {"ssl_capath": "/ca"}},
            id="mysql whose mode demands nothing",
        ),
        pytest.param(
            {"conn_type": "sqlite", "host": "/data/shop.db"},
            None,
            "sqlalchemy",
            {"drivername": "sqlite", "database": "/data/shop.db"},
            id="sqlite",
        ),
        pytest.param(
            {"conn_type": "duckdb", "host": "/data/shop.duckdb"},
            None,
            "duckdb",
            {"database": "/data/shop.duckdb"},
            id="duckdb",
        ),
        pytest.param(
            {"conn_type": "duckdb", "schema": "shop", "password": SECRET},
            None,
            "motherduck",
            {"database": "shop", "password": SECRET},
            id="motherduck of type duckdb",
        ),
        pytest.param(
            {"conn_type": "motherduck", "host": "md:shop", "extra": {"token": SECRET}},
            None,
            "motherduck",
            {"database": "shop", "password": SECRET},
            id="motherduck",
        ),
        pytest.param(
            {"conn_type": "clickhouse", **SERVER, "port": 8443, "extra": {"secure": True}},
            None,
            "clickhouse",
            {**AS_DLT_SAYS, "port": 9440, "http_port": 8443, "secure": 1},
            id="clickhouse",
        ),
        pytest.param(
            {"conn_type": "clickhouse", **SERVER, "port": 9000},
            None,
            "clickhouse",
            {"port": 9000, "http_port": 8123, "secure": 0},
            id="clickhouse by its native port",
        ),
        pytest.param(
            {
                "conn_type": "aws",
                **AWS,
                "extra": {"region_name": "eu-west-1", "endpoint_url": "http://minio:9000"},
            },
            "s3://lake/raw",
            "filesystem",
            {**AWS_KEYS, "endpoint_url": "http://minio:9000"},
            id="S3",
        ),
        pytest.param(
            {"conn_type": "aws", **AWS, "extra": {"region_name": "eu-west-1"}},
            "athena",
            "athena",
            AWS_KEYS,
            id="athena of type aws",
        ),
        pytest.param(
            {"conn_type": "athena", **AWS, "extra": {"region_name": "eu-west-1"}},
            None,
            "athena",
            AWS_KEYS,
            id="athena",
        ),
        pytest.param(
            {
                "conn_type": "wasb",
                "login": "lake",
                "extra": {"sas_token": f"https://lake.blob.core.windows.net/?{SECRET}"},
            },
            "az://raw",
            "filesystem",
            {"azure_storage_account_name": "lake", "azure_storage_sas_token": SECRET},
            id="Azure by a SAS token",
        ),
        pytest.param(
            {
                "conn_type": "wasb",
                "host": "https://lake.blob.core.windows.net/",
                "login": "client",
                "password": SECRET,
                "extra": {"tenant_id": "tenant"},
            },
            "abfss://raw@lake.dfs.core.windows.net",
            "filesystem",
            {
                "azure_storage_account_name": "lake",
                "azure_client_id": "client",
                "azure_client_secret": SECRET,
                "azure_tenant_id": "tenant",
            },
            id="Azure by a service principal",
        ),
        pytest.param(
            {
                "conn_type": "adls",
                "extra": {"connection_string": "AccountName=lake;SharedAccessSignature=sv=1&sig=a%2Fb="},
            },
            "az://raw",
            "filesystem",
            {"azure_storage_account_name": "lake", "azure_storage_sas_token": "sv=1&sig=a%2Fb="},
            id="Azure by a connection string",
        ),
    ],
)
def test_dlt_gets_what_the_connection_says(given, destination, kind, expected):
    """dlt's resolved configuration holds the connection's fields under dlt's names."""
    found = credentials(fields(**given), destination)
    assert make(fields(**given), destination).destination_type == f"dlt.destinations.{kind}"
    assert {name: found[name] for name in expected} == expected


def test_every_mapping_is_of_a_known_destination_and_its_fields():
    """The table names destinations and fields that dlt has."""
    for mapping in MAPPINGS:
        spec = make_spec(mapping.destination)
        assert mapping.settings.keys() <= spec.get_resolvable_fields().keys()
        specs = mapping.specs or (spec.credentials_type(),)
        known = {name for one in specs for name in one.get_resolvable_fields()}
        assert {name.partition(".")[0] for name in mapping.credentials} <= known


def make_spec(destination: str) -> Any:
    """The class of a destination's configuration."""
    return dlt.common.destination.Destination.from_reference(destination).spec


# --- which destination -------------------------------------------------------------------------------------


def test_a_destinations_own_settings_stay():
    """A destination object's settings are kept, and the object itself is left alone."""
    destination = dlt.destinations.bigquery(location="EU")
    made = make(fields(conn_type="google_cloud_platform", extra={"keyfile_dict": KEY}), destination)
    assert made.config_params["location"] == "EU"
    assert "credentials" not in destination.config_params


def test_a_connection_may_say_where_the_bucket_is():
    """The extra `bucket_url`, or Airflow's own setting for S3."""
    made = make(fields(conn_type="aws", **AWS, extra={"service_config": {"s3": {"bucket_name": "lake"}}}))
    assert made.config_params["bucket_url"] == "s3://lake"


def test_the_tasks_bucket_comes_before_the_connections():
    """A connection that serves several buckets names one of them at most."""
    made = make(fields(conn_type="aws", **AWS, extra={"bucket_url": "s3://lake"}), "s3://sea/raw")
    assert made.config_params["bucket_url"] == "s3://sea/raw"


def test_a_connection_for_staging_means_a_bucket():
    """A connection to Google Cloud is BigQuery as a destination, and GCS as staging."""
    given = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": KEY, "bucket_url": "gs://lake"}}
    assert make(fields(**given)).destination_name == "bigquery"
    assert make(fields(**given, argument="staging_conn_id")).destination_name == "filesystem"


def test_athenas_settings_come_along():
    """Where Athena puts results, and for whom it works, is in the connection too."""
    extra = {"region_name": "eu-west-1", "s3_staging_dir": "s3://results", "work_group": "loads"}
    settings = make(fields(conn_type="athena", **AWS, extra=extra)).config_params
    assert (settings["query_result_bucket"], settings["athena_work_group"]) == ("s3://results", "loads")


def test_a_named_destination_of_dlts_configuration(monkeypatch):
    """A name of the user's own gets its type from dlt's configuration, and its credentials from Airflow."""
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "postgres")
    made = make(fields(conn_type="postgres", **SERVER), "warehouse")
    assert made.destination_name == "warehouse"
    assert made.config_params["credentials"].host == "db.example.com"


# --- nothing is mixed in -----------------------------------------------------------------------------------


def test_dlts_configuration_is_not_mixed_in(monkeypatch):
    """The connection is the only source: a host of the one and a password of the other would be neither."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://other:word@other/other")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS__HOST", "other")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS__CONNECT_TIMEOUT", "99")
    found = credentials(fields(conn_type="postgres", **SERVER))
    assert (found.host, found.password, found.connect_timeout) == ("db.example.com", SECRET, 15)


def test_a_missing_field_is_not_looked_up_elsewhere(monkeypatch):
    """An empty password stays an error, be there one in dlt's configuration."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS__PASSWORD", "word")
    with pytest.raises(LoadError, match=r"no value for 'password' \(from password\)"):
        make(fields(conn_type="postgres", **{**SERVER, "password": ""}))


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "destination", "sentence"),
    [
        (
            {"conn_type": "http", **SERVER},
            None,
            r"none of dlt's destinations. Types that do: adls, athena, aws",
        ),
        (
            {"conn_type": "postgres", **SERVER, "argument": "staging_conn_id"},
            None,
            r"staging_conn_id, of type 'postgres'\): .* no bucket to stage files in. Types that do: adls,",
        ),
        (
            {"conn_type": "postgres", **SERVER},
            "snowflake",
            "leads to 'redshift' or 'postgres', but the task says destination='snowflake', which needs one "
            "of type snowflake",
        ),
        ({"conn_type": "postgres", **SERVER}, "weaviate", "'weaviate', which needs credentials of its own"),
        ({"conn_type": "aws", **AWS}, "gs://lake", r"opens s3://, but the task's destination is at gs://"),
        ({"conn_type": "postgres", "host": "db"}, None, r"'database' \(from schema\) and 'password'"),
        (
            {"conn_type": "databricks", "host": "adb", "password": SECRET, "extra": {"http_path": "/sql"}},
            None,
            r"no value for 'catalog' \(from extra.catalog\)",
        ),
        (
            {"conn_type": "databricks", "host": "adb", "extra": DATABRICKS},
            None,
            r"no value for 'access_token' \(from password, extra.token\)",
        ),
        ({"conn_type": "mysql", "login": "loader"}, None, r"no value for 'host' \(from host\)"),
        ({"conn_type": "aws", "login": "AKIA1"}, "s3://lake", r"no value for 'aws_secret_access_key'"),
        (
            {"conn_type": "wasb", "login": "c", "host": "lake", "extra": {"tenant_id": "t"}},
            "az://raw",
            "no value for 'azure_client_secret'",
        ),
        (
            {"conn_type": "wasb", **AWS, "host": "lake", "extra": {"tenant_id": "t", "account_key": SECRET}},
            "az://raw",
            r"the value for 'azure_storage_account_key' \(from extra.account_key.*does not go with the oth",
        ),
        (
            {"conn_type": "aws", **AWS, "extra": {"role_arn": "arn:aws:iam::1:role/x"}},
            "s3://lake",
            "extra 'role_arn' asks for a way to log in, or to use TLS, that dlt's 'filesystem' does not have",
        ),
        ({"conn_type": "postgres", **SERVER, "extra": {"iam": "true"}}, None, "extra 'iam' asks for"),
        (
            {"conn_type": "mysql", **SERVER, "extra": {"ssl_mode": "REQUIRED"}},
            None,
            "extra 'ssl_mode' asks for",
        ),
        (
            {"conn_type": "clickhouse", **SERVER, "extra": {"secure": "true", "ca_certs": "/ca.pem"}},
            None,
            "extra 'ca_certs' asks for",
        ),
        (
            {"conn_type": "postgres", **SERVER, "extra": f'{{"x": "{SECRET}'},
            None,
            "the extra is no valid JSON",
        ),
        ({"conn_type": "postgres", **SERVER, "extra": "[1]"}, None, "the extra must be a JSON object"),
        ({"conn_type": "mysql", **SERVER, "extra": {"ssl": "yes"}}, None, "extra 'ssl' is no valid JSON"),
        (
            {"conn_type": "postgres", **SERVER, "extra": {"connect_timeout": "soon"}},
            None,
            r"the value for 'connect_timeout' \(from extra.connect_timeout\) is none that",
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": SECRET}},
            None,
            "the key is not that of a service account",
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": {"type": "authorized_user"}}},
            None,
            "the key is not that of a service account",
        ),
        (
            {"conn_type": "google_cloud_platform", "extra": {"key_path": "/no/such/key.json"}},
            None,
            "the file of extra 'key_path' cannot be read",
        ),
        (
            {"conn_type": "mssql", **SERVER, "extra": {"driver": "FreeTDS"}},
            None,
            "dlt's 'mssql' does not take it: .*FreeTDS.*ODBC Driver 18",
        ),
        ({"conn_type": "duckdb"}, None, "the host is empty: put the database file's path into it"),
        ({"conn_type": "duckdb", "host": ":memory:"}, None, "a database in memory ends with the task"),
        ({"conn_type": "sqlite", "schema": "shop.db"}, None, "path is relative.*sqlite:////"),
        ({"conn_type": "duckdb", "host": "md:shop"}, "duckdb", "needs destination='motherduck'"),
    ],
)
def test_a_mistake_gets_a_sentence(given, destination, sentence):
    """It names the connection and what to change, and no secret."""
    with pytest.raises(LoadError, match=sentence) as caught:
        make(fields(**given), destination)
    assert "Airflow connection 'warehouse'" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_two_sources_of_credentials():
    """A destination with credentials of its own and a connection contradict each other."""
    destination = dlt.destinations.postgres(f"postgresql://loader:{SECRET}@db/shop")
    with pytest.raises(LoadError, match="the destination has credentials of its own"):
        make(fields(conn_type="postgres", **SERVER), destination)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Let the drivers for MySQL that are installed be exactly the given ones."""

    def install(*modules: str) -> None:
        for module in modules:
            folder = tmp_path.joinpath(*module.split("."))
            folder.mkdir(parents=True)
            (folder / "__init__.py").touch()

    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for name in ("pymysql", "MySQLdb", "mysql"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield install
    sys.modules.pop("mysql", None)


@pytest.mark.parametrize("module", ["pymysql", "MySQLdb", "mysql.connector"])
def test_the_driver_for_mysql_is_the_one_that_is_installed(installed, module):
    """Airflow's own provider brings another driver than dlt's documentation names."""
    installed(module)
    found = make(fields(conn_type="mysql", **SERVER)).config_params["credentials"]
    assert found.drivername == f"mysql+{module.replace('.', '').lower()}"


def test_a_missing_driver_for_mysql(installed):
    """The sentence says what to install."""
    installed()
    with pytest.raises(LoadError, match=r"pip install 'dlt\[sqlalchemy\]' pymysql"):
        make(fields(conn_type="mysql", **SERVER))


# --- secrets -----------------------------------------------------------------------------------------------

PASSWORDS = [
    ({"conn_type": "postgres", **SERVER}, "password"),
    ({"conn_type": "redshift", **SERVER}, "password"),
    ({"conn_type": "mysql", **SERVER}, "password"),
    ({"conn_type": "clickhouse", **SERVER}, "password"),
    ({"conn_type": "mssql", **SERVER, "extra": {"driver": "ODBC Driver 18 for SQL Server"}}, "password"),
    ({"conn_type": "snowflake", **SERVER, "extra": {"account": "ab1", "database": "shop"}}, "password"),
    ({"conn_type": "motherduck", "schema": "shop", "password": SECRET}, "password"),
    ({"conn_type": "databricks", "host": "adb", "password": SECRET, "extra": DATABRICKS}, "access_token"),
    ({"conn_type": "athena", **AWS}, "aws_secret_access_key"),
]
ANY_PASSWORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@pytest.mark.slow
@pytest.mark.parametrize(("given", "name"), PASSWORDS, ids=[given["conn_type"] for given, _ in PASSWORDS])
@hypothesis.given(password=ANY_PASSWORD)
def test_any_password_arrives_unchanged(given, name, password):
    """Blanks at its ends, quotes, colons, percent signs: dlt has exactly what the connection has."""
    assert credentials(fields(**{**given, "password": password}))[name] == password


@hypothesis.given(password=ANY_PASSWORD)
def test_any_password_survives_dlts_connection_string(password):
    """Drivers get it by a URL, which has to be read back as the same."""
    from sqlalchemy.engine import make_url

    found = credentials(fields(**{"conn_type": "postgres", **SERVER, "password": password}))
    assert make_url(found.to_native_representation()).password == password


@hypothesis.given(password=ANY_PASSWORD)
def test_any_password_survives_airflows_forms_of_a_connection(password):
    """As JSON and as a URI, a connection means the same."""
    as_json = Connection.from_json(json.dumps({"conn_type": "postgres", **SERVER, "password": password}), "w")
    as_uri = Connection.from_uri(as_json.get_uri(), "w")
    for found in (as_json, as_uri):
        names = ("conn_type", "host", "login", "password", "schema", "port", "extra")
        plain = {name: getattr(found, name) for name in names}
        assert credentials(fields(**plain))["password"] == password


@pytest.mark.parametrize(("given", "name"), PASSWORDS, ids=[given["conn_type"] for given, _ in PASSWORDS])
def test_no_secret_is_shown(given, name):
    """Neither the connection nor the destination nor the credentials show it."""
    connection = fields(**given)
    made = make(connection)
    shown = [connection, made, made.config_params["credentials"]]
    assert SECRET not in " ".join(f"{one!r} {one!s}" for one in shown)


def test_secrets_are_told_before_they_are_used():
    """The log can hide them, also those within the extra, and as a URL has them."""
    hidden: list[str] = []
    extra = {"keyfile_dict": json.dumps({**KEY, "private_key": "very private"}), "api_token": "t0ken/1"}
    connection = fields(conn_type="google_cloud_platform", password="pa ss/word", extra=extra)
    connected(None, connection, Secrets(hidden.append))
    assert {"very private", "t0ken/1", "pa ss/word", "pa%20ss%2Fword", "pa+ss%2Fword"} <= set(hidden)
