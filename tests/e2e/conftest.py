"""One real Airflow, emulator and PostgreSQL server for all of these tests: starting them takes a while."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from database_servers import PASSWORD, postgres
from dbt_artifacts import manifest, result, run_results
from flights_stack import DAGS, EMULATOR_CONFIG, FlightsStack
from local_airflow import READ_ONCE
from postgres_server import airflow_database, find_program

OWN_DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="package")
def warehouse_port() -> Iterator[int | None]:
    """A PostgreSQL server, by its port; None where it is not installed."""
    with ExitStack() as running:
        try:
            port = running.enter_context(postgres())
        except pytest.skip.Exception:
            port = None
        yield port


@pytest.fixture(scope="package")
def airflow_state() -> Iterator[dict[str, str]]:
    """What tells Airflow of its database; nothing where PostgreSQL is not installed."""
    with ExitStack() as running:
        initdb = find_program("initdb")
        yield running.enter_context(airflow_database(initdb)) if initdb else {}


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory, warehouse_port: int | None, airflow_state: dict[str, str]
) -> Iterator[FlightsStack]:
    """The flights example's stack, with a job that fails and a DAG that runs it."""
    folder = tmp_path_factory.mktemp("e2e")
    dags = folder / "dags"
    shutil.copytree(DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(OWN_DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    config = dags / "flights" / EMULATOR_CONFIG.name
    content = yaml.safe_load(config.read_text())
    # Nothing was ever built in this environment's schema, so that tests of it find no table.
    content["environments"].append({"id": 101, "name": "Empty", "project": "Flights", "schema": "nowhere"})
    steps = ["dbt test --select daily_summary"]
    content["jobs"].append({"name": "Broken", "environment": "Empty", "steps": steps})
    scripts = {
        "Endless": {"seconds": 3600},
        "Quick": {"seconds": 8},
        "Failing": {"seconds": 8, "steps": [["dbt build", "error", "Database Error in model daily_delays"]]},
        "Materialised": {
            "seconds": 3,
            "artifacts": {
                "run_results.json": run_results(result("model.shop.orders")),
                "manifest.json": manifest(orders={}),
            },
        },
    }
    content["jobs"] += [
        {
            "name": name,
            "environment": "Empty",
            "steps": ["dbt build"],
            "script": {**script, "concurrent": True},
        }
        for name, script in scripts.items()
    ]
    config.write_text(yaml.safe_dump(content))
    warehouse = {"conn_type": "postgres", "host": "127.0.0.1", "port": warehouse_port, "schema": "shop"}
    warehouse |= {"login": "loader", "password": PASSWORD}
    env = {"AIRFLOW_CONN_FLIGHTS_WAREHOUSE": json.dumps(warehouse), **READ_ONCE, **airflow_state}
    # A trigger's end and Airflow's own limit for it are the same moment, at which a loaded machine may let
    # either be first: here Airflow looks seldom.
    env["AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL"] = "300"
    with FlightsStack(folder, dags=dags, emulator_config=config, env=env) as running:
        yield running
