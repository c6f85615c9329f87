"""What a `run_results.json` says about each node, failed nodes first.

The file may be anything: dbt may have been killed while it wrote, and a scripted run leaves whatever a test
made up. What makes sense is told, and what does not is left out.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# Parsing takes a second for about so much; a person who has more waits for a page in vain.
MAX_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 1e9

FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
# dbt tells tests of the same name apart by a hash.
_HASH = re.compile(r"\.[0-9a-f]{10}$")


class UnreadableError(ValueError):
    """Nothing can be told of the file; the message says why."""


@dataclass(frozen=True)
class NodeResult:
    """How one node of the dbt project ended.

    Attributes:
        name: What a person calls it, such as ``stg_flights``.
        kind: What it is: ``model``, ``test``, ``seed``, …
        status: dbt's word for how it ended.
        seconds: How long it took; None if that is not told.
        message: What the database or dbt said.
        code: The SQL as it was compiled.
    """

    name: str
    kind: str
    status: str
    seconds: float | None = None
    message: str = ""
    code: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is one that makes dbt fail."""
        return self.status.lower() in FAILED


def parse(content: bytes) -> list[NodeResult]:
    """Read a file of results.

    Args:
        content: The file.

    Returns:
        The nodes: those that failed in the order in which they did, then the others, slowest first.

    Raises:
        UnreadableError: If it holds no results at all.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"It is larger than {MAX_BYTES // 1024**2} MiB.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise UnreadableError("It is not JSON, or was cut off.") from None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise UnreadableError("It has no list of results.")
    nodes = [_node(one) for one in results if isinstance(one, dict)]
    # Sorting is stable: failures all have the same key.
    return sorted(nodes, key=lambda node: (not node.failed, 0.0 if node.failed else -(node.seconds or 0.0)))


def tally(nodes: Sequence[NodeResult]) -> str:
    """Return how many nodes ended how, such as ``1 error, 3 success``, in the order of `nodes`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(node.status for node in nodes).items())


def _node(result: dict[str, object]) -> NodeResult:
    kind, name = _named(_text(result.get("unique_id")))
    return NodeResult(
        name=name,
        kind=kind,
        status=_text(result.get("status")) or "unknown",
        seconds=_seconds(result.get("execution_time")),
        message=_text(result.get("message")).strip(),
        code=_text(result.get("compiled_code")).strip(),
    )


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # JSON as Python reads it has NaN, of which no comparison holds, and integers that no float can be.
    return float(value) if 0 <= value < MAX_SECONDS else None


def _named(unique_id: str) -> tuple[str, str]:
    """Return kind and name from an id such as ``test.flights.not_null_flights_id.0123456789``."""
    kind, _, rest = unique_id.partition(".")
    _, _, name = rest.partition(".")
    if not name:
        return "", unique_id or "(no name)"
    return kind, _HASH.sub("", name) if kind == "test" else name


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
