"""Many dbt runs that go on, and end within a few seconds of each other when they are told to."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from local_emulator import LocalEmulator

from airflow_provider_dbtcloud_dlt.emulator import config
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine

ACCOUNT_ID = 2013
FIRST_JOB_ID = 1000
LAST_ENDS_LATER = 5.0
"""Seconds between the first and the last run's end."""
JOBS = 51
"""How many of a group there are: their runs take times that differ by as many steps."""
DAY = 86400.0


class WaitingRuns:
    """The emulator, in a process of its own over TLS, with runs that do not end before `release`.

    Attributes:
        emulator: the emulator.
        groups: the runs, in groups that are released one after the other.
        ended_run_id: one that has ended already, and is in no group.
    """

    def __init__(
        self, emulator: LocalEmulator, groups: list[list[int]], ended_run_id: int, begun: float
    ) -> None:
        self.emulator = emulator
        self.groups = groups
        self.ended_run_id = ended_run_id
        self._begun = begun
        self._asked = 0

    def release(self, seconds: float, group: int = 0) -> None:
        """Let the first run of a group end in so many seconds from now, and the others soon afterwards."""
        now = self._admin("GET", "clock")["now"]
        self._admin("POST", "clock", advance_seconds=self._begun + DAY * (group + 1) - seconds - now)

    def answer_late(self, seconds: float) -> None:
        """Take so many seconds more for each answer."""
        self._admin("POST", "faults", kind="slow", seconds=seconds, path=" /api/")

    def answer_at_once(self) -> None:
        """Answer as fast as it goes."""
        self._admin("DELETE", "faults")

    def clock_ahead(self) -> float:
        """Seconds by which the emulator's clock is ahead of this machine's."""
        offsets = {}
        for _ in range(10):
            asked = time.time()
            now = self._admin("GET", "clock")["now"]
            took = time.time() - asked
            offsets[took] = now - asked - took / 2
        return offsets[min(offsets)]  # of the question that was answered soonest

    def ends(self) -> dict[int, float]:
        """When each run that has ended did so, by the emulator's clock."""
        runs = self.emulator.client.list_runs(order_by="id")
        return {run.id: run.finished_at.timestamp() for run in runs if run.finished_at is not None}

    def counted(self) -> tuple[int, int]:
        """How many requests for runs, and how many connections, others have made so far."""
        statistics = self._admin("GET", "statistics")
        asked = statistics["by_endpoint"]
        return asked.get("list_runs", 0) + asked.get("get_run", 0), statistics["connections"] - self._asked

    def _admin(self, method: str, path: str, /, **body: Any) -> Any:
        self._asked += 1  # each over a connection of its own
        return self.emulator.admin(method, path, **body)


@contextmanager
def waiting_runs(folder: Path, size: int, groups: int = 1) -> Iterator[WaitingRuns]:
    """Make so many runs in each group, and serve them for as long as the context lasts."""
    content = _config(groups)
    file = folder / "emulator.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    emulator = LocalEmulator(folder, file, ACCOUNT_ID, tls=True, quiet=True)
    # Straight into its state, and at one moment: ten thousand triggers by HTTP would take half a minute.
    clock = VirtualClock()
    content["account"] = {"id": ACCOUNT_ID, "token": emulator.token}
    engine = Engine(config.parse(content, folder), emulator.state, clock)
    try:
        ended = engine.trigger(FIRST_JOB_ID, {"cause": "bench"}).id
        made = [
            [engine.trigger(_job_id(group, number, size), {"cause": "bench"}).id for number in range(size)]
            for group in range(groups)
        ]
        engine.settle()
    finally:
        engine.close()
    with emulator:
        yield WaitingRuns(emulator, made, ended, clock.now() / SECOND)


def _job_id(group: int, number: int, size: int) -> int:
    """The job of a group's run: they end evenly spread over the time between the first and the last."""
    return FIRST_JOB_ID + 1 + group * JOBS + round(number * (JOBS - 1) / max(1, size - 1))


def _config(groups: int) -> dict[str, Any]:
    lengths = [0.0]
    for group in range(1, groups + 1):
        lengths += [DAY * group + LAST_ENDS_LATER * number / (JOBS - 1) for number in range(JOBS)]
    return {
        "account": {"id": ACCOUNT_ID, "token_env": "DBT_EMULATOR_TOKEN"},
        "projects": [{"name": "Bench"}],
        "environments": [{"name": "Bench"}],
        "jobs": [
            {
                "id": number,
                "name": f"Job {number}",
                "steps": ["dbt build"],
                "script": {"seconds": seconds, "concurrent": True},
            }
            for number, seconds in enumerate(lengths, start=FIRST_JOB_ID)
        ],
    }
