"""What is read from which field of an Airflow connection, and what is said of a field that can't be used."""

import json

import pytest
from airflow.models import Connection as StoredConnection
from airflow.sdk import BaseHook, Connection
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.hooks.connection import DbtCloudConnectionError, Settings, read, token_kind
from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS

TOKEN = "dbtc_secret-token"


def settings(extra: object = None, *, conn_type: str = "dbt_cloud_dlt", **fields: object) -> Settings:
    stored = extra if isinstance(extra, str) else json.dumps(extra or {})
    return read(
        Connection(
            conn_id="warehouse",
            conn_type=conn_type,
            extra=stored,
            **{"password": TOKEN, "login": "42", **fields},
        )
    )


def refusal(extra: object = None, **fields: object) -> str:
    with pytest.raises(DbtCloudConnectionError) as refused:
        settings(extra, **fields)
    return str(refused.value)


def test_password_is_the_token() -> None:
    """The password is the API token."""
    assert settings().api_token == TOKEN


def test_login_is_the_account() -> None:
    """The login is the account id."""
    assert settings(login=" 42 ").account_id == "42"


def test_account_may_be_left_out() -> None:
    """A connection without an account can be read: the task may name one."""
    assert settings(login=None).account_id is None


@pytest.mark.parametrize("login", ["forty-two", "4.2", "-1", "²"])
def test_account_that_is_no_number_is_refused(login: str) -> None:
    """An account that is no number is refused with the field's name and what was there."""
    said = refusal(login=login)
    assert "login (Account ID) must be the account's number" in said
    assert login in said


@pytest.mark.parametrize("password", [None, "", "  "])
def test_empty_token_is_refused(password: str | None) -> None:
    """Without a token the message names connection and field."""
    assert "'warehouse': the API token is empty" in refusal(password=password)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://cloud.getdbt.com/api"),
        ({"host": "  "}, "https://cloud.getdbt.com/api"),
        ({"host": "ab123.us1.dbt.com"}, "https://ab123.us1.dbt.com/api"),
        ({"host": "ab123.us1.dbt.com:8443"}, "https://ab123.us1.dbt.com:8443/api"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080/api"),
        ({"host": "HTTPS://AB123.us1.dbt.com/"}, "https://ab123.us1.dbt.com/api"),
        ({"host": "https://ab123.us1.dbt.com/deploy/42/projects/7"}, "https://ab123.us1.dbt.com/api"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8080}, "http://127.0.0.1:8080/api"),
        ({"host": "ab123.us1.dbt.com", "schema": "analytics"}, "https://ab123.us1.dbt.com/api"),
        ({"host": "127.0.0.1:1", "port": 2, "schema": "http"}, "http://127.0.0.1:1/api"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080/api"),
        ({"host": "::1", "schema": "http", "port": 8080}, "http://[::1]:8080/api"),
        ({"host": "ab123.us1.dbt.com", "port": 443}, "https://ab123.us1.dbt.com/api"),
        ({"host": "http://127.0.0.1", "port": 80}, "http://127.0.0.1/api"),
        ({"host": "https://127.0.0.1", "port": 80}, "https://127.0.0.1:80/api"),
    ],
)
def test_host_becomes_the_base_url(fields: dict[str, object], url: str) -> None:
    """Scheme, host and port count, wherever they stand; a path does not."""
    assert settings(**fields).base_api_url == url


@pytest.mark.parametrize(
    "host",
    ["two words", "nul\x00", "ftp://ab123.us1.dbt.com", "host:port", "host:99999", "https://", "http://[::1"],
)
def test_host_that_is_none_is_refused(host: str) -> None:
    """What is no host is refused with an example of one."""
    assert "the host (Access URL) must look like" in refusal(host=host)


def test_secret_in_the_host_is_not_shown() -> None:
    """A token that was pasted before the host stays out of the message."""
    assert TOKEN not in refusal(host=f"https://user:{TOKEN}@ab123.us1.dbt.com")


