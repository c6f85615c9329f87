"""Runs for pictures: what dbt would have left of a project of some size that so many threads ran."""

import heapq
import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.manifest import read_nodes, reduced
from airflow_provider_dbtcloud_dlt.results.outcome import Outcome, latest, read_results
from airflow_provider_dbtcloud_dlt.results.picture import picture

JSON = dict[str, Any]

BEGAN = datetime(2026, 11, 27, 4, 0, 12, tzinfo=UTC)
LAYERS = ("stg", "int", "fct", "mart")
SUBJECTS = ("orders", "customers", "payments", "shipments", "products", "returns", "sessions", "invoices")
TESTS = ("not_null_{}_id", "unique_{}_id", "accepted_values_{}_status__placed__shipped__returned")
ERROR = 'Database Error in model x (x.sql)\n  column "amount_eur" does not exist\n  LINE 7: select amount_eur'


def drawn(*steps: Iterable[JSON], manifest: JSON | None = None, seconds: int = 260) -> JSON:
    """The picture of a run whose steps had these results, a build each."""
    results = [
        one
        for number, its in enumerate(steps, 3)
        for one in read_results(
            json.dumps({"args": {"which": "build"}, "results": list(its)}).encode(), number
        )
    ]
    known = read_nodes(json.dumps(manifest).encode()) if manifest else {}
    told = [
        {"id": number, "index": number, "status": 10, "name": "Invoke dbt with `dbt build`"}
        for number, _ in enumerate(steps, 3)
    ]
    run = {"id": 70403110000002, "duration": str(timedelta(seconds=seconds)), "run_steps": told}
    run["status"] = 20 if any(one.has_failed for one in results) else 10
    nodes = reduced(known, {one.unique_id for one in results})
    return picture(Run.from_api(run), Outcome(latest(results), nodes, {}, results))


def five() -> JSON:
    """A small run: a seed, models and a test, of which one failed."""
    ran = [
        ran_node("seed.shop.orders", 0.0, 1.2, 1, rows=1200),
        ran_node("model.shop.customers", 0.1, 2.9, 2, rows=310),
        ran_node("model.shop.stg_orders", 1.3, 4.1, 1, rows=1200),
        ran_node("test.shop.unique_stg_orders_id.0123456789", 5.5, 0.6, 2, "warn", failures=2),
        ran_node("model.shop.revenue", 6.2, 3.4, 1, "error"),
    ]
    depends_on = {
        "seed.shop.orders": [],
        "model.shop.customers": [],
        "model.shop.stg_orders": ["seed.shop.orders"],
        "test.shop.unique_stg_orders_id.0123456789": ["model.shop.stg_orders"],
        "model.shop.revenue": ["model.shop.stg_orders", "model.shop.customers"],
    }
    nodes = {unique_id: {"depends_on": {"nodes": on}} for unique_id, on in depends_on.items()}
    return drawn(ran, manifest={"nodes": nodes}, seconds=41)


def project(size: int, threads: int = 8, failing: int = 3) -> JSON:
    """A run of a project with so many nodes."""
    nodes, results = built(size, threads, failing)
    return drawn(results, manifest={"nodes": nodes})


def built(size: int, threads: int = 8, failing: int = 3) -> tuple[JSON, list[JSON]]:
    """A manifest's nodes, about a quarter of them models and the rest tests, and how they ended."""
    chance = random.Random(7)
    nodes = dict(_nodes(size, chance))
    bad = set(chance.sample([one for one in nodes if one.startswith("model")], failing))
    return nodes, list(_ran(nodes, bad, threads, chance))


def ran_node(
    unique_id: str,
    began: float,
    took: float,
    thread: int,
    status: str = "success",
    rows: int | None = None,
    failures: int | None = None,
) -> JSON:
    """How a node ended that began so many seconds after the run."""
    begin, execute, end = (
        (BEGAN + timedelta(seconds=began + part)).isoformat() for part in (0, took / 20, took)
    )
    return {
        "unique_id": unique_id,
        "status": status,
        "execution_time": took,
        "thread_id": f"Thread-{thread} (worker)",
        "message": ERROR if status == "error" else None,
        "failures": failures,
        "adapter_response": {"rows_affected": rows},
        "timing": [
            {"name": "compile", "started_at": begin, "completed_at": execute},
            {"name": "execute", "started_at": execute, "completed_at": end},
        ],
    }


def _nodes(size: int, chance: random.Random) -> Iterator[tuple[str, JSON]]:
    models: list[str] = []
    count = 0
    while count < size:
        number = len(models)
        layer = LAYERS[min(3, number * 16 // size)]
        name = f"{layer}_{SUBJECTS[number % len(SUBJECTS)]}_{number // len(SUBJECTS):03}"
        wanted = 0 if layer == "stg" else chance.choice((1, 2, 3))
        parents = chance.sample(models[-60:], min(len(models), wanted))
        yield f"model.shop.{name}", {"depends_on": {"nodes": parents}}
        models.append(f"model.shop.{name}")
        tests = TESTS[: size - count - 1]
        for test in tests:
            hashed = f"test.shop.{test.format(name)}.{chance.getrandbits(40):010x}"
            yield hashed, {"depends_on": {"nodes": [models[-1]]}}
        count += 1 + len(tests)


def _ran(nodes: dict[str, JSON], bad: set[str], threads: int, chance: random.Random) -> Iterator[JSON]:
    """As dbt builds: what waits for nothing any more runs on the next free thread."""
    parents = {one: list(node["depends_on"]["nodes"]) for one, node in nodes.items()}
    tests: dict[str, list[str]] = {}
    for one in nodes:
        if one.startswith("test"):
            tests.setdefault(parents[one][0], []).append(one)
    waits = {
        one: set(its) | {test for parent in its if one.startswith("model") for test in tests.get(parent, ())}
        for one, its in parents.items()
    }
    children: dict[str, list[str]] = {}
    for one, its in waits.items():
        for parent in its:
            children.setdefault(parent, []).append(one)
    names = list(nodes)
    number = {one: place for place, one in enumerate(names)}
    ready = [number[one] for one in names if not waits[one]]
    free = list(range(1, threads + 1))
    running: list[tuple[float, int, str]] = []
    unmade: set[str] = set()
    now = 0.0
    while ready or running:
        while ready and free:
            one = names[heapq.heappop(ready)]
            thread = heapq.heappop(free)
            took = 0.0
            if unmade.isdisjoint(parents[one]):
                is_model = one.startswith("model")
                took = chance.lognormvariate(0.6, 1.0) if is_model else chance.lognormvariate(-1.2, 0.5)
                failures = None if is_model else chance.choice([0] * 60 + [4])
                status = "error" if one in bad else "success" if is_model else "warn" if failures else "pass"
                rows = chance.randrange(10, 9_000_000) if is_model and one not in bad else None
                yield ran_node(one, now, took, thread, status, rows, failures)
            else:
                yield {"unique_id": one, "status": "skipped", "execution_time": 0.0, "timing": []}
            if not took or one in bad:
                unmade.add(one)
            heapq.heappush(running, (now + took, thread, one))
        ended, thread, one = heapq.heappop(running)
        now = max(now, ended) + 0.005
        heapq.heappush(free, thread)
        for child in children.get(one, ()):
            waits[child].discard(one)
            if not waits[child]:
                heapq.heappush(ready, number[child])
