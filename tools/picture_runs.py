"""Runs to draw, made up as dbt would have run them: a project of some size, so many threads, real waits."""

import heapq
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 11, 27, 4, 0, 12, tzinfo=UTC)
LAYERS = ("stg", "int", "fct", "mart")
SUBJECTS = ("orders", "customers", "payments", "shipments", "products", "returns", "sessions", "invoices")
TESTS = ("not_null_{}_id", "unique_{}_id", "accepted_values_{}_status__placed__shipped__returned")


def made_up(
    size: int, threads: int = 8, seed: int = 7, failing: int = 3
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `run_results.json` and a `manifest.json` of so many nodes: about a quarter models, the rest tests."""
    chance = random.Random(seed)
    nodes = dict(_nodes(size, chance))
    bad = set(chance.sample([one for one in nodes if one.startswith("model")], failing))
    results = list(_run(nodes, bad, threads, chance))
    return {"args": {"which": "build"}, "results": results}, {"sources": {}, "nodes": nodes}


def _nodes(size: int, chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    models: list[str] = []
    count = 0
    while count < size:
        number = len(models)
        layer = LAYERS[min(3, number * 16 // max(size, 1))]
        name = f"{layer}_{SUBJECTS[number % len(SUBJECTS)]}_{number // len(SUBJECTS):03}"
        unique_id = f"model.shop.{name}"
        parents = chance.sample(
            models[-60:], min(len(models), 0 if layer == "stg" else chance.choice((1, 2, 3)))
        )
        yield unique_id, {"name": name, "depends_on": {"nodes": parents}}
        models.append(unique_id)
        count += 1
        for test in chance.sample(TESTS, 3)[: size - count]:
            its_name = test.format(name)
            hashed = f"test.shop.{its_name}.{chance.getrandbits(40):010x}"
            yield hashed, {"name": its_name, "depends_on": {"nodes": [unique_id]}, "attached_node": unique_id}
            count += 1


def _run(
    nodes: dict[str, dict[str, Any]], bad: set[str], threads: int, chance: random.Random
) -> Iterator[dict[str, Any]]:
    """As dbt does it: what waits for nothing any more runs on the next free thread."""
    tests: dict[str, list[str]] = {}
    for unique_id, node in nodes.items():
        if unique_id.startswith("test"):
            tests.setdefault(node["depends_on"]["nodes"][0], []).append(unique_id)
    waits = {
        one: set(parents := node["depends_on"]["nodes"])
        | (
            {test for parent in parents for test in tests.get(parent, ())}
            if one.startswith("model")
            else set()
        )
        for one, node in nodes.items()
    }
    children: dict[str, list[str]] = {}
    for one, parents in waits.items():
        for parent in parents:
            children.setdefault(parent, []).append(one)
    number = {one: place for place, one in enumerate(nodes)}
    ready = [number[one] for one, parents in waits.items() if not parents]
    heapq.heapify(ready)
    names = list(nodes)
    free = [(0.0, thread) for thread in range(1, threads + 1)]
    running: list[tuple[float, int, str]] = []
    skipped: set[str] = set()
    now = 0.0
    while ready or running:
        while ready and free and free[0][0] <= now:
            one = names[heapq.heappop(ready)]
            if one in skipped:
                yield {
                    "unique_id": one,
                    "status": "skipped",
                    "execution_time": 0.0,
                    "timing": [],
                    "thread_id": "MainThread",
                    "message": None,
                    "failures": None,
                    "adapter_response": {},
                }
                heapq.heappush(running, (now, 0, one))
                continue
            _, thread = heapq.heappop(free)
            took = (
                chance.lognormvariate(0.6, 1.0)
                if one.startswith("model")
                else chance.lognormvariate(-1.2, 0.5)
            )
            heapq.heappush(running, (now + took, thread, one))
            yield _result(one, now, took, thread, bad, chance)
        ended, thread, one = heapq.heappop(running)
        now = max(now, ended)
        if thread:
            heapq.heappush(free, (now + 0.01, thread))
            now += 0.01
        for child in children.get(one, ()):
            if one in bad or one in skipped:
                skipped.add(child)
            waits[child].discard(one)
            if not waits[child]:
                heapq.heappush(ready, number[child])


def _result(
    one: str, began: float, took: float, thread: int, bad: set[str], chance: random.Random
) -> dict[str, Any]:
    is_test = one.startswith("test")
    failures = chance.choice([0] * 60 + [4]) if is_test else None
    status = "error" if one in bad else "success" if not is_test else "warn" if failures else "pass"
    message = (
        'Database Error in model x (models/x.sql)\n  column "amount_eur" does not exist\n  LINE 7: select …'
    )
    compiled = BEGAN + timedelta(seconds=began)
    execute = compiled + timedelta(seconds=took * 0.05)
    return {
        "unique_id": one,
        "status": status,
        "execution_time": took,
        "thread_id": f"Thread-{thread} (worker)",
        "message": message if one in bad else None,
        "failures": failures,
        "adapter_response": {}
        if is_test or one in bad
        else {"rows_affected": chance.randrange(10, 9_000_000)},
        "timing": [
            {
                "name": "compile",
                "started_at": f"{compiled:%Y-%m-%dT%H:%M:%S.%fZ}",
                "completed_at": f"{execute:%Y-%m-%dT%H:%M:%S.%fZ}",
            },
            {
                "name": "execute",
                "started_at": f"{execute:%Y-%m-%dT%H:%M:%S.%fZ}",
                "completed_at": f"{compiled + timedelta(seconds=took):%Y-%m-%dT%H:%M:%S.%fZ}",
            },
        ],
    }
