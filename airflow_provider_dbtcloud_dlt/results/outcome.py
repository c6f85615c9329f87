"""How each node of a dbt project ended: ``run_results.json`` and ``sources.json`` of a run's steps.

See https://docs.getdbt.com/reference/artifacts/run-results-json and …/sources-json. What an engine leaves
out, or writes otherwise, is left out here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

from airflow_provider_dbtcloud_dlt.results.decoding import decoded
from airflow_provider_dbtcloud_dlt.results.manifest import Node

FILES = ("run_results.json", "sources.json")
"""The artifacts of a step that are read."""

FAILED = frozenset(("error", "fail", "runtime error", "partial success"))
MADE = frozenset(("success", "partial success"))
"""How a node ends that has written its relation; the engine's ``reused`` and ``no-op`` write none."""

MAKERS = ("model", "seed", "snapshot")
"""The kinds of nodes that make relations."""

TESTS = ("test", "unit_test")

BUILDS_NOTHING = frozenset(("compile", "generate", "list", "parse", "show"))
"""dbt's commands whose results are of nodes that were compiled only."""

MAX_SECONDS = 1e9
_HASH = re.compile(r"\.[0-9a-f]{10}$")  # dbt tells tests of the same name apart by it
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_HEAD = re.compile(r"(?P<kind>[\w ]*Error) in .*")
_COMPILED = re.compile(r"compiled code at \S+")


class _Result(msgspec.Struct):
    unique_id: Any = None
    status: Any = None
    execution_time: Any = None
    message: Any = None
    error: Any = None
    failures: Any = None
    adapter_response: Any = None
    relation_name: Any = None
    max_loaded_at_time_ago_in_s: Any = None
    thread_id: Any = None
    timing: Any = None


class _File(msgspec.Struct):
    results: list[_Result]
    args: Any = None


@dataclass(frozen=True)
class NodeResult:
    """How a node ended.

    Attributes:
        step: The number of the step that ran it, from 1; None if that is not known.
        unique_id: dbt's id, such as ``model.shop.orders``.
        status: dbt's word.
        seconds: How long it took.
        rows: How many rows it has written, where the adapter says.
        failures: How many rows a test has found.
        message: What dbt or the database said.
        relation: The relation as SQL names it.
        thread: The name of dbt's thread that ran it; empty if that is not known.
        began: When it was begun, in seconds since the epoch; None if it was not, or that is not known.
        ended: When it had ended, likewise.
    """

    step: int | None
    unique_id: str
    status: str
    seconds: float | None = None
    rows: int | None = None
    failures: int | None = None
    message: str = ""
    relation: str | None = None
    thread: str = ""
    began: float | None = None
    ended: float | None = None

    @property
    def kind(self) -> str:
        """What it is: ``model``, ``test``, ``seed``, ``snapshot``, ``source`` …"""
        return kind_of(self.unique_id)

    @property
    def name(self) -> str:
        """What a person calls it: its id without kind, package and a test's hash."""
        name = self.unique_id.split(".", 2)[-1]
        return _HASH.sub("", name) if self.kind == "test" else name

    @property
    def has_failed(self) -> bool:
        """Whether it is one that makes dbt fail."""
        return self.status in FAILED

    @property
    def reason(self) -> str:
        """Why it failed, on one line: without the node's name and file, which dbt puts first."""
        if self.failures:
            return f"{self.failures} failing row{'s' if self.failures != 1 else ''}"
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        lines = [line for line in lines if not _COMPILED.fullmatch(line)]
        if not lines:
            return self.status
        head = _HEAD.fullmatch(lines[0])
        return ": ".join([head["kind"], " ".join(lines[1:])]) if head and lines[1:] else " ".join(lines)


