"""What Airflow learns of the provider; a mistake in it can break `import airflow` for everybody."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, resources
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_provider_dbtcloud_dlt.provider_info import get_provider_info

DISTRIBUTION = "airflow-provider-dbtcloud-dlt"
INFO = get_provider_info()


def dotted_paths(info: Any, key: str = "") -> Iterator[str]:
    """Yield every path of a class or module of ours in the description."""
    if isinstance(info, dict):
        for name, value in info.items():
            yield from dotted_paths(value, name)
    elif isinstance(info, list):
        for value in info:
            yield from dotted_paths(value, key)
    elif isinstance(info, str) and info.startswith("airflow_provider_dbtcloud_dlt."):
        yield info


def resolve(path: str) -> Any:
    """Return the module or the member of a module that a dotted path names."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


def test_the_description_is_valid_against_airflows_schema():
    """The installed Airflow accepts the description; 3.2 and 3.3 crash on import when they don't."""
    schema = json.loads(resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema, cls=jsonschema.validators.validator_for(schema))


def test_the_description_names_something():
    """The next test has something to try."""
    assert len(set(dotted_paths(INFO))) >= 6


@pytest.mark.parametrize("path", sorted(set(dotted_paths(INFO))))
def test_every_class_and_module_in_the_description_exists(path):
    """What the description names can be imported."""
    assert resolve(path) is not None


def test_the_package_name_is_the_distributions():
    """Airflow looks the version up under this name."""
    assert INFO["package-name"] == DISTRIBUTION


def test_the_entry_point_leads_to_the_description():
    """Airflow finds the provider by its entry point."""
    (entry_point,) = distribution(DISTRIBUTION).entry_points.select(group="apache_airflow_provider")
    assert entry_point.load()() == INFO


def test_the_hook_has_the_connection_type_it_is_registered_for():
    """The connection type in the description and in the hook are one."""
    for entry in INFO["connection-types"]:
        hook = resolve(entry["hook-class-name"])
        assert hook.conn_type == entry["connection-type"]
    assert "dbt_cloud_dlt" in {entry["connection-type"] for entry in INFO["connection-types"]}


LISTING = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
hook = manager.hooks["dbt_cloud_dlt"]
print(json.dumps({
    "providers": sorted(manager.providers),
    "hook": [hook.hook_class_name, hook.hook_name],
    "links": sorted(manager.extra_links_class_names),
    "decorators": sorted(name for name, _ in manager.taskflow_decorators.items()),
}))
"""


def airflow_environment(home: Path) -> dict[str, str]:
    """Return an environment in which an Airflow command touches one folder and no database of ours."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return mine | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "COLUMNS": "300"}


@pytest.fixture(scope="module")
def seen_by_airflow(tmp_path_factory) -> dict[str, Any]:
    """What a fresh Airflow's manager of providers found."""
    answer = subprocess.run(
        [sys.executable, "-c", LISTING],
        env=airflow_environment(tmp_path_factory.mktemp("airflow")),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def test_airflow_lists_the_provider(seen_by_airflow):
    """`airflow providers list` shows it."""
    assert DISTRIBUTION in seen_by_airflow["providers"]


def test_airflow_offers_the_connection_type_with_our_hook(seen_by_airflow):
    """`airflow providers hooks` shows the type with its hook and its name in the form."""
    assert seen_by_airflow["hook"] == [
        "airflow_provider_dbtcloud_dlt.hooks.dbt_cloud.DbtCloudHook",
        "dbt Cloud (dlt)",
    ]


def test_airflow_knows_the_link_to_the_run(seen_by_airflow):
    """`airflow providers links` shows our links."""
    ours = set(INFO["extra-links"])
    assert ours
    assert ours <= set(seen_by_airflow["links"])


def test_airflow_knows_the_task_decorator(seen_by_airflow):
    """`@task.dlt_load` is there."""
    assert "dlt_load" in seen_by_airflow["decorators"]


def test_the_command_line_describes_the_provider(tmp_path):
    """`airflow providers get` works on it without a database."""
    answer = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "get", DISTRIBUTION, "--output", "json"],
        env=airflow_environment(tmp_path),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert DISTRIBUTION in answer.stdout
