"""What is read of `run_results.json`, `sources.json` and `manifest.json`, whatever is in them."""

import json
from typing import Any

import pytest
from dbt_artifacts import manifest, result, run_results
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.manifest import Node, read_nodes
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult, Outcome, latest, read_results
from airflow_provider_dbtcloud_dlt.results.picture import picture
from airflow_provider_dbtcloud_dlt.results.telling import clause, errors, heading, table

BROKEN = "Database Error in model orders (orders.sql)\n  no such column: x\n  compiled code at target/o.sql"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = ("unique_id", "status", "execution_time", "message", "failures", "adapter_response", "relation_name")
names += ("thread_id", "timing")


def read(*results: dict[str, Any], **more: Any) -> list[NodeResult]:
    return read_results(run_results(*results, **more).encode(), 3)


def outcome(*results: dict[str, Any], **nodes: Node) -> Outcome:
    return Outcome(latest(read(*results)), {f"model.shop.{name}": node for name, node in nodes.items()})


def test_all_that_a_result_says() -> None:
    """Seconds, rows, message and relation."""
    fields = {
        "execution_time": 2.5,
        "adapter_response": {"rows_affected": 7},
        "relation_name": '"wh"."main"."a"',
    }
    assert read(result("model.shop.a", message="OK", **fields)) == [
        NodeResult(3, "model.shop.a", "success", 2.5, 7, None, "OK", '"wh"."main"."a"')
    ]


@pytest.mark.parametrize("rows", [-1, None, "many", True, [1]])
def test_rows_that_are_not_known(rows: Any) -> None:
    """Some databases say -1."""
    (one,) = read(result("model.shop.a", adapter_response={"rows_affected": rows}))
    assert one.rows is None


def test_a_tests_rows_are_none() -> None:
    """The adapter counts the one row in which dbt counts the failures."""
    (one,) = read(result("test.shop.t.0123456789", "fail", failures=3, adapter_response={"rows_affected": 1}))
    assert (one.rows, one.failures, one.name) == (None, 3, "t")


def test_engine_that_says_little() -> None:
    """Only id and status are needed, and not even these."""
    content = json.dumps({"results": [{"unique_id": "model.shop.a", "status": "Success"}, {}]}).encode()
    assert read_results(content, None) == [
        NodeResult(None, "model.shop.a", "success"),
        NodeResult(None, "(no name)", "unknown"),
    ]


@pytest.mark.parametrize("command", ["compile", "generate"])
def test_what_was_only_compiled_is_no_result(command: str) -> None:
    """Docs are generated after the build, and say of all nodes that they succeeded; but a failure is one."""
    found = read(result("model.shop.a"), result("model.shop.b", "error"), which=command)
    assert [one.unique_id for one in found] == ["model.shop.b"]


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        (None, (None, None)),
        ([{"started_at": "no time", "completed_at": 5}, 7], (None, None)),
        ([{"started_at": "1970-01-01T00:00:10Z", "completed_at": None}], (10.0, 12.5)),
        (
            [{"started_at": "1970-01-01T00:00:10"}, {"completed_at": "1970-01-01T01:00:11+01:00"}],
            (10.0, 11.0),
        ),
        ([{"started_at": "1970-01-01T00:00:10Z", "completed_at": "1970-01-01T00:00:09Z"}], (10.0, 10.0)),
    ],
)
def test_times(timing: Any, expected: tuple[float | None, float | None]) -> None:
    """From the compilation's beginning to the execution's end, whatever of it is told."""
    (one,) = read(result("model.shop.a", timing=timing, execution_time=2.5))
    assert (one.began, one.ended) == expected


