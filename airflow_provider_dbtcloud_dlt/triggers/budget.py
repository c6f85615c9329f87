"""How many requests the waits of this process may make to one dbt Cloud account.

Whoever waits loses nothing by it: when there are more waits than the budget bears, they look less often.
"""

from __future__ import annotations

import logging

from airflow_provider_dbtcloud_dlt.client import RateLimitError
from airflow_provider_dbtcloud_dlt.client.waiting import MAX_RETRY_AFTER

log = logging.getLogger(__name__)

_BURST_SECONDS = 10.0
"""What was not used of the budget for so long may be used at once."""
_CALM_SECONDS = 60.0
"""After so long without a delay the budget is said to be enough again."""
_FIRST_COOL_DOWN = 1.0
SPARE_PER_MINUTE = 100.0
SPARE_SHARE = 0.1
"""Of an account's budget: what no wait depends on gets so much at most."""

# Kept for the life of the process: who comes next must not find a cool-down forgotten.
_budgets: dict[tuple[str, str], Budget] = {}


class Budget:
    """Gives each request its time, in the order in which they are asked for: nobody who waits is left out.

    Args:
        whom: who is asked, for messages.
        per_minute: how many requests at most.
    """

    def __init__(self, whom: str, per_minute: float) -> None:
        self.per_minute = per_minute
        self._whom = whom
        self._wishes: dict[str, float] = {}
        self._used_until = 0.0
        self._closed_until = 0.0
        self._spare_from = 0.0
        self._cool_down = _FIRST_COOL_DOWN
        self._short_since: float | None = None
        self._delayed_at = 0.0

    @classmethod
    def shared(cls, host: str, account_id: str, conn_id: str, per_minute: float) -> Budget:
        """The account's budget in this process; of several connections to it, the most modest one counts."""
        found = _budgets.get((host, account_id))
        if found is None:
            found = _budgets[host, account_id] = cls(f"account {account_id} at {host}", per_minute)
        found._wishes[conn_id] = per_minute
        found.per_minute = min(found._wishes.values())
        return found

    def reserve(self, now: float) -> float:
        """The time from which one more request may be made; who has one keeps it until it is used."""
        start = max(now, self._used_until - _BURST_SECONDS)
        self._used_until = max(now, self._used_until) + 60 / self.per_minute
        if start > now:
            self._delayed(now, f"more than {self.per_minute:g} requests a minute (requests_per_minute)")
        elif self._short_since is not None and now - self._delayed_at > _CALM_SECONDS:
            log.info("dbt Cloud, %s: waits look at their runs as often as asked for again.", self._whom)
            self._short_since = None
        return start

    def spare_in(self, now: float) -> float:
        """Take one of the requests that the waits leave over, for what none of them depends on.

        Returns:
            Zero when it was taken; else the seconds after which to try again. At least half of what may be
            used at once stays with the waits.
        """
        cost = 60 / self.per_minute
        used_until = max(now, self._used_until) + cost
        opens = max(self._closed_until, self._spare_from, used_until - _BURST_SECONDS / 2)
        if opens > now:
            return opens - now
        self._used_until = used_until
        self._spare_from = now + max(60 / SPARE_PER_MINUTE, cost / SPARE_SHARE)
        return 0.0

    def opens(self, reserved: float) -> float:
        """When a reserved request may really be made: after a cool-down, if there is one."""
        return max(reserved, self._closed_until)

    def refused(self, error: RateLimitError, now: float) -> None:
        """The account's limit was hit, by whomever: nobody here asks until it has cooled down."""
        # A server that asks for no pause at all means it as little as one that says nothing.
        pause = min(error.retry_after or self._cool_down, MAX_RETRY_AFTER)
        if now >= self._closed_until:  # else that was a request that was on its way already
            self._cool_down = min(2 * self._cool_down, MAX_RETRY_AFTER)
        self._closed_until = max(self._closed_until, now + pause)
        self._delayed(now, "more than dbt Cloud allows (429)")

    def answered(self, now: float) -> None:
        """A request was answered: the next cool-down is a short one again."""
        if now >= self._closed_until:  # else it was on its way before the limit was hit
            self._cool_down = _FIRST_COOL_DOWN

    def _delayed(self, now: float, what: str) -> None:
        self._delayed_at = now
        if self._short_since is None:
            self._short_since = now
            log.warning("dbt Cloud, %s: waits ask for %s; they look less often now.", self._whom, what)
