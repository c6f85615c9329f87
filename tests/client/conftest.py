"""What the client's tests share: the recorded payload, time that does not pass by itself, an emulator."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, Run
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

TOKEN = "dbtc_sentinel-7f3a"


class FakeTime:
    """A clock that only `sleep` and `advance` move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def token() -> str:
    return TOKEN


@pytest.fixture
def recorded() -> dict[str, Any]:
    """What the API answered when a run was triggered."""
    path = Path(__file__).parent / "payloads" / "trigger-job-run.json"
    return json.loads(path.read_text())["data"]


@pytest.fixture
def client(time: FakeTime) -> DBTCloudClientV2:
    """A client of a server that `responses` plays."""
    return DBTCloudClientV2(TOKEN, 7, "https://dbt.test/api", sleep=time.sleep, clock=time.clock)


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with emulator(clock="virtual", lag=0) as emu:
        yield emu


@pytest.fixture
def cloud(emu: Emulator, time: FakeTime) -> Iterator[DBTCloudClientV2]:
    """A client of the emulator whose sleep moves the emulator's time as well."""

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        emu.clock.advance(seconds)

    with DBTCloudClientV2(
        emu.token, emu.account_id, f"{emu.url}/api", sleep=sleep, clock=time.clock
    ) as client:
        yield client


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Makes a run as the API would describe it."""

    def make(id: int = 1, status: int = 3, *, cause: str | None = None, **fields: Any) -> Run:
        trigger = {"cause": cause} if cause is not None else None
        return Run.from_api({"id": id, "status": status, "trigger": trigger, **fields})

    return make
