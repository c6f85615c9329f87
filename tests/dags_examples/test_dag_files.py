"""The example DAG files, imported by a fresh interpreter as Airflow's DAG processor does."""

import subprocess
import sys

import pytest
from flights_stack import DAGS
from processes import isolated_environment

DAG_FILES = sorted(DAGS.glob("*.py"))
HEAVY = {"dlt", "duckdb", "dbt", "fastapi", "pandas"}
# In Airflow too the process that imports a file is forked from one that has Airflow's modules already.
IMPORT = """
import os, runpy, sys
import airflow.sdk
for file in sys.argv[2:]:
    if os.fork() == 0:
        runpy.run_path(file)
        print(os.path.basename(file), *sorted({*sys.argv[1].split(",")} & {*sys.modules}), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def heavy_modules(tmp_path_factory):
    """The heavy ones of the modules that are in memory after a DAG file was imported, by the file's name."""
    folder = tmp_path_factory.mktemp("parse")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, ",".join(HEAVY), *map(str, DAG_FILES)],
        env=isolated_environment(folder) | {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(DAGS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: modules for name, *modules in map(str.split, done.stdout.splitlines())}
    assert len(found) == len(DAG_FILES), done.stderr
    return found


@pytest.mark.parametrize("name", [file.name for file in DAG_FILES])
def test_nothing_heavy_is_imported(heavy_modules, name):
    """A DAG file is parsed every few seconds: it loads neither dlt nor what only a running task needs."""
    assert heavy_modules[name] == []
