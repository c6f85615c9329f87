"""What a task makes of dbt's results: its exception, its XComs, copies of the artifacts, asset events."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from airflow.sdk import AssetAlias, ObjectStoragePath
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.io import attach
from dbt_artifacts import manifest, result, run_results

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.compat import AirflowSkipException, AirflowTaskTimeout
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import (
    DbtCloudAssetEventsOperator,
    DbtCloudGetJobRunArtifactOperator,
    DbtCloudRunJobOperator,
)
from airflow_provider_dbtcloud_dlt.results.relation import relation_parts
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor

STEPS = [("Invoke dbt with `dbt build`", "success", "Done.")]
FAILING = [("Invoke dbt with `dbt build`", "error", "Done.")]
GOOD = result("model.shop.orders", execution_time=2.0, adapter_response={"rows_affected": 9})
BAD = result("model.shop.revenue", "error", message="Database Error in model revenue (m.sql)\n  no table x")
WARNED = result("test.shop.unique.0123456789", "warn", failures=1)
NODES = {"orders": {}, "revenue": {}}

Live = Callable[..., Any]


@pytest.fixture
def live(emu: Emulator, make: Any, context: Callable[..., Any], triggerer: Any) -> Live:
    """Run a task on a run with these results; return what it has told Airflow."""

    def go(*results: Any, steps: Any = STEPS, more: Any = None, **arguments: Any) -> Any:
        files = {
            "run_results.json": run_results(*results),
            "manifest.json": manifest(**NODES),
            **(more or {}),
        }
        emu.script_job(emu.job_id, seconds=0.1, steps=steps, artifacts=files)
        its_context = context(outlet_events=OutletEventAccessors())
        made = []

        def operator() -> Any:
            made.append(make(**{"log_results": True, **arguments}))
            made[-1].render_template_fields(its_context)
            return made[-1]

        error = None
        try:
            triggerer.finish(operator, its_context)
        except DbtCloudJobRunException as raised:
            error = str(raised)
        return SimpleNamespace(
            xcoms=its_context["ti"].xcoms, events=events(its_context), error=error, tasks=made
        )

    return go


def events(context: Any) -> dict[str, Any]:
    """Each event's extra, by the asset's URI."""
    return {
        event.dest_asset_key.uri: event.extra
        for accessor in context["outlet_events"]._dict.values()
        for event in accessor.asset_alias_events
    }


# --- told ---------------------------------------------------------------------------------------------


def test_the_failed_nodes_are_in_the_exception(live: Live) -> None:
    """With what dbt said of them."""
    error = live(GOOD, BAD, steps=FAILING).error
    assert "has failed at step 3" in error
    assert ": 1 of 2 nodes failed: model.shop.revenue (Database Error: no table x). See http" in error


def test_the_nodes_are_in_the_log(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that succeeds too."""
    live(GOOD)
    assert "model  orders  success      2.0     9" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [STEPS, FAILING])
def test_the_summary_is_an_xcom(live: Live, steps: Any) -> None:
    """However the run ended; the result stays the run's id."""
    told = live(GOOD, BAD, steps=steps).xcoms["dbt_cloud_run_results"]
    assert (told["counts"], told["failed"][0]["id"]) == ({"success": 1, "error": 1}, "model.shop.revenue")
    json.dumps(told)


@pytest.mark.parametrize("steps", [STEPS, FAILING])
def test_the_picture_is_an_xcom(live: Live, steps: Any) -> None:
    """However the run ended, with the critical path if there is a manifest."""
    times = {"started_at": "2026-11-27T04:00:00Z", "completed_at": "2026-11-27T04:00:02.5Z"}
    told = live({**GOOD, "timing": [times], "thread_id": "Thread-1"}, BAD, steps=steps).xcoms
    picture = told["dbt_cloud_run_picture"]
    assert picture["nodes"]["name"] == ["orders", "revenue"]
    assert (picture["nodes"]["length"], picture["critical"]) == ("2500 1000", "0")
    json.dumps(picture)


def test_nothing_is_asked_for_when_nothing_is_wanted(live: Live, emu: Emulator) -> None:
    """With `log_results=False`."""
    ran = live(GOOD, log_results=False)
    assert ran.xcoms.keys().isdisjoint({"dbt_cloud_run_results", "dbt_cloud_run_picture"})
    assert not [path for _, path in emu.requests if "artifacts" in path]


def test_broken_results_do_not_fail_the_task(live: Live, emu: Emulator) -> None:
    """dbt Cloud's own trouble with artifacts is not the run's."""
    emu.fail_next(100, 403, path="artifacts")
    assert live(GOOD, emit_assets=True, save_artifacts="memory://broken/").error is None


