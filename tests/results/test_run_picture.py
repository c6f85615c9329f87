"""A run as a picture: what is in it, how large it gets, and what is folded then."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_runs import built, drawn, five, project, ran_node

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult, Outcome, latest
from airflow_provider_dbtcloud_dlt.results.picture import PICTURE_BYTES, picture

RUN = Run.from_api({"id": 5, "status": 10})
names = st.text(min_size=1, max_size=300)


def of(*results: NodeResult) -> dict[str, Any]:
    return picture(RUN, Outcome(latest(results), all_results=results))


def column(told: dict[str, Any], name: str) -> list[int]:
    return [int(number) for number in told["nodes"][name].split()]


def names_in(told: dict[str, Any]) -> list[str]:
    """The nodes' names as the page reads them."""
    read = [""]
    for shared, rest in zip(column(told, "shared"), told["nodes"]["name"], strict=True):
        read.append(read[-1][:shared] + rest)
    return read[1:]


def test_five_nodes() -> None:
    """All that is told of a small run."""
    told = five()
    assert names_in(told) == ["customers", "revenue", "stg_orders", "orders", "unique_stg_orders_id"]
    assert told["groups"] == ["model.shop", "seed.shop", "test.shop"]
    assert told["statuses"] == ["success", "error", "warn"]
    assert told["run"] == {"id": 70403110000002, "status": "Error", "seconds": 41.0}
    assert told["steps"] == [[3, "dbt build"]]
    assert (told["lanes"], told["lanes_are_threads"]) == (["Thread-1", "Thread-2"], True)
    assert column(told, "lane") == [1, 0, 0, 0, 1]
    assert column(told, "start") == [100, 6200, 1300, 0, 5500]
    assert column(told, "length") == [2900, 3400, 4100, 1200, 600]
    assert column(told, "rows") == [310, -1, 1200, 1200, 2]
    assert (told["critical"], told["critical_length"], told["left_out"]) == ("3 2 4 1", 9300, 0)


def test_code_that_an_error_quotes_is_left_out() -> None:
    """Some databases tell the line that they refuse: there is no SQL in the picture."""
    told = five()
    assert told["reasons"] == {"1": 'Database Error: column "amount_eur" does not exist'}
    assert "select" not in json.dumps(told)


def test_two_thousand_nodes_are_told_one_by_one() -> None:
    """There is room for them."""
    told = project(2000)
    assert (told["left_out"], len(names_in(told))) == (0, 2000)
    assert len(json.dumps(told)) <= PICTURE_BYTES


def test_the_shortest_are_folded() -> None:
    """Failed nodes and the critical path stay, then the longest; what follows on another is one bar."""
    nodes, results = built(3500, threads=8, failing=2)
    told = drawn(results, manifest={"nodes": nodes})
    kept = len(names_in(told))
    assert PICTURE_BYTES * 0.9 < len(json.dumps(told)) <= PICTURE_BYTES
    assert told["left_out"] == 3500 - kept
    timed = sum(bool(one["timing"]) for one in results)
    assert sum(map(int, told["folded"]["count"].split())) == timed - sum(
        one >= 0 for one in column(told, "start")
    )
    assert len(told["reasons"]) == sum(one["status"] == "error" for one in results)
    longest = max(results, key=lambda one: one["execution_time"])
    assert longest["unique_id"].removeprefix("model.shop.") in names_in(told)
    assert (
        sum(column(told, "length")[int(place)] for place in told["critical"].split())
        == told["critical_length"]
    )


def test_bars_of_folded_nodes_do_not_cover_others() -> None:
    """On a lane nothing is drawn over anything else."""
    nodes, results = built(3500, threads=4)
    told = drawn(results, manifest={"nodes": nodes})
    folded = [[int(one) for one in told["folded"][name].split()] for name in ("lane", "start", "length")]
    bars = sorted(
        [*zip(*folded, strict=True)]
        + [*zip(column(told, "lane"), column(told, "start"), column(told, "length"), strict=True)]
    )
    for (lane, start, length), (later, its_start, _) in pairwise(bars):
        assert lane < 0 or lane != later or start + length <= its_start + 1


