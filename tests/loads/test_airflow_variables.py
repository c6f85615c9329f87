"""dlt reads its configuration from Airflow's Variables, at a price that a task can pay."""

import warnings

import pytest
from airflow.models import Variable
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.airflow import AirflowSecretsTomlProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from airflow_provider_dbtcloud_dlt.loads.variables import thrifty_variables


@pytest.fixture
def variables(mocker):
    """Airflow's Variables as dlt sees them in a task: a dict, and the keys that were asked for."""
    stored, asked = {}, []

    def get(key, default_var=None):
        asked.append(key)
        warnings.warn(
            "Using Variable.get from `airflow.models` is deprecated.", DeprecationWarning, stacklevel=1
        )
        return stored.get(key, default_var)

    mocker.patch("airflow.models.Variable.get", side_effect=get)
    context = Container()[PluggableRunContext]
    others = [p for p in context.providers.providers if not isinstance(p, AirflowSecretsTomlProvider)]
    mocker.patch.object(context.providers, "providers", [*others, AirflowSecretsTomlProvider()])
    return stored, asked


def test_the_toml_variable_configures_a_load(load, variables, database):
    """`dlt_secrets_toml` is where dlt's documentation puts the configuration of an Airflow."""
    stored, _ = variables
    stored["dlt_secrets_toml"] = f'[destination.duckdb]\ncredentials = "{database}"\n'
    load(lambda: [{"id": 1}], destination="duckdb")
    assert database.exists()


def test_a_secret_in_a_variable_of_its_own_is_found(load, variables, database):
    """A Variable named after one secret works too."""
    stored, _ = variables
    stored["destination.duckdb.credentials"] = str(database)
    load(lambda: [{"id": 1}], destination="duckdb")
    assert database.exists()


def test_plain_settings_are_not_asked_for_one_by_one(load, variables):
    """Each question is a request to Airflow's API server: what cannot be a secret is not asked for."""
    _, asked = variables
    load(lambda: [{"id": 1}])
    assert "dlt_secrets_toml" in asked
    assert [key for key in asked if key.endswith(("create_indexes", "delete_completed_jobs"))] == []
    assert len(asked) < 120


def test_who_wants_every_setting_asked_for_says_so(load, variables, monkeypatch):
    """dlt's own switch is obeyed."""
    monkeypatch.setenv("PROVIDERS__AIRFLOW_SECRETS__ONLY_SECRETS", "false")
    _, asked = variables
    load(lambda: [{"id": 1}])
    assert [key for key in asked if key.endswith("delete_completed_jobs")]


def test_only_dlts_own_deprecated_names_are_kept_quiet(variables):
    """Other deprecations, the user's own among them, are still shown."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with thrifty_variables():
            Variable.get("a_key", default_var=None)
            from airflow.operators.python import get_current_context  # noqa: F401 - the import warns

            warnings.warn("orders() is deprecated", DeprecationWarning, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["orders() is deprecated"]