def test_time_out_while_results_are_read(live: Live, mocker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The run had ended in time."""
    mocker.patch("tempfile.TemporaryDirectory", side_effect=AirflowTaskTimeout("time is up"))
    assert live(GOOD).error is None
    assert "execution_timeout has passed while the results were read" in capsys.readouterr().out


def test_a_sensor_tells_the_same(emu: Emulator, context: Callable[..., Any]) -> None:
    """Exception and XCom, from its worker."""
    emu.script_job(emu.job_id, steps=FAILING, artifacts={"run_results.json": run_results(GOOD, BAD)})
    its_context = context()
    sensor = DbtCloudJobRunSensor(task_id="wait", run_id=emu.trigger(), poke_interval=0.05, deferrable=False)
    with pytest.raises(DbtCloudJobRunException, match="1 of 2 nodes failed"):
        sensor.execute(its_context)
    assert its_context["ti"].xcoms["dbt_cloud_run_results"]["nodes"] == 2
    assert len(its_context["ti"].xcoms["dbt_cloud_run_picture"]["nodes"]["name"]) == 2


# --- artifacts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [STEPS, FAILING])
def test_artifacts_are_copied(live: Live, tmp_path: Path, steps: Any) -> None:
    """Those of all steps, each step's in a folder of its own, however the run ended."""
    more = {"compiled/shop/models/a b.sql": "select 1"}
    folder = f"file://{tmp_path}/{{dag_id}}/{{{{ 1 + 1 }}}}/{{job_run_id}}/"
    ran = live(GOOD, steps=steps, more=more, save_artifacts=folder, log_results=False)
    there = tmp_path / "elt" / "2" / str(ran.xcoms["job_run_id"])
    assert (there / "step_3" / "compiled/shop/models/a b.sql").read_text() == "select 1"
    assert json.loads((there / "step_3" / "run_results.json").read_text())["results"]
    assert ran.xcoms["dbt_cloud_artifacts"] == f"file://{there}/"


def test_any_object_store_will_do(live: Live) -> None:
    """That Airflow knows."""
    attach("memory", fs=fsspec.filesystem("memory"))
    live(GOOD, save_artifacts="memory://lake/dbt/{run_id}")
    assert ObjectStoragePath("memory://lake/dbt/manual__1/step_3/manifest.json").read_text().startswith("{")


@pytest.mark.parametrize(
    "name", ["../out.sql", "/etc/out.sql", "a/../../out.sql", "a\\..\\out.sql", "C:/out.sql"]
)
def test_name_that_leads_out_of_the_folder(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It is refused, with a warning; the task's result stands."""
    ran = live(GOOD, more={name: "out"}, save_artifacts=f"file://{tmp_path}/in/")
    assert ran.error is None
    assert "dbt_cloud_artifacts" not in ran.xcoms
    assert "has a name that may lead out of the folder" in capsys.readouterr().out
    assert not list(tmp_path.rglob("out.sql"))


def test_artifact_operator_writes_into_a_store(
    emu: Emulator, context: Callable[..., Any], tmp_path: Path
) -> None:
    """Its file's name may be an address."""
    emu.script_job(emu.job_id, artifacts={"manifest.json": "{}"})
    target = f"file://{tmp_path}/deep/m.json"
    task = DbtCloudGetJobRunArtifactOperator(
        task_id="fetch", run_id=emu.trigger(), path="manifest.json", output_file_name=target
    )
    assert task.execute(context()) == target
    assert (tmp_path / "deep" / "m.json").read_text() == "{}"


# --- assets -------------------------------------------------------------------------------------------


def test_what_was_written_is_an_event(live: Live) -> None:
    """With what is known of it; a test is none, nor what was skipped."""
    ran = live(GOOD, WARNED, result("model.shop.revenue", "skipped"), emit_assets=True)
    assert ran.events == {
        "dbt://wh/main/orders": {
            "run_id": ran.xcoms["job_run_id"],
            "node": "model.shop.orders",
            "kind": "model",
            "materialized": "table",
            "seconds": 2.0,
            "rows": 9,
            "failed_tests": [],
        }
    }


def test_assets_are_called_as_the_loads(live: Live) -> None:
    """By the same pattern, so that load, source and model join up."""
    ran = live(GOOD, emit_assets=True, asset_uri="duckdb://{{ 'flights' }}/{schema}/{table}")
    assert [*ran.events] == ["duckdb://flights/main/orders"]


def test_relation_without_manifest(live: Live) -> None:
    """The result itself says where it is, in some engines."""
    one = result("model.shop.orders", relation_name="`wh`.`main`.`o``r`")
    assert [*live(one, more={"manifest.json": "broken"}, emit_assets=True).events] == ["dbt://wh/main/o%60r"]


def test_failing_tests_of_a_model_are_told(live: Live) -> None:
    """With its event."""
    nodes = manifest(
        orders={}, **{"unique.0123456789": {"kind": "test", "attached_node": "model.shop.orders"}}
    )
    ran = live(GOOD, WARNED, more={"manifest.json": nodes}, emit_assets=True)
    assert ran.events["dbt://wh/main/orders"]["failed_tests"] == ["unique"]


def test_task_gets_an_alias(make: Any) -> None:
    """By which its events are emitted, unless it has one."""
    assert make(emit_assets=True).outlets == [AssetAlias("dbt:adhoc_airflow.transform")]
    own = AssetAlias("mine")
    assert make(emit_assets=True, outlets=[own]).outlets == [own]
    assert make().outlets == []


def test_failed_task_emits_nothing(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Airflow would take it from no task that fails; the log says what can."""
    assert live(GOOD, BAD, steps=FAILING, emit_assets=True).events == {}
    assert "DbtCloudAssetEventsOperator that follows can emit them" in capsys.readouterr().out


def test_events_of_a_failed_run(emu: Emulator, context: Callable[..., Any]) -> None:
    """An operator of its own emits them after it."""
    files = {"run_results.json": run_results(GOOD, BAD), "manifest.json": manifest(**NODES)}
    emu.script_job(emu.job_id, steps=FAILING, artifacts=files)
    its_context = context(outlet_events=OutletEventAccessors())
    task = DbtCloudAssetEventsOperator(task_id="assets", run_id=emu.trigger())
    task.execute(its_context)
    assert [*events(its_context)] == ["dbt://wh/main/orders"]
    assert task.trigger_rule == "all_done"


def test_events_of_no_run(context: Callable[..., Any]) -> None:
    """A task that started none leaves nothing to emit."""
    task = DbtCloudAssetEventsOperator(task_id="assets", run_id="{{ None }}")
    task.render_template_fields(context())
    with pytest.raises(AirflowSkipException):
        task.execute(context())


def test_events_of_a_run_that_goes_on(emu: Emulator, context: Callable[..., Any]) -> None:
    """It has no results yet."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(DbtCloudJobRunException, match="has not ended"):
        DbtCloudAssetEventsOperator(task_id="assets", run_id=emu.trigger()).execute(context())


def test_events_of_what_an_earlier_try_has_written(
    emu: Emulator, make: Any, context: Callable[..., Any], triggerer: Any
) -> None:
    """A run that takes up a failed one emits both runs' events: Airflow has had none of the first."""
    options = {"retry_from_failure": True, "emit_assets": True}
    first = {"run_results.json": run_results(GOOD, BAD), "manifest.json": manifest(**NODES)}
    emu.script_job(emu.job_id, seconds=0.1, steps=FAILING, artifacts=first)
    with pytest.raises(DbtCloudJobRunException):
        triggerer.finish(lambda: make(**options), context(max_tries=1))
    second = {**first, "run_results.json": run_results(result("model.shop.revenue"))}
    emu.script_job(emu.job_id, seconds=0.1, steps=STEPS, artifacts=second)
    its_context = context(try_number=2, max_tries=1, outlet_events=OutletEventAccessors())
    triggerer.finish(lambda: make(**options), its_context)
    told = {extra["node"]: extra["run_id"] for extra in events(its_context).values()}
    runs = [run["id"] for run in emu.runs()]
    assert told == {"model.shop.orders": runs[0], "model.shop.revenue": runs[1]}


@pytest.mark.parametrize(
    ("relation", "parts"),
    [
        ('"wh"."main"."orders"', ("wh", "main", "orders")),
        ("wh.main.orders", ("wh", "main", "orders")),
        ("`main`.`orders`", (None, "main", "orders")),
        ('"w.h"."ma""in"."or`ders"', ("w.h", 'ma"in', "or`ders")),
        ("[wh].[main].[orders]", ("wh", "main", "orders")),
    ],
)
def test_parts_of_a_relation(relation: str, parts: Any) -> None:
    """In the quotes of any database."""
    assert relation_parts(relation) == parts


# --- arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"save_artifacts": "results/"}, "save_artifacts must be an address such as 's3://"),
        ({"save_artifacts": 7}, "save_artifacts must be an address"),
        (
            {"save_artifacts": "s3://b/{day}/"},
            "save_artifacts has {day}, which is none of {dag_id}, {run_id}",
        ),
        ({"save_artifacts": "s3://me:secret@b/"}, "save_artifacts holds a password"),
        ({"emit_assets": True, "asset_uri": "s3://b/"}, "asset_uri has no {table}"),
        ({"asset_uri": "x://{table}"}, "give emit_assets=True as well"),
        ({"emit_assets": True, "wait_for_termination": False}, "emit_assets with wait_for_termination=False"),
    ],
)
def test_arguments_that_cannot_be_meant(arguments: Any, message: str) -> None:
    """They are refused while the DAG file is parsed, without a secret in the message."""
    with pytest.raises(ValueError, match=message.replace("{", r"\{")) as refused:
        DbtCloudRunJobOperator(task_id="transform", job_id=1, **arguments)
    assert "secret" not in str(refused.value)
    assert isinstance(refused.value, InvalidRequestError) or "asset_uri" in message
