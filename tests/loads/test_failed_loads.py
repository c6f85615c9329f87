"""A load that fails says in a sentence what failed, and never a secret."""

import dlt
import pytest
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.pipeline.exceptions import PipelineStepFailed

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError, explain
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets
from airflow_provider_dbtcloud_dlt.loads.source import import_function


def _broken():
    @dlt.resource(name="customers")
    def customers():
        yield {"id": 1}
        raise OSError("the shop is closed")

    return customers


def test_a_failing_source_is_told_with_step_resource_and_cause(load):
    """The sentence names the pipeline, the step, the resource and the root cause, not dlt's wrappers."""
    with pytest.raises(LoadError) as caught:
        load(_broken)
    assert str(caught.value) == (
        "dlt pipeline 'shop' failed in the extract step, resource 'customers': OSError: the shop is closed"
    )


def test_the_original_exception_stays_chained(load):
    """The traceback in the log still leads to the line of the source that failed."""
    with pytest.raises(LoadError) as caught:
        load(_broken)
    chain, error = [], caught.value
    while error is not None:
        chain.append(type(error))
        error = error.__cause__
    assert chain[-1] is OSError


def test_a_source_function_that_fails_is_told(load):
    """An exception before dlt does anything is told too."""
    with pytest.raises(LoadError, match=r"^dlt pipeline 'shop' failed: KeyError: 'token'$"):
        load(lambda: {}["token"])


@dlt.destination(name="picky", batch_size=10)
def _picky(items, table):
    raise DestinationTerminalException(f"no room for {len(items)} rows")


@pytest.mark.parametrize("raises", ["true", "false"], ids=["dlt raises", "dlt is told not to raise"])
def test_a_failed_load_job_fails_the_task(load, monkeypatch, raises):
    """Also when dlt is configured to go on: rows are missing at the destination."""
    monkeypatch.setenv("LOAD__RAISE_ON_FAILED_JOBS", raises)
    told = r"in the load step: table 'orders' could not be loaded \(job orders\.\S+\): (\S+: )?no room for 2"
    with pytest.raises(LoadError, match=told):
        load(lambda: [{"id": 1}, {"id": 2}], destination=_picky)


def test_a_broken_schema_contract_is_told(load):
    """With `freeze` a new column fails the task, and the sentence names it."""
    load(lambda: [{"id": 1}])
    with pytest.raises(LoadError, match=r"break the schema contract.*`orders`.*`colour`"):
        load(lambda: [{"id": 2, "colour": "red"}], schema_contract="freeze")


def test_no_destination(load):
    """The sentence names the argument and the configuration key."""
    with pytest.raises(LoadError, match=r"no destination.*destination=….*DESTINATION_TYPE"):
        load(list, destination=None)


def test_the_configuration_key_named_for_the_destination_works(load, monkeypatch):
    """What the sentence about a missing destination advises does help."""
    monkeypatch.setenv("DESTINATION_TYPE", "duckdb")
    assert load(lambda: [{"id": 1}], destination=None)["destination"] == "duckdb"


def test_a_missing_driver_is_told_with_what_to_install(tmp_path):
    """dlt's extras bring the destinations' drivers."""
    missing = ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2")
    pipeline = dlt.pipeline("shop", destination="duckdb", pipelines_dir=str(tmp_path))
    failed = PipelineStepFailed(pipeline, "sync", None, missing)
    failed.__cause__ = missing
    told = explain("shop", failed)
    assert "module 'psycopg2' is not installed on this worker" in told
    assert "pip install 'dlt[duckdb]'" in told


def test_an_unknown_destination(load):
    """A mistyped name is told as such, without dlt's list of attempts."""
    with pytest.raises(LoadError, match=r"dlt knows no destination 'dukdb'") as caught:
        load(list, destination="dukdb")
    assert "\n" not in str(caught.value)


def test_missing_credentials_are_named_by_one_key_each(load):
    """One key for each missing value, instead of every place where dlt looked."""
    with pytest.raises(LoadError, match=r"lacks DESTINATION__MOTHERDUCK__CREDENTIALS__PASSWORD") as caught:
        load(list, destination="motherduck")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, "orders returned nothing"),
        ("orders", "orders returned a str, which is not a set of rows"),
        (7, "orders returned a int"),
        ({"id": 1}, r"orders returned a dict.*list of dicts"),
        ([dlt.resource([1], name="a"), {"id": 1}], "mixes"),
    ],
    ids=["None", "str", "int", "dict", "mixed list"],
)
def test_what_is_no_data_is_refused(load, data, sentence):
    """A function that returns nothing dlt can load is told what to return."""
    with pytest.raises(LoadError, match=sentence):
        load(lambda: data)


def test_rows_without_a_name_for_their_table(load):
    """A lambda gives no name: the sentence names the argument."""
    with pytest.raises(LoadError, match="table_name"):
        load(lambda: [{"id": 1}], default_table_name=None)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("no_such_module:orders", "module 'no_such_module' cannot be found"),
        ("json:no_such_function", "module 'json' has no function 'no_such_function'"),
        ("string:digits", "is a str, not a function"),
    ],
)
def test_a_reference_that_leads_nowhere(reference, sentence):
    """The sentence names the module or the function that is missing."""
    with pytest.raises(LoadError, match=sentence):
        import_function(reference)


def test_a_module_that_lacks_another(tmp_path, monkeypatch):
    """It is the missing module that is named, not the one that needs it."""
    (tmp_path / "needy_source.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LoadError, match="module 'surely_not_installed', which it needs, cannot be found"):
        import_function("needy_source:orders")


def test_a_secret_of_dlts_configuration_is_hidden(load, monkeypatch):
    """A source that puts its key into a message does not leak it, and the log is told to hide it as well."""
    monkeypatch.setenv("SOURCES__API_KEY", "s3cr3t-key-of-the-shop")
    hidden = []

    @dlt.source(name="shop")
    def shop(api_key: str = dlt.secrets.value):
        raise OSError(f"403 for the caller with {api_key}")

    with pytest.raises(LoadError, match=r"403 for the caller with \*\*\*") as caught:
        load(lambda: shop(), hide=hidden.append)
    assert "s3cr3t" not in str(caught.value)
    assert hidden == ["s3cr3t-key-of-the-shop"]


def test_a_secret_that_a_resource_resolves_late_is_hidden(load, monkeypatch):
    """dlt forgets what it resolved at the end of a step: the secrets are noted before."""
    monkeypatch.setenv("SOURCES__PASSCODE", "0pen-sesame")

    @dlt.resource(name="cave")
    def cave(passcode: dlt.TSecretStrValue = dlt.secrets.value):
        yield {"id": 1}
        raise OSError(f"{passcode} did not help")

    with pytest.raises(LoadError, match=r"\*\*\* did not help$"):
        load(lambda: cave())


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgres://me:pa55word@db/x is down", "postgres://***@db/x is down"),
        ("GET https://shop/api?page=2&api_key=abc123&x=1", "GET https://shop/api?page=2&api_key=***&x=1"),
        ("{'access_token': 'abc123', 'id': 1}", "{'access_token': '***', 'id': 1}"),
        ("no such file: /data/warehouse.duckdb", "no such file: /data/warehouse.duckdb"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, redacted):
    """Connection strings and keys in URLs are hidden even if dlt did not resolve them; paths are not."""
    assert Secrets().redact(text) == redacted
