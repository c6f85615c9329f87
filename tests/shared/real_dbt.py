"""dbt projects that the emulator runs with real dbt, in a DuckDB file."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

FILES = {
    "dbt/dbt_project.yml": "name: shop\nprofile: shop\nversion: '1.0'\n",
    "dbt/profiles.yml": (
        "shop:\n  target: dev\n  outputs:\n"
        "    dev: {type: duckdb, path: \"{{ env_var('WAREHOUSE') }}\", schema: main, threads: 1}\n"
    ),
}


def write_project(folder: Path, files: Mapping[str, str], job: Mapping[str, Any]) -> Path:
    """Write a project and the emulator's configuration, `emulator.yaml`, with one job; return the folder."""
    for name, text in {**FILES, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    config = {
        "account": {"id": 1, "token": "secret-token"},
        "env": {"WAREHOUSE": str(folder / "shop.duckdb")},
        "projects": [{"name": "Shop", "dir": "dbt"}],
        "environments": [{"name": "Production"}],
        "jobs": [{"id": 1000, "name": "Build", **job}],
    }
    (folder / "emulator.yaml").write_text(json.dumps(config))  # JSON is YAML
    return folder


@contextmanager
def served(folder: Path, connect: Callable[..., None], lag: float = 0) -> Iterator[Emulator]:
    """Serve a project that `write_project` has written; the default connection leads there."""
    with emulator(folder / "emulator.yaml", state_dir=folder / "state", lag=lag) as running:
        connect(host=running.host, login="1", password=running.token)
        yield running
