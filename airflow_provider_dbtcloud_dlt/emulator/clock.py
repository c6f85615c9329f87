"""Time as the emulator sees it: whole microseconds since the epoch, UTC."""

import threading
import time
from typing import Protocol

SECOND = 1_000_000


class Clock(Protocol):
    """Anything that knows what time it is, and can be told to move forward."""

    def now(self) -> int:
        """Return microseconds since the epoch."""

    def advance(self, seconds: float) -> None:
        """Move forward by so many seconds; raises ValueError for a negative number."""


class RealClock:
    """The machine's clock, ahead of it by as much as it was moved forward."""

    def __init__(self) -> None:
        self._ahead = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return time.time_ns() // 1000 + self._ahead

    def advance(self, seconds: float) -> None:
        """Move forward.

        Args:
            seconds: How far; not negative.

        Raises:
            ValueError: If `seconds` is negative: what happened cannot be undone.
        """
        if not seconds >= 0:
            raise ValueError(f"The clock only moves forward; got {seconds} seconds.")
        with self._lock:
            self._ahead += round(seconds * SECOND)


class VirtualClock(RealClock):
    """A clock that stands still until it is told to move, for tests that must not sleep.

    Args:
        start: Microseconds since the epoch at which it stands; the machine's time if left out.
    """

    def __init__(self, start: int | None = None) -> None:
        super().__init__()
        self._start = super().now() if start is None else start

    def now(self) -> int:
        """Return microseconds since the epoch."""
        return self._start + self._ahead
