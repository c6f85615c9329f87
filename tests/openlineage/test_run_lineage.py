"""What OpenLineage is told of runs, by operator and sensor: scripted runs of one model and its source."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbt_artifacts import result, run_results
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor

Told = Callable[..., Any]
Events = Callable[[], list[dict[str, Any]]]

STEP = "Invoke dbt with `dbt build`"
TIMES = [{"name": "execute", "started_at": "2026-01-01T00:00:01Z", "completed_at": "2026-01-01T00:00:02Z"}]
MODEL = {
    "unique_id": "model.shop.orders",
    "name": "orders",
    "alias": "orders",
    "database": "wh",
    "schema": "main",
    "relation_name": '"wh"."main"."orders"',
    "config": {"materialized": "table"},
    "columns": {"id": {"name": "id", "description": "Its number", "data_type": "int"}},
    "depends_on": {"nodes": ["source.shop.raw.orders"]},
}
SOURCE = {
    "unique_id": "source.shop.raw.orders",
    "name": "orders",
    "identifier": "orders_v2",
    "database": "wh",
    "schema": "raw",
}
MANIFEST = {
    "metadata": {"adapter_type": "postgres", "project_name": "shop"},
    "nodes": {"model.shop.orders": MODEL},
    "sources": {"source.shop.raw.orders": SOURCE},
}
COLUMNS = {"ID": {"name": "ID", "type": "INTEGER", "index": 1}}
CATALOG = {"nodes": {"model.shop.orders": {"columns": COLUMNS}}, "sources": {}}
GOOD = result("model.shop.orders", timing=TIMES, relation_name='"wh"."main"."orders"')


@pytest.fixture
def script(emu: Emulator) -> Callable[..., None]:
    """Let the job's runs leave these artifacts."""

    def leave(*results: Any, outcome: Any = "success", catalog: Any = None, manifest: Any = MANIFEST) -> None:
        files = {"run_results.json": run_results(*(results or (GOOD,)))}
        files |= {"manifest.json": json.dumps(manifest)} if manifest else {}
        files |= {"catalog.json": json.dumps(catalog)} if catalog else {}
        emu.script_job(emu.job_id, seconds=0.1, steps=[(STEP, outcome, "Done.")], artifacts=files)

    return leave


def operator(**arguments: Any) -> Callable[[], DbtCloudRunJobOperator]:
    return lambda: DbtCloudRunJobOperator(
        **{"task_id": "transform", "job_id": 1000, "check_interval": 0.05, "log_progress": False, **arguments}
    )


def asked(emu: Emulator, text: str) -> list[str]:
    """The paths that were asked for and have this in them."""
    return [path for _, path in emu.requests if text in path]


def test_a_model_under_its_task(script: Any, told: Told, events: Events) -> None:
    """Its beginning and its end, with what it has read and written, below the task and the DAG's run."""
    script()
    done = told(operator())
    start, end = events()
    assert [start["eventType"], end["eventType"]] == ["START", "COMPLETE"]
    assert (start["eventTime"], end["eventTime"]) == ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z")
    assert end["job"] == {**end["job"], "namespace": "airflow", "name": "wh.main.shop.orders.build.run"}
    assert [one["name"] for one in end["inputs"]] == ["wh.raw.orders_v2"]
    assert [one["name"] for one in end["outputs"]] == ["wh.main.orders"]
    parent = end["run"]["facets"]["parent"]
    assert (parent["job"]["name"], parent["root"]["job"]["name"]) == ("elt.transform", "elt")
    from airflow.providers.openlineage.plugins.macros import lineage_root_run_id, lineage_run_id

    assert parent["run"]["runId"] == lineage_run_id(done.ti)
    assert parent["root"]["run"]["runId"] == lineage_root_run_id(done.ti)
    assert (done.given.inputs, done.given.outputs) == ([], [])


