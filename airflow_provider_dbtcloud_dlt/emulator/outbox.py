"""What waits to be sent, is sent from a thread of its own, and tried again when that failed.

The thread begins with the first thing to send: without any there is none.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace


@dataclass(order=True)
class _Delivery:
    """Something to send; `at` is a reading of `time.monotonic()`, and the number decides between equals."""

    at: float
    number: int
    to: str = field(compare=False)
    body: bytes = field(compare=False)
    tries: int = field(default=0, compare=False)


class Outbox:
    """Sends one thing after another; one that waits for its next try does not hold up the others.

    Args:
        send: Sends a body to a receiver and returns whether that is the end of it; called without any lock.
        pauses: Seconds before each retry.
        give_up: Called with a receiver for whom the last retry has failed.
    """

    def __init__(
        self, send: Callable[[str, bytes], bool], pauses: Sequence[float], give_up: Callable[[str], None]
    ) -> None:
        self._send = send
        self._pauses = pauses
        self._give_up = give_up
        self._waiting: list[_Delivery] = []
        self._numbers = itertools.count()
        self._sending = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, to: str, body: bytes) -> None:
        """Send something as soon as what came before it has been tried."""
        self._push(_Delivery(time.monotonic(), next(self._numbers), to, body))

    def flush(self, timeout: float) -> None:
        """Wait until everything was sent or given up.

        Raises:
            TimeoutError: If that takes more than so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._waiting and not self._sending, timeout):
                raise TimeoutError(f"Webhooks are still being delivered after {timeout:g} seconds.")

    def close(self) -> int:
        """Stop, without waiting long for a receiver that takes its time; return how much was not sent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1)
        return len(self._waiting) + self._sending

    def _push(self, delivery: _Delivery) -> None:
        with self._changed:
            heapq.heappush(self._waiting, delivery)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="dbt-cloud-emulator-webhooks", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            if not self._send(delivery.to, delivery.body):
                self._again(delivery)
            with self._changed:
                self._sending = False
                self._changed.notify_all()

    def _next(self) -> _Delivery | None:
        """Wait for what is to be sent next; None at the end."""
        with self._changed:
            while not self._closed:
                wait = self._waiting[0].at - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    self._sending = True
                    return heapq.heappop(self._waiting)
                self._changed.wait(wait)
        return None

    def _again(self, delivery: _Delivery) -> None:
        if delivery.tries == len(self._pauses):
            self._give_up(delivery.to)
            return
        at = time.monotonic() + self._pauses[delivery.tries]
        self._push(replace(delivery, at=at, tries=delivery.tries + 1))
