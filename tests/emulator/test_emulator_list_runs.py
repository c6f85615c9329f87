"""The list of runs: filters, order and pages, against a plain model of them."""

import json
from datetime import UTC, datetime

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

CONFIG = {
    "account": {"token": "t", "run_slots": 2},
    "projects": [{"name": "P"}, {"name": "Q"}],
    "environments": [{"name": "E", "project": "P"}, {"name": "F", "project": "Q"}],
    "jobs": [
        {"name": "a", "environment": "E", "steps": ["dbt run"], "script": {"seconds": 5}},
        {"name": "b", "environment": "F", "steps": ["dbt run"], "script": {"seconds": 9, "outcome": "error"}},
        {"name": "c", "environment": "F", "steps": ["dbt docs generate"], "script": {"seconds": 2}},
    ],
}


@pytest.fixture(scope="module")
def many():
    """Runs of three jobs in two projects, in every state."""
    with emulator(CONFIG, clock="virtual") as emu:
        for number in range(24):
            emu.trigger(1000 + number % 3)
            emu.clock.advance(1.5)
        emu.engine.cancel(emu.runs()[10]["id"])
        yield emu


@pytest.fixture(scope="module")
def ask(many):
    """Ask for a page of runs."""
    session = requests.Session()
    session.headers["Authorization"] = "Token t"

    def asked(**params):
        answer = session.get(f"{many.url}/api/v2/accounts/1/runs/", params=params, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def filters():
    """Draw filters of every kind."""
    some = st.lists(st.integers(0, 25), max_size=4)
    return st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from([1, 2, 3, 10, 20, 30, 7]),
            "status__in": st.lists(st.sampled_from([1, 2, 3, 10, 20, 30])),
            "job_definition_id": st.sampled_from([1000, 1001, 1002, 5]),
            "project_id": st.sampled_from([10, 11]),
            "project_id__in": st.lists(st.sampled_from([10, 11, 12])),
            "environment_id": st.sampled_from([100, 101]),
            "has_docs_generated": st.booleans(),
            "pk__in": some.map(lambda numbers: [70_403_110_000_000 + number for number in numbers]),
            "id__gt": st.integers(0, 25).map(lambda number: 70_403_110_000_000 + number),
        },
    )


def passes(run, chosen):
    columns = {"pk": "id", "job_definition_id": "job_definition_id"}
    for name, wanted in chosen.items():
        field, _, operator = name.partition("__")
        value = run[columns.get(field, field)]
        if operator == "in" and value not in wanted:
            return False
        if operator == "gt" and not value > wanted:
            return False
        if not operator and value != wanted:
            return False
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=filters(), limit=st.integers(1, 30), offset=st.integers(0, 30), reverse=st.booleans())
def test_pages_are_those_of_a_plain_filter(many, ask, chosen, limit, offset, reverse):
    """Any combination of filters, order and page gives what filtering all runs by hand gives."""
    expected = [run["id"] for run in many.runs() if passes(run, chosen)]
    expected = expected[::-1] if reverse else expected

    params = {name: json.dumps(value) for name, value in chosen.items()}
    page = ask(**params, limit=limit, offset=offset, order_by="-id" if reverse else "id")

    assert [run["id"] for run in page["data"]] == expected[offset : offset + limit]
    assert page["extra"]["pagination"] == {"count": len(page["data"]), "total_count": len(expected)}


@pytest.mark.parametrize("order", ["created_at", "-created_at", "finished_at", "-finished_at"])
def test_pages_of_any_order_hold_every_run_once(ask, order):
    """Equal times do not make pages overlap."""
    ids = [
        run["id"] for offset in range(0, 24, 5) for run in ask(order_by=order, limit=5, offset=offset)["data"]
    ]

    assert len(ids) == len(set(ids)) == 24


def test_a_range_of_times_is_inclusive(many, ask):
    """Both ends of `created_at__range` belong to it."""
    runs = many.runs()
    page = ask(created_at__range=json.dumps([runs[3]["created_at"], runs[5]["created_at"]]))

    assert [run["id"] for run in page["data"]] == [run["id"] for run in runs[3:6]]


def test_a_range_of_end_times_leaves_out_what_has_not_ended(ask):
    """`finished_at__range` knows only runs that have ended."""
    page = ask(finished_at__range=json.dumps(["2000-01-01", str(datetime(2100, 1, 1, tzinfo=UTC))]))

    assert page["data"]
    assert all(run["is_complete"] for run in page["data"])


def test_deleted_runs_do_not_exist(ask):
    """Nothing is ever deleted here."""
    assert ask(state="deleted")["data"] == []