@pytest.mark.parametrize(("name", "threads"), [("x", 1), ("\N{GRINNING FACE}", 200), ('"\\', 7)])
def test_it_is_bounded(name: str, threads: int) -> None:
    """Whatever nodes are called, however many failed, with however long messages."""
    told = of(
        *(
            NodeResult(
                3,
                f"model.package_{i % 200}.{name * 500}{i}",
                "error",
                1.0,
                message=name * 10_000,
                thread=f"Thread-{i % threads}",
                began=float(i // threads),
                ended=i // threads + 1.0,
            )
            for i in range(7000)
        )
    )
    assert len(json.dumps(told)) <= PICTURE_BYTES
    assert told["left_out"] + len(names_in(told)) == 7000


@given(st.lists(names, max_size=20))
def test_names_can_be_read_again(chosen: list[str]) -> None:
    """What each shares with the one before is told once, in characters that JavaScript counts alike."""
    told = of(*(NodeResult(3, f"model.shop.{name}", "success") for name in dict.fromkeys(chosen)))
    assert sorted(names_in(told)) == sorted(name[:200] for name in dict.fromkeys(chosen))
    shared = zip(column(told, "shared"), names_in(told), strict=True)
    assert all(name[:number].isascii() for number, name in shared)


def test_run_without_results() -> None:
    """There is a picture of it: of nothing."""
    told = of()
    assert (told["nodes"]["name"], told["nodes"]["start"], told["began"], told["lanes"]) == ([], "", None, [])


def test_node_without_times() -> None:
    """An engine may tell only how long it took."""
    told = of(NodeResult(3, "model.shop.a", "success", 2.5))
    assert [column(told, name) for name in ("start", "length", "lane")] == [[-1], [2500], [-1]]


def test_no_manifest() -> None:
    """Then nothing is known of dependencies."""
    assert drawn([ran_node("model.shop.a", 0, 1, 1)])["critical"] is None


def test_node_that_two_steps_ran() -> None:
    """Both times are drawn."""
    told = drawn([ran_node("model.shop.a", 0, 1, 1)], [ran_node("model.shop.a", 5, 2, 1)])
    assert names_in(told) == ["a", "a"]
    assert column(told, "start") == [0, 5000]
    assert [told["steps"][place][0] for place in column(told, "step")] == [3, 4]


def test_variables_of_a_step_are_left_out() -> None:
    """They may be nobody's business."""
    step = {"id": 3, "index": 3, "status": 10, "name": "Invoke dbt with `dbt build --vars '{key: secret}'`"}
    run = Run.from_api({"id": 5, "status": 10, "run_steps": [step]})
    told = picture(run, Outcome(latest([NodeResult(3, "model.shop.a", "success")])))
    assert told["steps"] == [[3, "dbt build …"]]


def test_lanes_without_threads() -> None:
    """There are as many as nodes ran at once."""
    spans = [(0, 4), (1, 2), (2, 3), (3, 6)]
    told = of(
        *(
            NodeResult(3, f"model.shop.m{place}", "success", began=float(began), ended=float(ended))
            for place, (began, ended) in enumerate(spans)
        )
    )
    assert (column(told, "lane"), told["lanes"], told["lanes_are_threads"]) == (
        [0, 1, 1, 1],
        ["1", "2"],
        False,
    )


def test_lanes_of_threads_that_run_several_nodes_at_once() -> None:
    """A bar must not hide another: the thread's name is no lane then."""
    told = drawn([ran_node("model.shop.a", 0, 4, 1), ran_node("model.shop.b", 1, 2, 1)])
    assert (column(told, "lane"), told["lanes_are_threads"]) == ([0, 1], False)


def test_threads_are_in_the_order_of_their_numbers() -> None:
    """Ten comes after nine."""
    told = drawn([ran_node(f"model.shop.m{number}", 0, 1, number) for number in (10, 9, 1)])
    assert told["lanes"] == ["Thread-1", "Thread-9", "Thread-10"]
