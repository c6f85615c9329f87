"""The example DAG files, imported by a fresh interpreter as Airflow's DAG processor does."""

import json
import subprocess
import sys

import pytest
from flights_stack import DAGS
from processes import isolated_environment

DAG_FILES = sorted(DAGS.glob("*.py"))
IMPORT = "import json, runpy, sys; runpy.run_path(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def modules_after_import(tmp_path_factory):
    """What is in memory after a DAG file was imported, by the file's name."""
    folder = tmp_path_factory.mktemp("parse")
    env = isolated_environment(folder) | {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(DAGS)}

    def run(file):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, str(file)],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    return {file.name: run(file) for file in DAG_FILES}


@pytest.mark.parametrize("name", [file.name for file in DAG_FILES])
def test_nothing_heavy_is_imported(modules_after_import, name):
    """A DAG file is parsed every few seconds: it loads neither dlt nor what only a running task needs."""
    assert modules_after_import[name].isdisjoint({"dlt", "duckdb", "dbt", "fastapi", "pandas"})