@pytest.mark.parametrize("field", ["login", "host"])
@pytest.mark.parametrize("secret", [TOKEN, "dbtu_secret", f"https://{TOKEN}.us1.dbt.com"])
def test_token_in_a_field_that_is_shown(field: str, secret: str) -> None:
    """A token that was pasted into the wrong field is told of, and not shown once more."""
    said = refusal(**{field: secret})
    assert "holds an API token, which belongs into the password (API token)" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("dbtc_x", "a service token"),
        (" dbtu_x", "a personal access token"),
        ("0123456789abcdef", "an API token"),
    ],
)
def test_kind_of_token(token: str, kind: str) -> None:
    """Its prefix tells."""
    assert token_kind(token) == kind


def test_plain_http_needs_loopback() -> None:
    """Plain http to another machine is refused, with the extra that allows it."""
    with pytest.raises(DbtCloudConnectionError, match="allow_http"):
        settings(host="http://dbt.example.com").client()


@pytest.mark.parametrize("value", [True, "true", " True "])
def test_plain_http_can_be_allowed(value: object) -> None:
    """The extra allow_http admits plain http, as a boolean or as a form's text."""
    client = settings({"allow_http": value}, host="http://dbt.example.com").client()
    assert client.base_api_url == "http://dbt.example.com/api/v2"


@pytest.mark.parametrize("key", ["job_id", "run_id", "project_id", "environment_id"])
@pytest.mark.parametrize("value", [70403, "70403", " 70403 "])
def test_default_ids(key: str, value: object) -> None:
    """Default ids may be numbers or texts."""
    assert settings({key: value}).defaults == {key: "70403"}


@pytest.mark.parametrize("value", ["nightly", 1.5, True, [1], {}, "-1"])
def test_default_id_that_is_no_number_is_refused(value: object) -> None:
    """A default id that is no whole number is refused where it stands."""
    assert "extra 'job_id' must be a whole number" in refusal({"job_id": value})


@pytest.mark.parametrize("key", ["cause", "git_branch", "git_sha", "schema_override"])
def test_default_texts(key: str) -> None:
    """Default texts are taken over."""
    assert settings({key: "abc"}).defaults == {key: "abc"}


def test_default_text_that_is_none_is_refused() -> None:
    """A list is no branch."""
    assert "extra 'git_branch' must be a text" in refusal({"git_branch": ["main"]})


def test_empty_extras_count_as_left_out() -> None:
    """A form stores what was left empty as empty texts."""
    empty = dict.fromkeys(("job_id", "timeout", "proxies", "verify", "allow_http", "deployment"), "")
    assert settings(empty) == settings()


@pytest.mark.parametrize(("value", "seconds"), [(5, 5.0), (2.5, 2.5), ("7", 7.0), ([3, 9], (3.0, 9.0))])
def test_timeout(value: object, seconds: object) -> None:
    """The time-out is a number of seconds, as a text too, or a pair."""
    assert settings({"timeout": value}).timeout == seconds


@pytest.mark.parametrize("value", [0, -1, "soon", True, [1], [0, 1], [1, 2, 3], {}, int("9" * 400)])
def test_timeout_that_is_none_is_refused(value: object) -> None:
    """What is no time-out is refused with the key's name."""
    assert "extra 'timeout' must be a positive number of seconds" in refusal({"timeout": value})


def test_outage_tolerance() -> None:
    """The outage tolerance is read in seconds."""
    assert settings({"outage_tolerance": "60"}).outage_tolerance == 60.0


def test_requests_per_minute() -> None:
    """A number; by default well under dbt's limit."""
    assert settings({"requests_per_minute": 300}).requests_per_minute == 300.0
    assert settings({}).requests_per_minute == 2000.0


@pytest.mark.parametrize("value", [0, -1, "many", True])
def test_requests_per_minute_that_is_none_is_refused(value: object) -> None:
    """With the key's name."""
    words = "extra 'requests_per_minute' must be a positive number of requests"
    assert words in refusal({"requests_per_minute": value})


def test_outage_tolerance_that_is_none_is_refused() -> None:
    """What is no number of seconds is refused with the key's name."""
    assert "extra 'outage_tolerance' must be a positive number" in refusal({"outage_tolerance": "long"})


