"""What it takes to wait for many runs in one event loop, with this provider and the official one."""

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_report import COMPARED, Section, Spread, compare, number, percentile_95, spreads
from bench_runs import ACCOUNT_ID, LAST_ENDS_LATER, WaitingRuns, waiting_runs
from processes import Service, isolated_environment, wait_for_file

from airflow_provider_dbtcloud_dlt.client.protocol import PAGE_SIZE

OURS, OFFICIAL, BARE = "this provider", "official", "bare"
CONNECTION_TYPES = {OURS: "dbt_cloud_dlt", OFFICIAL: "dbt_cloud", BARE: "dbt_cloud"}
POLL_SECONDS = 5.0
FIRST_ENDS_AFTER = 30.0
START_SECONDS = 120.0
PATIENCE = 600.0
"""Seconds for which a process may wait for runs that have long ended."""

MEASURED: dict[str, Callable[["Trial"], float]] = {
    "requests": lambda trial: trial.requests,
    "requests ÷ floor": lambda trial: trial.requests / trial.floor,
    "connections": lambda trial: trial.connections,
    "CPU, s": lambda trial: trial.cpu,
    "memory, MB": lambda trial: trial.memory / 1e6,
    "longest block, ms": lambda trial: trial.longest_block * 1000,
    "… once all have joined": lambda trial: trial.longest_block_once_joined * 1000,
    "delay, s": lambda trial: trial.delay,
    "delay at the 95th percentile, s": lambda trial: trial.delay_95,
    "wrong events": lambda trial: trial.wrong,
}
PANELS = {
    "requests": "requests",
    "CPU, s": "CPU beyond imports, seconds",
    "memory, MB": "memory beyond imports, MB",
    "delay, s": "delay until a run's end is seen (median), seconds",
}


@dataclass(frozen=True)
class Trial:
    """One process that has waited for some runs.

    Attributes:
        requests: that reached the server.
        connections: that were made to it.
        floor: requests that there must be: one for each hundred runs and look.
        cpu: seconds, beyond imports.
        memory: bytes, at most, beyond imports.
        longest_block: seconds for which the event loop did nothing else.
        longest_block_once_joined: likewise, from one interval after the start on.
        delay: seconds from a run's end to its event, half of the runs less.
        delay_95: likewise for 95 of 100.
        wrong: events that do not tell of a success, and runs without an event.
    """

    requests: int
    connections: int
    floor: int
    cpu: float
    memory: int
    longest_block: float
    longest_block_once_joined: float
    delay: float
    delay_95: float
    wrong: int


