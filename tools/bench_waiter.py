"""Waits for many runs in one event loop, as a triggerer does, and tells what that took; a process of its own.

    python bench_waiter.py ORDERS

ORDERS is a JSON file that `bench_waits` writes; beside it appear `ready`, when everything has been imported
and tried once, and `result`. The waits begin when there is a file `go`. The connection is named `bench`.
"""

import asyncio
import gc
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

CONNECTION_ID = "bench"
DAY = 86400.0
TICK_SECONDS = 0.005
CALIBRATION_SECONDS = 5.0
INTERVALS_UNTIL_REST = 2.5
"""When memory is counted by tracemalloc: between two looks."""


class BareTrigger(BaseTrigger):
    """What Airflow itself takes for a trigger: this one waits for nothing and asks nobody."""

    def __init__(self, conn_id: str, run_id: int, end_time: float, poll_interval: float) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.run_id = run_id
        self.end_time = end_time
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.BareTrigger", dict(vars(self))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if self.poll_interval >= 1:  # else it is the trial wait
            await asyncio.get_running_loop().create_future()
        yield TriggerEvent({"status": "success", "run_id": self.run_id})


def make_ours(run_id: int, poll: float) -> BaseTrigger:
    from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger

    return DbtCloudRunJobTrigger(CONNECTION_ID, run_id, time.time() + DAY, poll)


def make_official(run_id: int, poll: float) -> BaseTrigger:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    return DbtCloudRunJobTrigger(CONNECTION_ID, run_id, time.time() + DAY, poll, account_id=None)


def make_bare(run_id: int, poll: float) -> BaseTrigger:
    return BareTrigger(CONNECTION_ID, run_id, time.time() + DAY, poll)


MAKERS: dict[str, Callable[[int, float], BaseTrigger]] = {
    "this provider": make_ours,
    "official": make_official,
    "bare": make_bare,
}


@dataclass
class Sampler:
    """Looks at loop and memory every few milliseconds."""

    joined_at: float = float("inf")
    longest_block: float = 0.0
    longest_block_once_joined: float = 0.0
    memory: int = 0

    async def sample(self) -> None:
        """Go on until cancelled."""
        look = 0
        while True:
            slept_at = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            block = now - slept_at - TICK_SECONDS
            self.longest_block = max(self.longest_block, block)
            if slept_at >= self.joined_at:
                self.longest_block_once_joined = max(self.longest_block_once_joined, block)
            look += 1
            if look % 20 == 0 or block > 0.1:
                self.memory = max(self.memory, resident_memory())


@dataclass
class Waits:
    """The waits for all runs: when each had its event, and what that said."""

    events: dict[int, tuple[float, str]] = field(default_factory=dict)

    async def wait(self, run_id: int, trigger: BaseTrigger) -> None:
        """Take all events of one trigger."""
        async for event in trigger.run():
            self.events[run_id] = time.time(), event.payload["status"]


def resident_memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def calibrate() -> float:
    """CPU seconds a second that the measuring itself takes."""
    task = asyncio.create_task(Sampler().sample())
    before = time.process_time()
    await asyncio.sleep(CALIBRATION_SECONDS)
    used = time.process_time() - before
    task.cancel()
    return used / CALIBRATION_SECONDS


async def measure(orders: dict[str, Any], go: Path, ready: Path) -> dict[str, Any]:
    """Wait for all runs, and tell what that took."""
    make, poll = MAKERS[orders["provider"]], orders["poll"]
    # The first wait of a process imports the rest, and makes Airflow look for its providers.
    await Waits().wait(orders["ended_run_id"], make(orders["ended_run_id"], 0.05))
    overhead = await calibrate()
    gc.collect()
    ready.write_text("ready")
    while not go.exists():
        await asyncio.sleep(0.01)
    if orders["traced"]:
        return {"bytes": await traced(orders, make)}
    sampler, waits = Sampler(), Waits()
    memory, cpu, begun = resident_memory(), time.process_time(), time.perf_counter()
    sampling = asyncio.create_task(sampler.sample())
    async with asyncio.TaskGroup() as group:
        for run_id in orders["run_ids"]:
            group.create_task(waits.wait(run_id, make(run_id, poll)))
        await asyncio.sleep(poll)
        # What has come to stay makes Python walk all of Airflow's objects once: now, or at any time later.
        gc.collect()
        sampler.joined_at = time.perf_counter()
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    sampling.cancel()
    return {
        "events": waits.events,
        "seconds": seconds,
        "cpu": max(0.0, used - overhead * seconds),
        "memory": max(0, sampler.memory - memory),
        "longest_block": sampler.longest_block,
        "longest_block_once_joined": sampler.longest_block_once_joined,
    }


async def traced(orders: dict[str, Any], make: Callable[[int, float], BaseTrigger]) -> int:
    """Bytes that all waits have allocated once they are at rest."""
    waits = Waits()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tasks = [
        asyncio.create_task(waits.wait(run_id, make(run_id, orders["poll"]))) for run_id in orders["run_ids"]
    ]
    await asyncio.sleep(orders["poll"] * INTERVALS_UNTIL_REST)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return after - before


def main() -> None:
    file = Path(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders = json.loads(file.read_text())
    result = asyncio.run(measure(orders, file.with_name("go"), file.with_name("ready")))
    part = file.with_name("result.part")
    part.write_text(json.dumps(result))
    part.rename(file.with_name("result"))


if __name__ == "__main__":
    main()
