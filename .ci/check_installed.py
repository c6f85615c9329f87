"""Use the package as somebody who has installed the wheel alone would; tools/release.py runs this.

Run in an empty folder, with Airflow's home in it and a connection to an emulator in the environment.
"""
# ruff: noqa: T201, S101

import importlib
import importlib.util
import os
import pkgutil
from pathlib import Path

import airflow_provider_dbtcloud_dlt as package

EXTRAS = ("dbt", "duckdb", "openlineage", "pytest")
OF_EXTRAS = (".emulator", ".openlineage.processor")
"""Modules that need one of them."""
DAG = """
from airflow.sdk import dag, task
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

def files():
    import dlt
    from pathlib import Path
    return dlt.destinations.filesystem(bucket_url=Path("lake").resolve().as_uri())

@dag(schedule=None)
def release_check():
    @task.dlt_load(destination=files, dataset_name="raw")
    def orders():
        return [{"id": 1}, {"id": 2}]

    orders() >> DbtCloudRunJobOperator(task_id="transform")

release_check()
"""


def import_everything() -> int:
    """Import each module but those that need an extra, and return how many there are."""
    names = [
        module.name
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not any(name in module.name for name in OF_EXTRAS)
    ]
    for name in names:
        importlib.import_module(name)
    return len(names)


def run_a_dag() -> str:
    """Load with dlt into files, run a job, wait for it in a trigger, and return how the DAG run ended."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    file = Path(os.environ["AIRFLOW_HOME"], "dags", "release_check.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(DAG, encoding="utf-8")
    (dag,) = DagBag(str(file)).dags.values()
    return str(dag.test().state)


def main() -> None:
    """Try one thing after the other, and print what has worked."""
    assert "site-packages" in Path(package.__file__).parts, package.__file__
    assert [name for name in EXTRAS if importlib.util.find_spec(name)] == []
    print(f"{import_everything()} modules can be imported")

    from airflow.providers_manager import ProvidersManager

    assert "airflow-provider-dbtcloud-dlt" in ProvidersManager().providers
    print("Airflow finds the provider")

    assert run_a_dag() == "success"
    assert list(Path("lake/raw/orders").glob("*.jsonl*")), "the load left no file"
    print("A DAG has loaded with dlt and run a job")


if __name__ == "__main__":
    main()
