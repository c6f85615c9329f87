"""dlt's progress, told in a task's log."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from dlt.common.runtime.collector_base import Collector

COUNTERS = {"Resources", "Files", "Items", "Jobs"}
"""Names that dlt gives to counters of its own; every other counter is a table, counted in rows."""


class TaskLog(Protocol):
    """What is used of a logger, be it Airflow's or one of ``logging``."""

    def info(self, event: Any, /, *args: Any) -> Any:
        """Log a line."""

    def warning(self, event: Any, /, *args: Any) -> Any:
        """Log a line that somebody should read."""


class LogProgress(Collector):
    """A dlt collector that tells each stage's start and end, and how far it is every few seconds.

    dlt's own ``LogCollector`` writes a block of several lines each second to stdout, which floods a task's
    log.

    Args:
        log: Where the lines go.
        interval: Seconds between two lines within a stage.
        on_step_end: Called when a step of the pipeline ends, well or not, before dlt forgets what it
            resolved.
        clock: Seconds that never go backwards; injected by tests.
    """

    def __init__(
        self,
        log: TaskLog,
        interval: float = 10.0,
        *,
        on_step_end: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = ""
        self._on_step_end = on_step_end
        self._log = log
        self._interval = interval
        self._clock = clock
        self._seen: set[str] = set()
        self._counts: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._grown: dict[str, float] = {}
        self._started = self._told = clock()

    def update(
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,
        message: str | None = None,
        label: str | None = None,
    ) -> None:
        """Count, and tell when the last line is old enough."""
        key = f"{name} {label.lower()}" if label else name
        if key.startswith("_dlt"):
            return
        self._counts[key] = self._counts.get(key, 0) + inc
        self._grown[key] = self._clock()
        if total is not None and key not in self._totals:
            self._totals[key] = total
        if inc_total:
            self._totals[key] = self._totals.get(key, 0) + inc_total
        if self._clock() - self._told >= self._interval:
            self._tell("")

    def _start(self, step: str) -> None:
        self._counts, self._totals, self._grown = {}, {}, {}
        self._started = self._told = self._clock()
        # dlt extracts its own state after the data, as a stage of the same name.
        if step not in self._seen:
            self._log.info("%s: started", step)

    def _stop(self) -> None:
        if self.step not in self._seen or self._counts.keys() - COUNTERS:
            self._tell("done")
        self._seen.add(self.step)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Tell how the stage ended; dlt's base class would call a failure an end like any other."""
        if exc_type is None:
            self._stop()
        else:
            self._tell("failed")

    def on_end_trace_step(self, *args: Any, **kwargs: Any) -> None:
        """Pass on that a step ended."""
        if self._on_step_end:
            self._on_step_end()

    def _tell(self, end: str) -> None:
        self._told = self._clock()
        state = f"{end} after {self._since(self._told)}" if end else f"{self._told - self._started:.0f} s"
        counts = ", ".join(self._count(key, ended=bool(end)) for key in self._counts)
        self._log.info("%s: %s%s", self.step, state, f" ({counts})" if counts else "")

    def _since(self, moment: float) -> str:
        return f"{moment - self._started:.1f} s"

    def _count(self, key: str, *, ended: bool) -> str:
        count = f"{self._counts[key]:,}"
        if key.partition(" ")[0] not in COUNTERS:
            # Resources are extracted by turns: each one's last row says how long it took.
            return f"{key}: {count} rows" + (f" after {self._since(self._grown[key])}" if ended else "")
        total = self._totals.get(key)
        return f"{key.lower()} {count}" + (f"/{total:,}" if total else "")