@dataclass(frozen=True)
class Load:
    """What a process has to do: who waits, for how many runs, and how long an answer takes."""

    provider: str
    size: int
    latency: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        sizes: how many runs are waited for.
        latencies: seconds that the server adds to each answer.
        repeats: how often everything is measured.
        official_max: the most runs that the official provider's triggers wait for.
    """

    sizes: Sequence[int]
    latencies: Sequence[float]
    repeats: int
    official_max: int

    def loads(self) -> Iterator[Load]:
        """All that is measured, the two providers side by side."""
        for latency in self.latencies:
            for size in self.sizes:
                yield Load(OURS, size, latency)
                if size <= self.official_max:
                    yield Load(OFFICIAL, size, latency)


def floor_of(size: int, seconds: float, poll: float = POLL_SECONDS) -> int:
    """The fewest requests that so many runs can be followed with: a list of a hundred for each look."""
    return math.ceil(size / PAGE_SIZE) * math.ceil(seconds / poll)


def measure(plan: Plan, say: Callable[[str], object]) -> dict[Load, list[Trial]]:
    """Play everything, repeat by repeat, so that whatever else the machine does meets all alike."""
    found: dict[Load, list[Trial]] = {load: [] for load in plan.loads()}
    for repeat in range(plan.repeats):
        for load, trials in found.items():
            trial = play(load, POLL_SECONDS * repeat / plan.repeats)
            trials.append(trial)
            say(
                f"{repeat + 1}/{plan.repeats}  {load.size:,} runs, {load.latency:g} s, {load.provider}: "
                f"{trial.requests:,} requests, {trial.cpu:.1f} s of CPU, delay {trial.delay:.1f} s"
            )
    return found


def play(load: Load, late: float = 0.0) -> Trial:
    """Wait once, in a process of its own, which begins so many seconds after the runs."""
    with _prepared(load, traced=False) as (runs, wait):
        if load.latency:
            runs.answer_late(load.latency)
        runs.release(FIRST_ENDS_AFTER - late)
        ahead = runs.clock_ahead()
        requests, connections = runs.counted()
        result = wait()
        requests_after, connections_after = runs.counted()
        runs.answer_at_once()
        return _trial(
            load, result, runs.ends(), ahead, requests_after - requests, connections_after - connections
        )


def bytes_of_a_wait(load: Load) -> float:
    """What one of the waits has allocated while it waits."""
    with _prepared(load, traced=True) as (_, wait):
        return float(wait()["bytes"]) / load.size


@contextmanager
def _prepared(load: Load, *, traced: bool) -> Iterator[tuple[WaitingRuns, Callable[[], dict[str, Any]]]]:
    """The runs, and what makes a process that has imported everything wait for them and tell of it."""
    with tempfile.TemporaryDirectory(prefix="bench-waits-") as temporary:
        folder = Path(temporary)
        with waiting_runs(folder / "dbt", load.size) as runs:
            orders = {
                "provider": load.provider,
                "poll": POLL_SECONDS,
                "run_ids": runs.groups[0],
                "ended_run_id": runs.ended_run_id,
                "traced": traced,
            }
            file = folder / "orders.json"
            file.write_text(json.dumps(orders))
            connection = {
                "conn_type": CONNECTION_TYPES[load.provider],
                "host": runs.emulator.url.removeprefix("https://"),
                "login": str(ACCOUNT_ID),
                "password": runs.emulator.token,
            }
            env = isolated_environment(folder) | runs.emulator.trust
            env |= {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW_CONN_BENCH": json.dumps(connection)}
            service = Service(
                f"bench_waiter.py ({load.provider})",
                [sys.executable, str(Path(__file__).with_name("bench_waiter.py")), str(file)],
                env=env,
                log=folder / "waiter.log",
                cwd=folder,
            )

            def wait() -> dict[str, Any]:
                (folder / "go").touch()
                return dict(json.loads(wait_for_file(folder / "result", service, PATIENCE)))

            try:
                wait_for_file(folder / "ready", service, START_SECONDS)
                yield runs, wait
            finally:
                service.stop()


def _trial(
    load: Load,
    result: dict[str, Any],
    ends: dict[int, float],
    ahead: float,
    requests: int,
    connections: int,
) -> Trial:
    events = {int(run_id): event for run_id, event in result["events"].items()}
    delays = [
        moment + ahead - ends[run_id] for run_id, (moment, status) in events.items() if status == "success"
    ] or [math.inf]
    return Trial(
        requests=requests,
        connections=connections,
        floor=floor_of(load.size, FIRST_ENDS_AFTER + LAST_ENDS_LATER),
        cpu=result["cpu"],
        memory=result["memory"],
        longest_block=result["longest_block"],
        longest_block_once_joined=result["longest_block_once_joined"],
        delay=statistics.median(delays),
        delay_95=percentile_95(delays),
        wrong=load.size - sum(status == "success" for _, status in events.values()),
    )


def sections(plan: Plan, found: dict[Load, list[Trial]]) -> list[Section]:
    """A table for each latency."""
    return [_section(plan, latency, found) for latency in plan.latencies]


def _section(plan: Plan, latency: float, found: dict[Load, list[Trial]]) -> Section:
    api = f"an API that takes {latency:g} s" if latency else "an API that answers at once"
    shown = Section(
        f"Waiting in one event loop, {api}",
        f"A look every {POLL_SECONDS:g} s at runs that take {FIRST_ENDS_AFTER:g} to "
        f"{FIRST_ENDS_AFTER + LAST_ENDS_LATER:g} s; {plan.repeats} processes each, medians, with least and "
        "most. Each begins another part of an interval after the runs, lest all meet their ends alike. "
        "CPU and memory are what comes on top when everything has been imported; the floor is one list of "
        f"{PAGE_SIZE} runs for each hundred runs and look. The official provider's triggers wait for no "
        f"more than {plan.official_max:,} runs here.",
        ("runs", *COMPARED),
        labels=2,
    )
    for size in plan.sizes:
        ours, official = _figures(found, Load(OURS, size, latency)), None
        if size <= plan.official_max:
            official = _figures(found, Load(OFFICIAL, size, latency))
        shown.rows.extend((f"{size:,}", *row) for row in compare(MEASURED, ours, official))
    return shown


def _figures(found: dict[Load, list[Trial]], load: Load) -> list[Spread]:
    return spreads([value(trial) for value in MEASURED.values()] for trial in found[load])


def memory_section(plan: Plan, say: Callable[[str], object]) -> Section:
    """What a wait takes beyond what Airflow itself takes for a trigger, counted object by object."""
    shown = Section(
        "Memory of one waiting run",
        "What Python has allocated between two looks, counted by tracemalloc. Airflow's own share is that of "
        "a trigger that waits for nothing.",
        ("runs", "provider", "bytes a run", "… beyond Airflow's own"),
        labels=2,
    )
    sizes = {OURS: max(plan.sizes)}
    if known := [size for size in plan.sizes if size <= plan.official_max]:
        sizes[OFFICIAL] = max(known)
    for provider, size in sizes.items():
        own, taken = (bytes_of_a_wait(Load(one, size)) for one in (BARE, provider))
        say(f"{size:,} runs, {provider}: {taken:,.0f} bytes a run, {own:,.0f} of them Airflow's own")
        shown.rows.append((f"{size:,}", provider, number(taken), number(taken - own)))
    return shown


def panels(found: dict[Load, list[Trial]]) -> dict[str, dict[tuple[str, str], dict[int, Spread]]]:
    """What the picture shows: title → provider and latency → size → what was measured."""
    drawn: dict[str, dict[tuple[str, str], dict[int, Spread]]] = {}
    for name, title in PANELS.items():
        lines = drawn.setdefault(title, {})
        for load, trials in found.items():
            line = (load.provider, f"{load.latency:g} s an answer" if load.latency else "")
            lines.setdefault(line, {})[load.size] = Spread(tuple(MEASURED[name](trial) for trial in trials))
    return drawn
