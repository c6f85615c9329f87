"""Waits until dbt Cloud's rate limit lets one ask again, where nothing else would ask later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from airflow_provider_dbtcloud_dlt.client.errors import RateLimitError
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.client.waiting import MAX_RETRY_AFTER

_ResultT = TypeVar("_ResultT")


def through_cool_down(
    call: Callable[[], _ResultT], log: Logger, sleep: Callable[[float], None] = tenacity.sleep
) -> _ResultT:
    """Call, and again after each refusal by the rate limit, within one cool-down in all.

    Args:
        call: asks dbt Cloud; nothing has come of what the rate limit refused.
        log: is told what is waited for, and how long.
        sleep: waits so many seconds.

    Returns:
        What `call` returned.

    Raises:
        RateLimitError: the cool-down is over, and still the rate limit refuses.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        log.warning("%s Waiting %.0f s for that to pass.", _refusal(state), state.upcoming_sleep)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(RateLimitError),
        wait=_pause,
        stop=_is_over,
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )(call)


def _refusal(state: tenacity.RetryCallState) -> RateLimitError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, RateLimitError) else None


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next call: what the server asked for, else what dbt documents; at most the rest."""
    error = _refusal(state)
    asked = error.retry_after if error else None
    return min(asked or MAX_RETRY_AFTER, MAX_RETRY_AFTER - state.idle_for)


def _is_over(state: tenacity.RetryCallState) -> bool:
    """The client asks again by itself where the pauses are short: the time of the calls counts as well."""
    return max(state.seconds_since_start or 0.0, state.idle_for) >= MAX_RETRY_AFTER
