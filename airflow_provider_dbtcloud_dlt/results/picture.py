"""A run as a picture of bounded size: which node ran when, on which thread, and how it ended.

It is an XCom, which the plug-in's page draws. Names and errors are those that the summary has too; there is
neither SQL nor anything else of the project.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, TypeVar

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.critical_path import critical_path
from airflow_provider_dbtcloud_dlt.results.lanes import lanes
from airflow_provider_dbtcloud_dlt.results.outcome import TESTS, NodeResult, Outcome

VERSION = 1
PICTURE_BYTES = 131_072
"""What the XCom may have at most, in characters of its JSON, all of which are ASCII."""

MOST_NODES = 5000
"""More do not fit, however short their names are."""

TRIALS = 100
"""How finely it is found out how many do."""

PAUSES = 200
"""What is folded is drawn as one bar unless a pause in it is longer than the run by this number."""

TOLD_REASONS = 100
REASON_LENGTH = 200
REASONS_BYTES = 16_384
NAME_LENGTH = 200
TEXT_LENGTH = 100
UNKNOWN = -1

_QUOTED_CODE = re.compile(r"\s*\bLINE \d+:.*", re.DOTALL)
"""Where some databases begin to quote the statement that they refuse."""
_INVOKED = re.compile(r"Invoke dbt with `(?P<command>.*?)(?P<vars>\s--vars\b.*)?`", re.DOTALL)
"""What dbt Cloud calls a step; variables are nothing to show to all that may see the picture."""
_WordT = TypeVar("_WordT")


def picture(run: Run, outcome: Outcome) -> dict[str, Any]:
    """A run as JSON of bounded size.

    Returns:
        ``version``; ``run``: ``id``, ``status``, ``seconds``; ``began``, the moment that times count from, in
        milliseconds since the epoch; ``counts`` by status; ``lanes``, their names; ``lanes_are_threads``;
        ``nodes``: ``name``, a list in which each leaves out as many characters as it has in common with the
        one before, and columns of numbers as text: ``shared`` (these characters), ``group``, ``status``,
        ``step`` (places in ``groups``, such as ``model.shop``, ``statuses``, and ``steps``, each a number and
        a name), ``lane``, ``start`` and ``length`` in milliseconds, ``rows`` (of a test the failing ones),
        where -1 is what is not known; ``critical``: the places of the nodes on the critical path in the order
        of time, None without a manifest; ``critical_length``; ``reasons`` of nodes that failed, by their
        places; ``folded``: nodes left out, those that follow on another in a lane as one: columns ``lane``,
        ``start``, ``length``, ``count``, ``failed``; ``left_out``: how many.
    """
    drawing = _Drawing(run, outcome)
    every = len(drawing.results)
    if every <= MOST_NODES and _size(told := drawing.told(every)) <= PICTURE_BYTES:
        return told
    most = min(every, MOST_NODES)
    fewer = range(most, -1, -max(1, most // TRIALS))
    fits = bisect_left(fewer, True, key=lambda number: _size(drawing.told(number)) <= PICTURE_BYTES)
    return drawing.told(fewer[fits] if fits < len(fewer) else 0)


def _size(told: dict[str, Any]) -> int:
    return len(json.dumps(told))


class _Drawing:
    """All that there is to draw; how much of it is told is decided afterwards."""

    def __init__(self, run: Run, outcome: Outcome) -> None:
        results = outcome.all_results or outcome.results.values()
        self.run = run
        self.counts = dict(list(outcome.counts().items())[:20])
        self.results = results = sorted(results, key=lambda one: (_group(one), one.name, one.began or 0.0))
        self.lanes = lanes(results)
        self.path = critical_path(results, outcome.nodes) if outcome.nodes else None
        self.began = min((one.began for one in results if one.began is not None), default=None)
        self.start = [self._milliseconds(one.began) for one in results]
        self.length = [
            round((one.seconds or 0) * 1000) if start == UNKNOWN else self._milliseconds(one.ended) - start
            for one, start in zip(results, self.start, strict=True)
        ]
        path = frozenset(self.path or ())
        self.important = sorted(
            range(len(results)),
            key=lambda place: (place not in path, not results[place].has_failed, -self.length[place]),
        )

    def _milliseconds(self, moment: float | None) -> int:
        return UNKNOWN if moment is None or self.began is None else round((moment - self.began) * 1000)

    def told(self, most: int) -> dict[str, Any]:
        """The picture with so many nodes; the others are folded."""
        kept = sorted(self.important[:most])
        places = {place: number for number, place in enumerate(kept)}
        found = [self.results[place] for place in kept]
        names = [one.name[:NAME_LENGTH] for one in found]
        shared = [0, *(_shared(*pair) for pair in pairwise(names))]
        steps, step = _numbered(one.step for one in found)
        statuses, status = _numbered(one.status for one in found)
        groups, group = _numbered(map(_group, found))
        path = None if self.path is None else [places[place] for place in self.path if place in places]
        return {
            "version": VERSION,
            "run": {
                "id": self.run.id,
                "status": self.run.status.humanized,
                "seconds": None if self.run.duration is None else self.run.duration.total_seconds(),
            },
            "began": None if self.began is None else round(self.began * 1000),
            "steps": [[number, self._step_name(number)] for number in steps],
            "lanes": list(self.lanes.names),
            "lanes_are_threads": self.lanes.are_threads,
            "statuses": statuses,
            "groups": groups,
            "counts": self.counts,
            "critical": None if path is None else _column(path),
            "critical_length": sum(self.length[place] for place in self.path or ()),
            "reasons": _reasons(found),
            "nodes": {
                "name": [name[start:] for name, start in zip(names, shared, strict=False)],
                "shared": _column(shared[: len(names)]),
                "group": _column(group),
                "status": _column(status),
                "step": _column(step),
                "lane": _column(self.lanes.of.get(place, UNKNOWN) for place in kept),
                "start": _column(self.start[place] for place in kept),
                "length": _column(self.length[place] for place in kept),
                "rows": _column(map(_rows, found)),
            },
            "folded": self._folded(places) if kept else {},
            "left_out": len(self.results) - len(kept),
        }

    def _step_name(self, number: int | None) -> str:
        names = (step.name for step in self.run.run_steps if step.index == number)
        name = next(filter(None, names), "")
        invoked = _INVOKED.fullmatch(name)
        return (f"{invoked['command']}{' …' if invoked['vars'] else ''}" if invoked else name)[:TEXT_LENGTH]

    def _folded(self, kept: Mapping[int, int]) -> dict[str, str]:
        """Those that are not told: what follows on another in a lane, without a longer pause, is one bar."""
        start, length = self.start, self.length
        timed = sorted(self.lanes.of, key=start.__getitem__)
        pause = max((start[place] + length[place] for place in timed), default=0) / PAUSES
        last: dict[int, list[int]] = {}
        bars: list[list[int]] = []
        for place in timed:
            lane = self.lanes.of[place]
            if place in kept:
                last.pop(lane, None)
                continue
            bar = last.get(lane)
            if bar is None or start[place] - bar[1] - bar[2] > pause:
                bar = last[lane] = [lane, start[place], 0, 0, 0]
                bars.append(bar)
            bar[2] = start[place] + length[place] - bar[1]
            bar[3] += 1
            bar[4] += self.results[place].has_failed
        columns = ("lane", "start", "length", "count", "failed")
        return {name: _column(bar[place] for bar in bars) for place, name in enumerate(columns)}


def _reasons(results: Sequence[NodeResult]) -> dict[str, str]:
    """Why nodes failed, as far as there is room; without the code that some databases quote."""
    failed = (place for place, one in enumerate(results) if one.has_failed)
    told = {
        str(place): " ".join(_QUOTED_CODE.sub("", results[place].reason[:1000]).split())[:REASON_LENGTH]
        for place in islice(failed, TOLD_REASONS)
    }
    while len(json.dumps(told)) > REASONS_BYTES:
        told.popitem()
    return told


def _group(result: NodeResult) -> str:
    """A node's kind and package, such as ``model.shop``."""
    parts = result.unique_id.split(".", 2)
    return ".".join(parts[:2])[:TEXT_LENGTH] if len(parts) == 3 else ""


def _rows(result: NodeResult) -> int:
    rows = result.failures if result.kind in TESTS else result.rows
    return UNKNOWN if rows is None else rows


def _shared(before: str, name: str) -> int:
    """How many characters two names have in common; none that JavaScript counts otherwise."""
    longest = min(len(before), len(name))
    shared = bisect_left(range(longest), True, key=lambda number: before[: number + 1] != name[: number + 1])
    return shared if name[:shared].isascii() else 0


def _numbered(words: Iterable[_WordT]) -> tuple[list[_WordT], list[int]]:
    """Each word once, and of each its place among these."""
    places: dict[_WordT, int] = {}
    numbers = [places.setdefault(word, len(places)) for word in words]
    return list(places), numbers


def _column(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))