def test_a_sensor_tells_the_same(script: Any, emu: Emulator, told: Told, events: Events) -> None:
    """Of a run that something else has started; a run that is told twice is the same run."""
    script()
    run_id = emu.trigger()
    for _ in range(2):
        told(lambda: DbtCloudJobRunSensor(task_id="wait", run_id=run_id, poke_interval=0.05), "wait")
    found = events()
    assert found[:2] == found[2:]
    assert found[1]["run"]["facets"]["parent"]["job"]["name"] == "elt.wait"


def test_columns_of_the_database(script: Any, told: Told, events: Events) -> None:
    """By the catalog, with the descriptions of the manifest, however it writes the names."""
    script(catalog=CATALOG)
    told(operator())
    (output,) = events()[1]["outputs"]
    assert output["facets"]["schema"]["fields"] == [
        {"name": "ID", "type": "INTEGER", "description": "Its number", "fields": []}
    ]


def test_columns_without_a_catalog(script: Any, told: Told, events: Events) -> None:
    """Those that the project declares."""
    script()
    told(operator())
    (output,) = events()[1]["outputs"]
    assert [(one["name"], one["type"]) for one in output["facets"]["schema"]["fields"]] == [("id", "int")]


def test_without_a_manifest(script: Any, told: Told, events: Events) -> None:
    """What was written is known all the same."""
    script(manifest=None)
    assert told(operator()).error is None
    end = events()[1]
    assert (end["inputs"], [one["name"] for one in end["outputs"]]) == ([], ["wh.main.orders"])


def test_a_failed_model(script: Any, told: Told, events: Events) -> None:
    """The run fails as it does without lineage; what the database said is in the event."""
    script(result("model.shop.orders", "error", message="no table x", timing=TIMES), outcome="error")
    assert "1 of 1 node failed" in told(operator()).error
    end = events()[1]
    assert (end["eventType"], end["outputs"]) == ("FAIL", [])
    assert end["run"]["facets"]["errorMessage"]["message"] == "no table x"


def test_no_artifact_is_downloaded_twice(script: Any, emu: Emulator, told: Told, events: Events) -> None:
    """What the log tells and what OpenLineage is told come from the same files."""
    script(catalog=CATALOG)
    told(operator())
    downloads = [path for path in asked(emu, "/artifacts/") if "json" in path]
    assert len(events()) == 2
    assert len(downloads) == len(set(downloads))
    assert len(asked(emu, "/manifest.json")) == len(asked(emu, "/catalog.json")) == 1


def test_all_comes_from_one_producer(script: Any, told: Told, events: Events) -> None:
    """Events and facets of dbt's nodes name this package."""
    script(catalog=CATALOG)
    told(operator())
    end = events()[1]
    facets = {**end["run"]["facets"], **end["job"]["facets"], **end["outputs"][0]["facets"]}
    facets.pop("tags", None)  # OpenLineage's client tells its version by it
    assert {name: one["_producer"] for name, one in facets.items()} == dict.fromkeys(facets, end["producer"])
    assert "airflow-provider-dbtcloud-dlt" in end["producer"]


# --- the database's name ------------------------------------------------------------------------------


def test_a_namespace_that_is_given(script: Any, emu: Emulator, told: Told, events: Events) -> None:
    """dbt Cloud is not asked then."""
    script()
    told(operator(lineage_namespace="postgres://db:5432"))
    assert {one["namespace"] for one in [*events()[1]["inputs"], *events()[1]["outputs"]]} == {
        "postgres://db:5432"
    }
    assert asked(emu, "/environments/") == []


def test_the_namespace_of_dbt_clouds_connection(
    script: Any, emu: Emulator, told: Told, events: Events
) -> None:
    """The environment's, by OpenLineage's rules for that database."""
    script()
    environment = {"id": 100, "connection": {"type": "postgres", "details": {"hostname": "db.example.com"}}}
    body = json.dumps({"data": environment, "status": {"code": 200}})
    emu.fail_next(status=200, path="/environments/", body=body, headers={"Content-Type": "application/json"})
    told(operator())
    assert events()[1]["outputs"][0]["namespace"] == "postgres://db.example.com:5432"
    assert len(asked(emu, "/projects/")) == 0


