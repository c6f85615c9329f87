"""dlt's configuration without what this machine may hold, and an emulator that it points to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator


def _read_again() -> None:
    """Let dlt forget what it has read of configuration files."""
    Container()[PluggableRunContext].reload_providers()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, empty; no variable of dlt's is set."""
    context = Container()[PluggableRunContext]
    before = context.providers
    monkeypatch.setenv("PROVIDERS__ENABLE_AIRFLOW_SECRETS", "false")  # there is no Airflow database here
    for name in [name for name in os.environ if name.startswith("DBT_CLOUD__")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    _read_again()
    yield tmp_path
    context.providers = before


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with emulator() as emu:
        yield emu


@pytest.fixture
def environment(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's credentials, as environment variables."""
    monkeypatch.setenv("DBT_CLOUD__API_TOKEN", emu.token)
    monkeypatch.setenv("DBT_CLOUD__ACCOUNT_ID", str(emu.account_id))
    monkeypatch.setenv("DBT_CLOUD__JOB_ID", str(emu.job_id))
    monkeypatch.setenv("DBT_CLOUD__BASE_API_URL", f"{emu.url}/api")


@pytest.fixture
def secrets(emu: Emulator, folder: Path) -> Path:
    """The same in secrets.toml."""
    file = folder / ".dlt" / "secrets.toml"
    file.parent.mkdir()
    file.write_text(
        f'[dbt_cloud]\napi_token = "{emu.token}"\naccount_id = "{emu.account_id}"\n'
        f'job_id = "{emu.job_id}"\nbase_api_url = "{emu.url}/api"\n'
    )
    _read_again()
    return file
