"""What Airflow makes of the plug-in: the view beside task instances, and the page's files."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.plugin import FOLDER, PREFIX, DbtCloudRunPicture

# In an Airflow of its own: what plug-ins there are is read once a process.
SERVED = """
import json
from airflow import plugins_manager
from airflow.api_fastapi.app import init_plugins
from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
from fastapi import FastAPI
from fastapi.testclient import TestClient
from airflow_provider_dbtcloud_dlt.plugin import DbtCloudRunPicture

if "dbt_cloud_run_picture" not in [one["name"] for one in plugins_manager.get_plugin_info()]:
    # This checkout was installed before it had the entry point.
    plugins_manager._get_plugins()[0].append(DbtCloudRunPicture)
    plugins_manager.get_fastapi_plugins.cache_clear()
(info,) = [one for one in plugins_manager.get_plugin_info() if one["name"] == "dbt_cloud_run_picture"]
app = FastAPI()
init_plugins(app)
client = TestClient(app)
paths = ["", "style.css", "page.js", "icon.svg", "../__init__.py", "nothing"]
print(json.dumps({
    "views": PluginResponse.model_validate(info).model_dump()["external_views"],
    "answers": [
        [answer.status_code, answer.headers.get("content-type", "").partition(";")[0]]
        for answer in (client.get(f"/dbt-cloud-run/{path}") for path in paths)
    ],
}))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What an Airflow's API server tells of the plug-in, and answers under its address."""
    env = {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    answer = subprocess.run(
        [sys.executable, "-c", SERVED],
        env=os.environ | env,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def test_view_beside_task_instances(served: Any) -> None:
    """With the places that Airflow fills in; its address is relative to Airflow's."""
    (view,) = served["views"]
    assert (view["name"], view["destination"], view["url_route"]) == ("dbt run", "task_instance", PREFIX)
    assert view["href"].startswith(f"{PREFIX}/?")
    assert all(f"{{{place}}}" in view["href"] for place in ("DAG_ID", "RUN_ID", "TASK_ID", "MAP_INDEX"))


def test_page_is_served(served: Any) -> None:
    """Its files, with the types that browsers insist on, and nothing else."""
    assert served["answers"] == [
        [200, "text/html"],
        [200, "text/css"],
        [200, "text/javascript"],
        [200, "image/svg+xml"],
        [404, "application/json"],
        [404, "application/json"],
    ]


def test_nothing_from_elsewhere() -> None:
    """No file of the page names an address outside Airflow; a name of a vocabulary is none."""
    for file in FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""https?:|["'(]//""", text), file.name


def test_entry_point_leads_to_the_plugin() -> None:
    """By it Airflow finds the plug-in, once the package is installed."""
    found = distribution("airflow-provider-dbtcloud-dlt").entry_points.select(group="airflow.plugins")
    if not found:
        pytest.skip("this checkout was installed before it had the entry point")
    (entry_point,) = found
    assert entry_point.load() is DbtCloudRunPicture