@pytest.mark.parametrize(
    ("value", "read_as"),
    [(True, True), (False, False), ("false", False), ("True", True), (" /etc/ca.pem ", "/etc/ca.pem")],
)
def test_verify(value: object, read_as: object) -> None:
    """Verify is a boolean, as a text too, or the path of a CA bundle."""
    assert settings({"verify": value}).verify == read_as


def test_ca_bundle_that_is_missing_is_refused() -> None:
    """A CA bundle that does not exist is named when the client is made."""
    with pytest.raises(DbtCloudConnectionError, match=r"CA bundle that does not exist: .*ca\.pem"):
        settings({"verify": "/nowhere/ca.pem"}).client()


@pytest.mark.parametrize(
    ("value", "proxies"),
    [
        ({"https": "http://proxy:3128"}, {"https": "http://proxy:3128"}),
        ('{"https": "http://proxy:3128"}', {"https": "http://proxy:3128"}),
        ("http://proxy:3128", {"http": "http://proxy:3128", "https": "http://proxy:3128"}),
    ],
)
def test_proxies(value: object, proxies: dict[str, str]) -> None:
    """Proxies are an object, its JSON in a text field, or one address for both schemes."""
    assert settings({"proxies": value}).proxies == proxies


def test_proxies_are_not_shown() -> None:
    """Settings may get into a log; a proxy's address may hold a password."""
    assert "hush" not in repr(settings({"proxies": "http://me:hush@proxy:3128"}))


def test_malformed_proxy_is_refused_by_connection_and_key() -> None:
    """A password with an unescaped # is the usual reason."""
    with pytest.raises(
        DbtCloudConnectionError, match=r"^Airflow connection 'warehouse': proxies "
    ) as refused:
        settings({"proxies": "http://me:hush#1@proxy:3128"}).client()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("value", ['{"https": "http://me:hush@proxy', ["http://me:hush@proxy"], {"https": 1}])
def test_proxies_that_are_none_are_refused_without_being_shown(value: object) -> None:
    """A malformed proxy is refused by its key; its address may hold a password."""
    said = refusal({"proxies": value})
    assert "extra 'proxies' must be an address or" in said
    assert "hush" not in said


def test_boolean_that_is_none_is_refused() -> None:
    """What is neither true nor false is refused with the key's name."""
    assert "extra 'allow_http' must be true or false, got 'yes'" in refusal({"allow_http": "yes"})


@pytest.mark.parametrize(("extra", "said"), [("{", "no valid JSON"), ("[1]", "must be a JSON object")])
def test_extra_that_is_no_object_is_refused(extra: str, said: str) -> None:
    """An extra that can't be read is refused as a whole."""
    assert said in refusal(extra)


def test_official_type_reads_the_same() -> None:
    """A connection of the official provider's type means the same, field by field."""
    fields = {"host": "ab123.us1.dbt.com", "extra": {"job_id": 7, "proxies": {"https": "http://proxy:3128"}}}
    assert settings(conn_type="dbt_cloud", **fields) == settings(**fields)


