"""How often a run is looked at, and how late its end is seen: in virtual time, for jobs of some lengths."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from bench_report import Section, Spread, number, percentile_95

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus

LENGTHS = {"1 min": 60.0, "10 min": 600.0, "1 h": 3600.0, "3 h": 3 * 3600.0}
TRIALS = 1000
EARLIER_RUNS = 10
JOBS_DIFFER = 0.2
FIRST_LOOK_SECONDS = 5.0
"""When a run is looked at for the first time, at the latest, after its start."""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Pause = Callable[[float], float]
"""Seconds since the run's start → seconds until the next look."""
Pauses = Callable[[float, float, random.Random], Pause]
"""A job's usual length, how much its runs differ, and chance → how its next run is looked at."""


def watch(length: float, first_look: float, pause: Pause) -> tuple[int, float]:
    """Watch one run; returns how many looks it took, and how long after its end the last one was."""
    looks, elapsed = 1, first_look
    while elapsed < length:
        elapsed += pause(elapsed)
        looks += 1
    return looks, elapsed - length


def section(trials: int = TRIALS) -> Section:
    """Play all ways of looking for all lengths."""
    found = Section(
        f"Looks at one run, and the delay until its end is seen ({trials:,} runs each, virtual time)",
        "Each run is of another job, which usually takes the named time, give or take a fifth; the run "
        "itself takes what its job usually does, give or take what stands behind ± (else 1 %). A habit is "
        f"read off {EARLIER_RUNS} earlier runs. Medians, with least and most.",
        ("job", "how it is looked at", "looks", "delay, s", "delay at the 95th percentile, s"),
        labels=2,
    )
    for name, length in LENGTHS.items():
        for way, spread, pauses in _ways():
            chance = random.Random(f"{name} {way}")
            watched = [_watch_one(length, spread, pauses, chance) for _ in range(trials)]
            looks, delays = (Spread(values) for values in zip(*watched, strict=True))
            found.rows.append((name, way, str(looks), str(delays), number(percentile_95(delays.values))))
    return found


def _watch_one(length: float, spread: float, pauses: Pauses, chance: random.Random) -> tuple[int, float]:
    usual = _about(length, JOBS_DIFFER, chance)  # else looks at fixed times would meet all ends alike
    pause = pauses(usual, spread, chance)
    return watch(_about(usual, spread, chance), chance.uniform(0, FIRST_LOOK_SECONDS), pause)


def _ways() -> Iterator[tuple[str, float, Pauses]]:
    """Each way to look at runs: its name, how much their lengths vary, and what makes the pauses."""
    regular, irregular = 0.01, 0.4
    yield "every 60 s (the official default)", regular, lambda *_: lambda _: 60.0
    yield "every 10 s", regular, lambda *_: lambda _: 10.0
    yield "adaptive, without a history", regular, lambda *_: _adaptive([])
    yield "adaptive, regular job (±1 %)", regular, lambda *given: _adaptive(_history(*given))
    yield "adaptive, irregular job (±40 %)", irregular, lambda *given: _adaptive(_history(*given))


def _adaptive(history: list[Run]) -> Pause:
    from airflow_provider_dbtcloud_dlt.client.cadence import Habit, pause_for

    habit = Habit.of(history)
    run = Run(id=1, status=RunStatus.RUNNING, created_at=BEGIN, started_at=BEGIN)
    return lambda elapsed: pause_for(run, BEGIN.timestamp() + elapsed, habit)


def _history(length: float, spread: float, chance: random.Random) -> list[Run]:
    lasted = [timedelta(seconds=_about(length, spread, chance)) for _ in range(EARLIER_RUNS)]
    return [
        Run(id=number, status=RunStatus.SUCCESS, started_at=BEGIN, finished_at=BEGIN + one, run_duration=one)
        for number, one in enumerate(lasted, start=1)
    ]


def _about(length: float, spread: float, chance: random.Random) -> float:
    return length * chance.uniform(1 - spread, 1 + spread)
