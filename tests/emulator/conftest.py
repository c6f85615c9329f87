"""An emulator a test, spoken to over HTTP; its answers are checked against the vendor's spec."""

from collections.abc import Iterator
from pathlib import Path

import cloud_spec
import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator


class Api:
    """A client as plain as can be: paths are relative to the account."""

    def __init__(self, emu: Emulator, scheme: str = "Token") -> None:
        self.base = f"{emu.url}/api/v2/accounts/{emu.account_id}"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"{scheme} {emu.token}"

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        answer = self.session.request(method, self.base + path, allow_redirects=False, timeout=30, **options)
        cloud_spec.check(answer)
        return answer

    def get(self, path: str, **params: object) -> requests.Response:
        return self.ask("GET", path, params=params)

    def post(self, path: str, **body: object) -> requests.Response:
        return self.ask("POST", path, json=body or None)

    def data(self, path: str, **params: object):
        response = self.get(path, **params)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def trigger(self, job_id: int = 1000, cause: str = "test", **fields: object) -> int:
        response = self.post(f"/jobs/{job_id}/run/", cause=cause, **fields)
        assert response.status_code == 200, response.text
        return response.json()["data"]["id"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the generated requests and the checked answers came to."""
    for line in cloud_spec.summary():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def make_api() -> type[Api]:
    """How to make a client of an emulator."""
    return Api


@pytest.fixture
def emu() -> Iterator[Emulator]:
    """One scripted job, and time that stands still."""
    with emulator(clock="virtual", lag=0) as running:
        yield running


@pytest.fixture
def api(emu: Emulator) -> Api:
    """A client of `emu`."""
    return Api(emu)


@pytest.fixture
def queued() -> Iterator[Emulator]:
    """Two run slots, three scripted jobs that take ten seconds each and queue; time stands still."""
    script = {"seconds": 10, "starting_seconds": 1}
    config = {
        "account": {"token": "secret-token", "run_slots": 2},
        "projects": [{"name": "P"}],
        "environments": [{"name": "E"}],
        "jobs": [{"name": name, "steps": ["dbt build"], "script": script} for name in "abc"],
    }
    with emulator(config, clock="virtual", lag=0) as running:
        yield running


@pytest.fixture
def tiny_project(tmp_path: Path) -> Path:
    """A folder with `dbt`, a tiny project, and `emulator.yaml`, which serves it."""
    return _write_project(tmp_path)


@pytest.fixture(scope="session")
def lasting_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for tests that only look at what one run left."""
    return _write_project(tmp_path_factory.mktemp("lasting"))


def _write_project(tmp_path: Path) -> Path:
    """Write a dbt project whose model `bad` depends on a variable, and the emulator's configuration."""
    project = tmp_path / "dbt"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: tiny\nprofile: tiny\nversion: '1.0'\n")
    (project / "profiles.yml").write_text(
        "tiny:\n"
        "  target: dev\n"
        "  outputs:\n"
        "    dev: {type: duckdb, path: \"{{ env_var('WAREHOUSE') }}\", schema: main, threads: 1}\n"
        "    prod: {type: duckdb, path: \"{{ env_var('WAREHOUSE') }}\", schema: production, threads: 2}\n"
    )
    (project / "models" / "good.sql").write_text("select 1 as id")
    (project / "models" / "bad.sql").write_text(
        "select {{ var('column', 'nosuch') }} as id from {{ ref('good') }}"
    )
    (tmp_path / "emulator.yaml").write_text(
        "account: {token: secret-token}\n"
        f"env: {{WAREHOUSE: {tmp_path / 'warehouse.duckdb'}}}\n"
        "projects: [{name: Tiny, dir: dbt}]\n"
        "environments: [{name: Production}]\n"
        "jobs:\n"
        "  - {id: 1000, name: Good, steps: [dbt build --select good]}\n"
        "  - {id: 1001, name: Bad, steps: [dbt build, dbt list]}\n"
    )
    return tmp_path