@pytest.mark.parametrize(
    "stored",
    [
        "dbt-cloud-dlt://42:dbtc_secret-token@https%3A%2F%2Fab123.us1.dbt.com%2Fdeploy/?job_id=7&timeout=5",
        json.dumps(
            {
                "conn_type": "dbt_cloud_dlt",
                "host": "ab123.us1.dbt.com",
                "login": "42",
                "password": TOKEN,
                "extra": {"job_id": 7, "timeout": 5},
            }
        ),
    ],
    ids=["URI", "JSON"],
)
def test_connection_from_the_environment(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection in the environment is read in both of Airflow's forms."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", stored)
    found = read(BaseHook.get_connection("warehouse"))
    assert (found.base_api_url, found.account_id, found.api_token, found.timeout, found.defaults) == (
        "https://ab123.us1.dbt.com/api",
        "42",
        TOKEN,
        5.0,
        {"job_id": "7"},
    )


EVERYTHING = {
    "job_id": "70403110257794",
    "run_id": "5",
    "project_id": "10",
    "environment_id": "100",
    "cause": "Nightly load & more",
    "git_branch": "feature/new models",
    "git_sha": "0a1b2c3",
    "schema_override": "analytics_test",
    "deployment": "staging",
    "proxies": {"https": "http://me:hush%23@proxy:3128"},
    "verify": "/etc/ssl/company.pem",
    "allow_http": False,
    "timeout": [5, 60],
    "outage_tolerance": 3600,
    "requests_per_minute": 500,
}


def test_everything_says_every_field() -> None:
    """The next test leaves no field out."""
    assert EVERYTHING.keys() == CONNECTION_FIELDS.keys()


@pytest.mark.parametrize("form", ["URI", "JSON"])
@pytest.mark.parametrize(
    "host", ["ab123.us1.dbt.com", "https://ab123.us1.dbt.com", "https://ab123.us1.dbt.com/deploy/42"]
)
def test_airflow_exports_what_it_reads(form: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection in either of Airflow's forms, as it exports them and tests by them, says the same."""
    fields = {"host": host, "login": "42", "password": f"{TOKEN}/+%", "port": 443}
    stored = StoredConnection("warehouse", "dbt_cloud_dlt", extra=json.dumps(EVERYTHING), **fields)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", stored.get_uri() if form == "URI" else stored.as_json())
    assert read(BaseHook.get_connection("warehouse")) == settings(EVERYTHING, **fields)


def test_extras_of_a_form_that_was_left_empty() -> None:
    """Airflow's form stores the defaults that it shows, and null for the rest."""
    stored = {key: field["schema"].get("default") for key, field in CONNECTION_FIELDS.items()}
    assert settings(stored) == settings()


@pytest.mark.parametrize(
    ("key", "meant"), [("jobid", "job_id"), ("timout", "timeout"), ("proxy", "proxies"), ("Verify", "verify")]
)
def test_typo_in_a_key_is_warned_of_once(caplog: pytest.LogCaptureFixture, key: str, meant: str) -> None:
    """However often the connection is read."""
    settings({key: 1})
    settings({key: 1})
    said = f"extra {key!r} is not known and has no effect. Did you mean {meant!r}?"
    assert caplog.messages == [f"Airflow connection 'warehouse': {said}"]


def test_other_extras_are_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    """A team may keep its own notes there; known keys are no typo either."""
    settings({"owner": "data-eng", "requests_per_minute": 9, "job_id": 7})
    assert caplog.messages == []


def test_ipv6_address_in_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes the brackets off an IPv6 address in a connection's URI: they are put on again."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "dbt-cloud-dlt://42:dbtc_secret-token@[::1]:8080/http")
    assert read(BaseHook.get_connection("warehouse")).base_api_url == "http://[::1]:8080/api"


def test_repr_hides_the_token() -> None:
    """The settings can be logged."""
    assert TOKEN not in repr(settings())


def test_missing_account_is_told_by_its_field() -> None:
    """A client without any account is refused with both places where it may stand."""
    with pytest.raises(DbtCloudConnectionError, match=r"login \(Account ID\), or give .* account_id"):
        settings(login="").client()


def test_malformed_token_is_told_without_being_shown() -> None:
    """A token with a line break is refused, the connection named, the token not."""
    with pytest.raises(DbtCloudConnectionError, match="'warehouse'") as refused:
        settings(password=f"{TOKEN}\nmore").client()
    assert TOKEN not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["job_id", "cause", "proxies", "verify", "timeout", "allow_http", "outage_tolerance", "deployment"]
)
HOSTS = st.text(max_size=20) | st.text(st.sampled_from("a1.:/[]@%h tp"), max_size=20)


@given(
    host=st.none() | HOSTS,
    login=st.none() | st.text(max_size=5),
    port=st.none() | st.integers(0, 70000),
    schema=st.sampled_from([None, "", "http", "https", "public"]),
    extra=st.dictionaries(KEYS, JSON, max_size=4),
)
def test_any_connection_is_read_or_refused_in_words(
    host: str | None, login: str | None, port: int | None, schema: str | None, extra: dict[str, object]
) -> None:
    """Whatever the fields hold, nothing but a DbtCloudConnectionError comes of it, and never the token."""
    try:
        shown = repr(settings(extra, host=host, login=login, port=port, schema=schema).client(7))
    except DbtCloudConnectionError as refused:
        shown = str(refused)
    assert TOKEN not in shown
