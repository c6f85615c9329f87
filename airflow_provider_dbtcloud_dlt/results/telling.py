"""An outcome told: as a table, as one clause of a sentence, as a summary of bounded size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult, Outcome

TABLE_ROWS = 40
TOLD_ERRORS = 20
ERROR_LENGTH = 2000
NAME_LENGTH = 70
CLAUSE_NODES = 5
CLAUSE_LENGTH = 800
REASON_LENGTH = 200
SUMMARY_BYTES = 16_384
"""What an XCom may have at most, in characters of its JSON, all of which are ASCII."""


def clause(outcome: Outcome) -> str:
    """What failed: ``3 of 120 nodes failed: model.shop.orders (Database Error: …)``; empty if nothing did."""
    failed = outcome.failed()
    if not failed:
        return ""
    told = [f"{one.unique_id} ({_cut(one.reason, REASON_LENGTH)})" for one in failed[:CLAUSE_NODES]]
    while len(told) > 1 and sum(map(len, told)) > CLAUSE_LENGTH:
        told.pop()
    if rest := len(failed) - len(told):
        told.append(f"and {rest} more")
    return f"{len(failed)} of {_nodes(len(outcome.results))} failed: {', '.join(told)}"


def table(outcome: Outcome) -> str:
    """The nodes, failed and slowest first, with a line that says how many are left out."""
    ordered = outcome.ordered()
    shown, left = ordered[:TABLE_ROWS], ordered[TABLE_ROWS:]
    head = ("kind", "name", "status", "seconds", "rows")
    rows = [
        (one.kind, _cut(one.name, NAME_LENGTH), one.status, _seconds(one.seconds), _rows(one))
        for one in shown
    ]
    lines = _aligned([head, *rows], right=(3, 4))
    if left:
        failed = sum(one.has_failed for one in left)
        slowest = max(one.seconds or 0.0 for one in left)
        state = f"{failed} of them failed" if failed else "none of them failed"
        lines.append(f"… and {_more(len(left))}: {state}, the slowest took {slowest:.1f} s")
    return "\n".join(lines)


def heading(outcome: Outcome) -> str:
    """How many nodes ended how, such as ``5 nodes: 3 success, 1 error, 1 skipped``."""
    counts = ", ".join(f"{number} {status}" for status, number in outcome.counts().items())
    return f"{_nodes(len(outcome.results))}: {counts}" if counts else "no node was run"


def errors(outcome: Outcome) -> str:
    """Of each node that failed: its error, the number of failing rows, its compiled SQL's path."""
    failed = outcome.failed()
    told = [_error(outcome, one) for one in failed[:TOLD_ERRORS]]
    if rest := len(failed) - len(told):
        told.append(f"… and {_more(rest)} that failed")
    return "\n".join(told)


def _error(outcome: Outcome, result: NodeResult) -> str:
    where = "" if result.step is None else f" in step {result.step}"
    rows = f", {result.reason}" if result.failures else ""
    lines = [f"{result.unique_id}{where}: {result.status}{rows}"]
    lines += [f"    {line}" for line in _cut(result.message, ERROR_LENGTH, keep_lines=True).splitlines()]
    if path := outcome.compiled_path(result):
        lines.append(f"    compiled SQL: {path}")
    return "\n".join(lines)


def summary(run: Run, outcome: Outcome) -> dict[str, Any]:
    """A run as JSON of bounded size: details go when it would be larger, never the counts.

    Returns:
        ``run_id``, ``status``, ``seconds`` (of the run), ``node_seconds`` (of all nodes), ``nodes`` (how
        many), ``counts`` (by status), ``failed_count``, ``failed`` (a list of ``id``, ``step``, ``status``,
        ``failures``, ``message``, ``compiled_path``), ``artifact_count``, ``artifacts`` (names by step,
        without those in folders).
    """
    failed = outcome.failed()
    told: dict[str, Any] = {
        "run_id": run.id,
        "status": run.status.humanized,
        "seconds": None if run.duration is None else run.duration.total_seconds(),
        "node_seconds": round(sum(one.seconds or 0.0 for one in outcome.results.values()), 3),
        "nodes": len(outcome.results),
        "counts": dict(list(outcome.counts().items())[:20]),
        "failed_count": len(failed),
        "failed": [
            {
                "id": _cut(one.unique_id, 300),
                "step": one.step,
                "status": _cut(one.status, 30),
                "failures": one.failures,
                "message": _cut(one.reason, REASON_LENGTH),
                "compiled_path": outcome.compiled_path(one),
            }
            for one in failed[:50]
        ],
        "artifact_count": sum(map(len, outcome.artifacts.values())),
        "artifacts": {
            str(step or ""): names
            for step, paths in outcome.artifacts.items()
            if (names := [path for path in paths if "/" not in path])
        },
    }
    while len(json.dumps(told)) > SUMMARY_BYTES:
        if told["failed"]:
            told["failed"].pop()
        else:
            told["artifacts"].popitem()
    return told


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, length: int, *, keep_lines: bool = False) -> str:
    text = text if keep_lines else " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _nodes(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"


def _more(number: int) -> str:
    return f"{number} more node{'' if number == 1 else 's'}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _rows(result: NodeResult) -> str:
    if result.failures:
        return f"{result.failures} failing"
    return "" if result.rows is None else str(result.rows)