def test_a_database_of_which_nothing_is_known(script: Any, emu: Emulator, told: Told, events: Events) -> None:
    """It is called by the project that works in it: a token need not be allowed to see more."""
    script()
    emu.fail_next(2, status=403, path="/(environments|projects)/", body="{}")
    told(operator())
    host = emu.host.removeprefix("http://")
    assert events()[1]["outputs"][0]["namespace"] == f"dbt://{host}/1/10"


@pytest.mark.parametrize("value", [" ", 5, "postgres://user:secret@db:5432"])
def test_a_namespace_that_is_none(value: Any) -> None:
    """It is refused while the DAG file is parsed; a secret is not repeated."""
    with pytest.raises(InvalidRequestError, match="lineage_namespace") as refused:
        operator(lineage_namespace=value)()
    assert "secret" not in str(refused.value)


# --- off, or in trouble ----------------------------------------------------------------------------------


def test_nothing_is_done_when_it_is_off(
    script: Any, emu: Emulator, told: Told, switched_on: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Airflow's configuration: dbt Cloud is asked for nothing."""
    script(catalog=CATALOG)
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__DISABLED", "True")
    assert told(operator(log_results=False)).error is None
    assert asked(emu, "/artifacts/") == asked(emu, "/environments/") == []
    assert not switched_on.exists()


@pytest.mark.parametrize("how", ["argument", "policy"])
def test_nothing_is_done_for_a_task_that_leaves_it_out(
    script: Any, emu: Emulator, told: Told, switched_on: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """By the task's argument, or by OpenLineage's policy."""
    script()
    if how == "policy":
        rule = {
            "scope": {"dag_id": "elt", "task_id": "transform"},
            "controls": {"extract_operator_metadata": False},
        }
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EMISSION_POLICY", json.dumps([rule]))
    assert told(operator(log_results=False, emit_lineage=how != "argument")).error is None
    assert asked(emu, "/artifacts/") == []
    assert not switched_on.exists()


def test_a_failure_of_lineage_is_one_sentence(
    script: Any, told: Told, events: Events, capsys: pytest.CaptureFixture[str]
) -> None:
    """The task ends as the run did, and other nodes are told of."""
    broken = {**MODEL, "columns": ["id"]}
    nodes = {"model.shop.broken": broken, "model.shop.orders": MODEL}
    script({**GOOD, "unique_id": "model.shop.broken"}, GOOD, manifest={**MANIFEST, "nodes": nodes})
    assert told(operator()).error is None
    assert len(events()) == 2
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    (warning,) = [line for line in warnings if "OpenLineage" in line]
    assert "There are no OpenLineage events of 1 nodes of job run" in warning


def test_sql_that_takes_too_long(
    script: Any, told: Told, events: Events, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The origins of columns are left out with a warning, and nothing else."""
    mocker.patch("airflow_provider_dbtcloud_dlt.openlineage.lineage.SQL_SECONDS", -1.0)
    script({**GOOD, "compiled_code": 'select id from "wh"."raw"."orders_v2"'})
    told(operator())
    (output,) = events()[1]["outputs"]
    assert "columnLineage" not in output["facets"]
    assert "which columns those of 1 relations" in capsys.readouterr().out


def test_a_database_that_openlineage_has_no_rule_for(script: Any, told: Told, events: Events) -> None:
    """Its adapter is no reason to tell nothing."""
    script(manifest={**MANIFEST, "metadata": {"adapter_type": "teradata"}})
    told(operator())
    assert events()[1]["outputs"][0]["namespace"].startswith("dbt://")


def test_events_take_no_longer_than_there_is_time(
    script: Any,
    told: Told,
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The rest is left out with a warning, for the task's own event is still to come."""
    script()
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT", "-1")
    assert told(operator()).given is not None
    assert events() == []
    assert "events of only 0 of 1 nodes were emitted" in capsys.readouterr().out
