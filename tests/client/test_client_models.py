"""Records: the recorded payload, the formats of the API, and tolerance of what nobody foresaw."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import (
    Account,
    Environment,
    Job,
    Project,
    Run,
    RunStatus,
    RunStep,
    RunTrigger,
)
from airflow_provider_dbtcloud_dlt.client.models import parse_duration, parse_time

RECORDS = (Account, Environment, Job, Project, Run, RunStep, RunTrigger)
FIELDS = sorted({item.name for record in RECORDS for item in fields(record)})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["00:00:01", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=5)
    ),
    max_leaves=15,
)


def test_recorded_run_is_read(recorded: dict[str, Any]) -> None:
    """The payload of a real trigger gives id, status, page and times."""
    run = Run.from_api(recorded)
    assert (run.id, run.status, run.is_terminal) == (300580980, RunStatus.QUEUED, False)
    assert run.href == "https://cloud.getdbt.com/deploy/22219/projects/52901/runs/300580980/"
    assert run.created_at == datetime(2024, 7, 3, 13, 59, 0, 653171, tzinfo=UTC)


def test_recorded_run_embeds_trigger_and_job(recorded: dict[str, Any]) -> None:
    """What is embedded becomes a record of its own, its own time format included."""
    run = Run.from_api(recorded)
    assert run.trigger is not None
    assert (run.trigger.cause, run.trigger.git_branch) == ("Triggered by Kestra.", "main")
    assert run.trigger.timeout_seconds_override == 7200
    assert run.job is not None
    assert run.job.execute_steps == ("dbt build --select state:modified+",)
    assert run.job.created_at == datetime(2024, 3, 25, 13, 47, 20, 129690, tzinfo=UTC)


def test_unknown_fields_stay_in_raw(recorded: dict[str, Any]) -> None:
    """What has no attribute is not lost."""
    assert Run.from_api({**recorded, "new_in_2027": [1]}).raw == {**recorded, "new_in_2027": [1]}


def test_records_are_frozen(recorded: dict[str, Any]) -> None:
    """Nobody changes a record that others hold as well."""
    with pytest.raises(FrozenInstanceError):
        Run.from_api(recorded).id = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "name",
    ["git_branch", "git_sha", "status_message", "dequeued_at", "started_at", "finished_at", "environment"]
    + ["trigger", "job", "retrying_run_id", "retry_not_supported_reason", "run_steps", "duration"],
)
def test_nullable_fields_may_be_null(recorded: dict[str, Any], name: str) -> None:
    """A null is nothing: no attribute of it, and no error."""
    assert not getattr(Run.from_api({**recorded, name: None}), name, None)


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": "x"}, {"id": True}, {"id": [1]}])
@pytest.mark.parametrize("record", [record for record in RECORDS if record is not RunTrigger])
def test_record_without_id_is_refused(record: type[Run], missing: dict[str, Any]) -> None:
    """An id is what no record can do without."""
    with pytest.raises(ValueError, match=f"{record.__name__} without an id"):
        record.from_api(missing)


@pytest.mark.parametrize("thing", [None, [], "text", 3])
def test_what_is_no_object_is_refused(thing: object) -> None:
    """The message says what came instead."""
    with pytest.raises(ValueError, match=f"expected a JSON object for a Run, got {type(thing).__name__}"):
        Run.from_api(thing)  # type: ignore[arg-type]


def test_embedded_record_that_cannot_be_read_is_left_out() -> None:
    """A wait for a run does not fail because the job inside it lacks its id."""
    run = Run.from_api({"id": 1, "job": {"name": "x"}, "run_steps": [{"id": 5}, {"name": "y"}, None]})
    assert run.job is None
    assert [step.id for step in run.run_steps] == [5]


@given(JSON)
def test_parsers_raise_nothing_but_value_error(data: Any) -> None:
    """Whatever JSON comes: a record, or a ValueError when it is no object or has no id."""
    for record in RECORDS:
        try:
            parsed = record.from_api(data)
        except ValueError as error:
            assert "expected a JSON object" in str(error) or "without an id" in str(error)  # noqa: PT017
        else:
            assert parsed.raw == data or str(parsed.raw) == str(data)  # NaN differs from itself


@given(st.text() | JSON)
def test_times_and_durations_never_raise(value: Any) -> None:
    """What is no time or duration is none."""
    assert parse_time(value) is None or parse_time(value).tzinfo is not None  # type: ignore[union-attr]
    assert parse_duration(value) is None or isinstance(parse_duration(value), timedelta)


@pytest.mark.parametrize(
    "text",
    ["2024-05-27 10:42:16.179903+00:00", "2024-05-27T10:42:16.179903+00:00", "2024-05-27T10:42:16.179903Z"]
    + ["2024-05-27 12:42:16.179903+02:00"],
)
def test_time_formats_mean_the_same(text: str) -> None:
    """All forms in which the API writes a time are read, as UTC."""
    parsed = parse_time(text)
    assert parsed == datetime(2024, 5, 27, 10, 42, 16, 179903, tzinfo=UTC)
    assert parsed.utcoffset() == timedelta(0)


def test_time_without_microseconds_is_read() -> None:
    """Microseconds are optional."""
    assert parse_time("2024-05-27 10:42:16+00:00") == datetime(2024, 5, 27, 10, 42, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-13-01", 5, None, "0001-01-01T00:00:00+10:00", "9999-12-31T23:00:00-10:00"]
)
def test_what_is_no_time_is_none(text: object) -> None:
    """Nonsense, and times that no datetime can hold, are nothing."""
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:00", timedelta(0)),
        ("00:01:02", timedelta(seconds=62)),
        ("23:59:59", timedelta(seconds=86399)),
        ("30:00:01", timedelta(hours=30, seconds=1)),
        ("1000:00:00", timedelta(hours=1000)),
        ("9" * 5000 + ":00:00", None),
        ("99999999999999:00:00", None),
        ("1:2", None),
        ("-1:00:00", None),
        ("a:b:c", None),
        (None, None),
    ],
)
def test_durations(text: object, expected: timedelta | None) -> None:
    """Hours may exceed 23; nonsense is nothing."""
    assert parse_duration(text) == expected


@given(st.integers())
def test_any_number_is_a_status(value: int) -> None:
    """A status that dbt adds one day equals its number; only the three documented ends end a run."""
    status = RunStatus(value)
    assert status == value
    assert status.is_terminal == (value in (10, 20, 30))
    assert status.is_known == (value in (1, 2, 3, 10, 20, 30))


def test_unknown_status_has_a_name() -> None:
    """It can be shown to a person."""
    assert (RunStatus(42).name, RunStatus(42).humanized) == ("UNKNOWN_42", "Unknown_42")


@pytest.mark.parametrize("status", ["10", None, "x", [1], 4.5])
def test_status_that_is_no_number_is_no_error(status: object) -> None:
    """A run is read all the same."""
    assert Run.from_api({"id": 1, "status": status}).is_terminal == (status == "10")


def test_ids_of_64_bits_are_kept() -> None:
    """Newer runs have ids such as this one."""
    assert Run.from_api({"id": 70403110257794}).id == 70403110257794


def test_failed_steps_in_order() -> None:
    """The steps that ended as errors."""
    steps = [{"id": number, "status": status} for number, status in [(1, 10), (2, 20), (3, 30), (4, 20)]]
    assert [step.id for step in Run.from_api({"id": 1, "run_steps": steps}).failed_steps] == [2, 4]
