"""Time as the emulator sees it: whole microseconds since the epoch, UTC."""

import threading
import time
from typing import Protocol

SECOND = 1_000_000


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now(self) -> int:
        """Return microseconds since the epoch."""


class RealClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return time.time_ns() // 1000


class VirtualClock:
    """A clock that stands still until it is told to move, for tests that must not sleep.

    Args:
        start: Microseconds since the epoch at which it stands; the machine's time if left out.
    """

    def __init__(self, start: int | None = None) -> None:
        self._now = RealClock().now() if start is None else start
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return microseconds since the epoch."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move forward.

        Args:
            seconds: How far; not negative.

        Raises:
            ValueError: If `seconds` is negative: what happened cannot be undone.
        """
        if seconds < 0:
            raise ValueError(f"The clock only moves forward; got {seconds} seconds.")
        with self._lock:
            self._now += round(seconds * SECOND)