@dataclass(frozen=True)
class Outcome:
    """How the nodes of a run ended, as far as it is known.

    Attributes:
        results: By the nodes' ids; of a node that several steps ran, the last one.
        nodes: What the manifest says of them; empty if there is none.
        artifacts: The paths of the artifacts, by step.
        all_results: In the order of the steps, of a node that several steps ran each one.
    """

    results: Mapping[str, NodeResult]
    nodes: Mapping[str, Node] = field(default_factory=dict)
    artifacts: Mapping[int | None, list[str]] = field(default_factory=dict)
    all_results: Sequence[NodeResult] = ()

    def ordered(self) -> list[NodeResult]:
        """The results: those that failed, then those with a warning, then the others; each slowest first."""
        return sorted(
            self.results.values(),
            key=lambda one: (not one.has_failed, one.status != "warn", -(one.seconds or 0.0)),
        )

    def failed(self) -> list[NodeResult]:
        """The results of those that failed."""
        return [one for one in self.ordered() if one.has_failed]

    def counts(self) -> dict[str, int]:
        """How many nodes ended how, most frequent first."""
        return dict(Counter(one.status for one in self.results.values()).most_common())

    def compiled_path(self, result: NodeResult) -> str | None:
        """Where a node's compiled SQL is, if it is among its step's artifacts: ``target/compiled/…``."""
        node = self.nodes.get(result.unique_id)
        # dbt tells it from the project's folder or the file system's root, the API from the target folder.
        _, slash, path = f"/{(node and node.compiled_path) or ''}".partition("/compiled/")
        is_there = slash and f"compiled/{path}" in self._known.get(result.step, ())
        return f"target/compiled/{path}" if is_there else None

    @cached_property
    def _known(self) -> Mapping[int | None, frozenset[str]]:
        return {step: frozenset(paths) for step, paths in self.artifacts.items()}

    def made(self) -> list[NodeResult]:
        """The models, seeds and snapshots that were written."""
        return [one for one in self.results.values() if one.kind in MAKERS and one.status in MADE]

    def failed_tests(self) -> dict[str, list[str]]:
        """The names of the tests that found something, if only a warning, by the nodes that they are about.

        Needs the manifest.
        """
        found: dict[str, list[str]] = {}
        for result in self.results.values():
            if result.kind in TESTS and (result.has_failed or result.status == "warn"):
                for unique_id in self.nodes.get(result.unique_id, Node()).tested:
                    found.setdefault(unique_id, []).append(result.name)
        return found


def kind_of(unique_id: str) -> str:
    """What a node is, by its id: ``model``, ``seed``, ``test`` …"""
    return unique_id.partition(".")[0]


def read_results(content: Any, step: int | None, name: str = FILES[0]) -> list[NodeResult]:
    """Read one of the files.

    Args:
        content: The file's bytes, or a memory map of it.
        step: The number of its step.
        name: Its name.

    Returns:
        The results, of ``dbt compile`` and its like only those that failed.

    Raises:
        ValueError: It is no such file.
    """
    found = decoded(content, _File, name)
    results = [_read(one, step) for one in found.results]
    command = found.args.get("which") if isinstance(found.args, Mapping) else None
    if command in BUILDS_NOTHING:
        return [one for one in results if one.has_failed]
    return results


def latest(results: Iterable[NodeResult]) -> dict[str, NodeResult]:
    """The last result of each node."""
    return {one.unique_id: one for one in results}


def _read(result: _Result, step: int | None) -> NodeResult:
    message = _text(result.message) or _text(result.error)
    if not message and (age := _number(result.max_loaded_at_time_ago_in_s)) is not None:
        message = f"its newest row is {age / 3600:.1f} hours old"
    unique_id = _text(result.unique_id) or "(no name)"
    is_test = unique_id.partition(".")[0] in TESTS
    seconds = _number(result.execution_time)
    began, ended = _times(result.timing, seconds)
    response = result.adapter_response if isinstance(result.adapter_response, Mapping) else {}
    return NodeResult(
        step=step,
        unique_id=unique_id,
        status=_text(result.status).lower()[:30] or "unknown",
        seconds=seconds,
        rows=None if is_test else _count(response.get("rows_affected")),
        failures=_count(result.failures),
        message=_COLOUR.sub("", message),
        relation=_text(result.relation_name) or None,
        thread=_text(result.thread_id)[:60],
        began=began,
        ended=ended,
    )


def _times(timing: object, seconds: float | None) -> tuple[float | None, float | None]:
    """From when to when a node ran: dbt tells of its compilation and of its execution."""
    parts = [part for part in timing if isinstance(part, Mapping)] if isinstance(timing, list) else []
    starts = [moment for part in parts if (moment := _moment(part.get("started_at"))) is not None]
    ends = [moment for part in parts if (moment := _moment(part.get("completed_at"))) is not None]
    if not starts:
        return None, None
    began = min(starts)
    return began, max(began, *ends) if ends else began + (seconds or 0.0)


def _moment(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MAX_SECONDS else None


def _count(value: object) -> int | None:
    """A count of rows; databases that do not know it say -1."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
