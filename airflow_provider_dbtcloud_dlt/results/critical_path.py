"""The critical path of a run: the chain of dependencies that took longest, whatever the number of threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from airflow_provider_dbtcloud_dlt.results.manifest import Node
from airflow_provider_dbtcloud_dlt.results.outcome import TESTS, NodeResult

SLACK = 0.002
"""Seconds by which a node may seem to begin before one that it waited for had ended: times are rounded."""


def critical_path(results: Sequence[NodeResult], nodes: Mapping[str, Node]) -> list[int]:
    """Find the chain of results, each of which had to wait for the one before, that took longest in all.

    A node waits for those that it depends on, and in ``dbt build`` for the tests of these as well: of the
    tests those count here that are of one node alone.

    Args:
        results: The results of a run; those without times are on no path.
        nodes: What the manifest says of them, as `reduced` leaves it.

    Returns:
        Places in `results`, in the order of time; empty if no result has times.
    """
    # What a node waited for had ended when it began, so it is met before.
    order = sorted(
        (one.began, one.ended, place)
        for place, one in enumerate(results)
        if one.began is not None and one.ended is not None
    )
    ends = {place: ended for _, ended, place in order}
    runs: dict[str, list[int]] = defaultdict(list)
    tests: dict[str, list[int]] = defaultdict(list)
    took: dict[int, float] = {}
    before: dict[int, int] = {}
    for began, ended, place in order:
        result = results[place]
        depends_on = nodes.get(result.unique_id, Node()).depends_on
        is_test = result.kind in TESTS
        waited_for = [earlier for unique_id in depends_on for earlier in runs[unique_id]]
        if not is_test:
            its_tests = (earlier for unique_id in depends_on for earlier in tests[unique_id])
            waited_for += [earlier for earlier in its_tests if results[earlier].step == result.step]
        waited_for = [earlier for earlier in waited_for if ends[earlier] <= began + SLACK]
        took[place] = ended - began
        if waited_for:
            before[place] = max(waited_for, key=took.__getitem__)
            took[place] += took[before[place]]
        runs[result.unique_id].append(place)
        if is_test and len(depends_on) == 1:
            tests[depends_on[0]].append(place)
    path = [max(took, key=took.__getitem__)] if took else []
    while path and path[-1] in before:
        path.append(before[path[-1]])
    return path[::-1]
