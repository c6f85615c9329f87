"""On which line of the picture a node is drawn: that of dbt's thread, as far as threads are known."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult

MOST_THREADS = 256
NAME_LENGTH = 20
_ROUNDING = 0.001


@dataclass(frozen=True)
class Lanes:
    """The lines of a picture.

    Attributes:
        names: One a line, such as ``Thread-1``; numbers where these are no threads.
        are_threads: Whether each is one of dbt's threads.
        of: The line of each result, by its place; none for those without times.
    """

    names: tuple[str, ...]
    are_threads: bool
    of: dict[int, int]


def lanes(results: Sequence[NodeResult]) -> Lanes:
    """Give each result a line on which nothing else runs at its time.

    An engine may tell no threads, or run several nodes at once in one: then each line takes what can follow
    on what it has, so that there are as many as nodes ran at once.
    """
    spans = sorted(
        (one.began, one.ended, place)
        for place, one in enumerate(results)
        if one.began is not None and one.ended is not None
    )
    threads: dict[str, list[tuple[float, float, int]]] = {}
    for span in spans:
        threads.setdefault(results[span[2]].thread, []).append(span)
    if (
        "" in threads
        or len(threads) > MOST_THREADS
        or any(
            later[0] < earlier[1] - _ROUNDING for one in threads.values() for earlier, later in pairwise(one)
        )
    ):
        return _packed(spans)
    names = sorted(threads, key=_natural)
    of = {place: lane for lane, name in enumerate(names) for _, _, place in threads[name]}
    return Lanes(tuple(name.removesuffix(" (worker)")[:NAME_LENGTH] for name in names), True, of)


def _packed(spans: Sequence[tuple[float, float, int]]) -> Lanes:
    of: dict[int, int] = {}
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for began, ended, place in spans:
        while busy and busy[0][0] <= began + _ROUNDING:
            heapq.heappush(free, heapq.heappop(busy)[1])
        of[place] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (ended, of[place]))
    return Lanes(tuple(str(lane + 1) for lane in range(max(of.values(), default=-1) + 1)), False, of)


def _natural(name: str) -> list[tuple[int, str]]:
    """So that Thread-10 comes after Thread-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
