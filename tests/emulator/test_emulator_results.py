"""What is made of a run_results.json, whatever it may hold."""

import json

import pytest

from airflow_provider_dbtcloud_dlt.emulator.pages import results


def parse(*nodes):
    return results.parse(json.dumps({"results": nodes}).encode())


def node(name, status="success", **more):
    return {"unique_id": f"model.flights.{name}", "status": status, **more}


def test_a_node_is_told_in_full():
    """Name, kind, status, seconds, message and SQL are taken over."""
    told = node("stg", "error", execution_time=0.25, message="No\n", compiled_code="select 1")

    assert parse(told) == [results.NodeResult("stg", "model", "error", 0.25, "No", "select 1")]


def test_failed_nodes_are_first():
    """The failures are in the order in which they happened: the first is often the cause of others."""
    nodes = parse(node("a", execution_time=9), node("b", "error"), node("c", "fail", execution_time=5))

    assert [one.name for one in nodes] == ["b", "c", "a"]


def test_slow_nodes_are_next():
    """Of what did not fail, the slowest is the first."""
    nodes = parse(node("a", execution_time=1), node("b"), node("c", execution_time=3))

    assert [one.name for one in nodes] == ["c", "a", "b"]


@pytest.mark.parametrize("status", ["error", "fail", "runtime error", "partial success"])
def test_what_fails_dbt_has_failed(status):
    """These are the statuses with which dbt ends as an error."""
    assert parse(node("a", status))[0].failed


@pytest.mark.parametrize("status", ["success", "pass", "warn", "skipped", "no-op", "something new"])
def test_what_does_not_fail_dbt_has_not(status):
    """A warning is no failure."""
    assert not parse(node("a", status))[0].failed


@pytest.mark.parametrize(
    ("unique_id", "kind", "name"),
    [
        ("model.flights.delays.v2", "model", "delays.v2"),
        ("test.flights.not_null_flights_id.0123456789", "test", "not_null_flights_id"),
        ("test.flights.a_test_of_its_own", "test", "a_test_of_its_own"),
        ("source.flights.raw.planes", "source", "raw.planes"),
        ("unit_test.flights.delays.adds_up", "unit_test", "delays.adds_up"),
        ("strange", "", "strange"),
        ("model.strange", "", "model.strange"),
        ("", "", "(no name)"),
        (None, "", "(no name)"),
    ],
)
def test_names_are_taken_from_ids(unique_id, kind, name):
    """A person knows a node by its name, without package and hash."""
    (told,) = parse({"unique_id": unique_id})

    assert (told.kind, told.name) == (kind, name)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"results": [{"unique_id": "mod', b"\xff\xfe", b"[" * 100_000, b"1" * 5000],
    ids=["empty", "brace", "cut off", "not UTF-8", "deep", "a large number"],
)
def test_what_is_not_json_is_refused(content):
    """A file that cannot be read gives one kind of error."""
    with pytest.raises(results.UnreadableError, match="not JSON"):
        results.parse(content)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b'{"results": {}}'])
def test_json_without_results_is_refused(content):
    """JSON of another form is told as such."""
    with pytest.raises(results.UnreadableError, match="no list of results"):
        results.parse(content)


def test_a_huge_file_is_refused(monkeypatch):
    """Nobody waits for a page while gigabytes are read."""
    monkeypatch.setattr(results, "MAX_BYTES", 10)

    with pytest.raises(results.UnreadableError, match="larger"):
        parse(node("a"))


def test_what_is_no_node_is_left_out():
    """One odd entry does not hide the others."""
    assert [one.name for one in parse(1, None, "x", [], node("a"))] == ["a"]


@pytest.mark.parametrize("odd", [None, True, "1", [], {}, -1, float("nan"), float("inf"), 10**400])
def test_odd_seconds_are_none(odd):
    """A time that is no time is not shown, and does not disturb the order."""
    assert parse(node("a", execution_time=odd))[0].seconds is None


@pytest.mark.parametrize("odd", [None, 1, [], {"text": "x"}])
def test_odd_texts_are_left_out(odd):
    """What should be text and is not is nothing."""
    (told,) = parse({"unique_id": odd, "status": odd, "message": odd, "compiled_code": odd})

    assert told == results.NodeResult("(no name)", "", "unknown")


def test_the_tally_counts_by_status():
    """What failed is counted first, as it is listed first."""
    assert results.tally(parse(node("a"), node("b", "error"), node("c"))) == "1 error, 2 success"