def test_freshness_of_sources() -> None:
    """A stale source has no message: its age is told."""
    stale = {"unique_id": "source.shop.raw.orders", "status": "error", "max_loaded_at_time_ago_in_s": 7200.0}
    (one,) = read_results(json.dumps({"results": [stale]}).encode(), 3, "sources.json")
    assert (one.kind, one.name, one.reason) == ("source", "raw.orders", "its newest row is 2.0 hours old")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"<html>", b'{"results": [', b'{"results": [1]}', b"\xff"]
)
def test_what_is_no_file_of_results(content: bytes) -> None:
    """It is refused, whatever it is."""
    with pytest.raises(ValueError, match=r"it is no run_results\.json"):
        read_results(content, 3)


@given(st.lists(st.dictionaries(st.sampled_from(names), json_values)), json_values)
def test_any_values_can_be_told(results: list[dict[str, Any]], args: Any) -> None:
    """Fields of whatever types are read, and told."""
    content = (
        json.dumps({"results": results, "args": args}, allow_nan=False, default=str)
        if _plain([results, args])
        else '{"results": []}'
    )
    every = read_results(content.encode(), 1)
    found = Outcome(latest(every), all_results=every)
    json.dumps(picture(Run.from_api({"id": 5, "status": 10}), found))
    assert table(found)
    assert len(clause(found)) < 2000
    assert heading(found)
    errors(found)


def _plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (BROKEN, "Database Error: no such column: x"),
        (
            "Compilation Error in model a (models/a.sql)\n  'b' is undefined",
            "Compilation Error: 'b' is undefined",
        ),
        ("something\nelse", "something else"),
        ("", "error"),
    ],
)
def test_reason_is_one_line(message: str, reason: str) -> None:
    """Without what is told beside it."""
    assert NodeResult(3, "model.shop.orders", "error", message=message).reason == reason


def test_the_last_result_of_a_node_counts() -> None:
    """Of several steps."""
    before, after = NodeResult(3, "model.shop.a", "error"), NodeResult(4, "model.shop.a", "success")
    assert latest([before, after]) == {"model.shop.a": after}


def test_failed_then_warned_then_slowest() -> None:
    """The order in which nodes are told."""
    found = outcome(
        result("model.shop.fast", execution_time=0.1),
        result("model.shop.slow", execution_time=9),
        result("test.shop.t.0123456789", "warn"),
        result("model.shop.bad", "error"),
        result("model.shop.left", "skipped", execution_time=0),
    )
    assert [one.name for one in found.ordered()] == ["bad", "t", "slow", "fast", "left"]


def test_nodes_of_a_manifest() -> None:
    """What an asset and an error need."""
    content = manifest(orders={"compiled_path": "target/compiled/shop/models/orders.sql"})
    assert read_nodes(content.encode()) == {
        "model.shop.orders": Node(
            '"wh"."main"."orders"', "wh", "main", "orders", "table", "target/compiled/shop/models/orders.sql"
        )
    }


def test_what_a_test_is_about() -> None:
    """The node that it is attached to, else those that it depends on."""
    about = manifest(
        one={"kind": "test", "attached_node": "model.shop.a", "depends_on": {"nodes": ["model.shop.b"]}},
        two={"kind": "test", "depends_on": {"nodes": ["model.shop.b"]}},
    )
    nodes = read_nodes(about.encode())
    assert (nodes["test.shop.one"].tested, nodes["test.shop.two"].tested) == (
        ("model.shop.a",),
        ("model.shop.b",),
    )


@pytest.mark.parametrize(
    "path", ["target/compiled/shop/models/orders.sql", "/state/target/compiled/shop/models/orders.sql"]
)
def test_path_of_compiled_sql(path: str) -> None:
    """As dbt tells it from the project's folder, if there is such an artifact."""
    one = result("model.shop.orders", "error")
    there = {3: ["compiled/shop/models/orders.sql"]}
    found = Outcome(latest(read(one)), {"model.shop.orders": Node(compiled_path=path)}, there)
    (failed,) = found.failed()
    assert found.compiled_path(failed) == "target/compiled/shop/models/orders.sql"
    assert Outcome(found.results, found.nodes, {3: ["manifest.json"]}).compiled_path(failed) is None
