"""An outcome as a table, a clause, and a summary."""

import json

import pytest

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.results.outcome import NodeResult, Outcome, latest
from airflow_provider_dbtcloud_dlt.results.telling import clause, errors, heading, summary, table

RUN = Run.from_api({"id": 5, "status": 20, "duration": "00:01:10"})
FAILED = NodeResult(
    3, "model.shop.bad", "error", 0.5, message="Database Error in model bad (m.sql)\n  no table x"
)
TESTED = NodeResult(3, "test.shop.unique_id.0123456789", "fail", 0.1, failures=3, message="Got 3 results")
GOOD = NodeResult(3, "model.shop.good", "success", 12.25, rows=1000)


def of(*results: NodeResult) -> Outcome:
    return Outcome(latest(results))


def many(number: int, status: str = "success", message: str = "") -> Outcome:
    return of(*(NodeResult(3, f"model.shop.m{i:05}", status, i / 10, message=message) for i in range(number)))


def test_table() -> None:
    """Kind, name, status, seconds, rows; of a test the failing rows."""
    assert table(of(GOOD, TESTED, FAILED)).splitlines() == [
        "kind   name       status   seconds       rows",
        "model  bad        error        0.5",
        "test   unique_id  fail         0.1  3 failing",
        "model  good       success     12.2       1000",
    ]


def test_long_table_is_cut() -> None:
    """With a line that says what is left out."""
    lines = table(many(2000)).splitlines()
    assert len(lines) == 42
    assert lines[-1] == "… and 1960 more nodes: none of them failed, the slowest took 195.9 s"


def test_table_of_failures_is_cut() -> None:
    """The line says that failures are among the rest."""
    assert "… and 60 more nodes: 60 of them failed" in table(many(100, "error"))


def test_heading() -> None:
    """How many ended how."""
    assert heading(of(GOOD, TESTED, FAILED)) == "3 nodes: 1 success, 1 fail, 1 error"


def test_clause() -> None:
    """What failed of how many, and why."""
    assert clause(of(GOOD, TESTED, FAILED)) == (
        "2 of 3 nodes failed: model.shop.bad (Database Error: no table x), "
        "test.shop.unique_id.0123456789 (3 failing rows)"
    )


def test_no_clause_without_failures() -> None:
    """There is nothing to say."""
    assert clause(of(GOOD)) == ""


def test_clause_is_bounded() -> None:
    """However much failed, with however long messages."""
    said = clause(many(2000, "error", "x" * 100_000))
    assert said.endswith("and 1997 more")
    assert len(said) < 1000


def test_errors() -> None:
    """Whole, with the step."""
    assert errors(of(GOOD, TESTED, FAILED)).splitlines() == [
        "model.shop.bad in step 3: error",
        "    Database Error in model bad (m.sql)",
        "      no table x",
        "test.shop.unique_id.0123456789 in step 3: fail, 3 failing rows",
        "    Got 3 results",
    ]


def test_errors_are_bounded() -> None:
    """However many there are, and however long."""
    said = errors(many(2000, "error", "x" * 100_000))
    assert said.endswith("… and 1980 more nodes that failed")
    assert len(said) < 50_000


def test_summary() -> None:
    """Counts, failed nodes, seconds, artifacts."""
    artifacts = {3: ["manifest.json", "compiled/shop/m.sql"], 4: ["catalog.json"]}
    assert summary(RUN, Outcome(latest([GOOD, TESTED]), {}, artifacts)) == {
        "run_id": 5,
        "status": "Error",
        "seconds": 70.0,
        "node_seconds": 12.35,
        "nodes": 2,
        "counts": {"success": 1, "fail": 1},
        "failed_count": 1,
        "failed": [
            {
                "id": "test.shop.unique_id.0123456789",
                "step": 3,
                "status": "fail",
                "failures": 3,
                "message": "3 failing rows",
                "compiled_path": None,
            }
        ],
        "artifact_count": 3,
        "artifacts": {"3": ["manifest.json"], "4": ["catalog.json"]},
    }


@pytest.mark.parametrize("text", ["x", "é", "\N{GRINNING FACE}"])
def test_summary_is_bounded(text: str) -> None:
    """In characters of its JSON, whatever they stand for."""
    found = many(2000, "error", text * 10_000)
    told = summary(RUN, Outcome(found.results, {}, {3: [f"{i}.json" for i in range(5000)]}))
    assert len(json.dumps(told)) <= 16_384
    assert (told["nodes"], told["failed_count"], told["artifact_count"]) == (2000, 2000, 5000)
