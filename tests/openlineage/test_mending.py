"""dbt's artifacts put as OpenLineage's processor needs them: no OpenLineage, no Airflow, no network."""

import json
from typing import Any

import pytest
from dbt_artifacts import result

from airflow_provider_dbtcloud_dlt.openlineage.artifacts import Project, StepResults, read_project
from airflow_provider_dbtcloud_dlt.openlineage.mending import Documents, command_of, documents
from airflow_provider_dbtcloud_dlt.openlineage.namespace import _flat, general_namespace

NOW = "2026-01-01T00:00:00Z"


def node(unique_id: str, *reads: str, **fields: Any) -> dict[str, Any]:
    name = unique_id.rpartition(".")[2]
    made = {"unique_id": unique_id, "name": name, "alias": name, "database": "wh", "schema": "main"}
    return {**made, "relation_name": f"wh.main.{name}", "depends_on": {"nodes": [*reads]}, **fields}


ORDERS, EPHEMERAL, SEED = "model.shop.orders", "model.shop.between", "seed.shop.raw"
PROJECT = Project(
    {
        ORDERS: node(ORDERS, EPHEMERAL),
        EPHEMERAL: node(EPHEMERAL, SEED, config={"materialized": "ephemeral"}),
        SEED: node(SEED),
        "test.shop.related": node("test.shop.related", ORDERS, SEED, attached_node=ORDERS),
        "test.shop.alone": node("test.shop.alone", ORDERS, SEED, config={"severity": "WARN"}),
    }
)


def made(*results: dict[str, Any], project: Project = PROJECT, catalog: Any = None, **args: Any) -> Documents:
    step = StepResults(3, {one["unique_id"]: one for one in results}, {}, {"which": "build", **args})
    return documents(step, project, catalog or {}, NOW)


def first(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The only result that is left."""
    (one,) = made(*results, **more).run_results["results"]
    return dict(one)


@pytest.mark.parametrize(
    ("status", "told"),
    [("success", "success"), ("error", "error"), ("partial success", "error")],
)
def test_how_a_model_ended(status: str, told: str) -> None:
    """The processor knows two words for it."""
    assert first(result(ORDERS, status))["status"] == told


@pytest.mark.parametrize("status", ["skipped", "reused", "no-op", None])
@pytest.mark.parametrize("unique_id", [ORDERS, "test.shop.related"])
def test_what_did_not_run(unique_id: str, status: Any) -> None:
    """It is left out, tests too: the processor would have them fail."""
    assert made(result(unique_id, status)).run_results["results"] == []


def test_what_a_model_reads() -> None:
    """Instead of an ephemeral model what that reads; a seed bears the name of a model."""
    documents = made(result(ORDERS))
    assert documents.manifest["parent_map"] == {ORDERS: [f"model.{SEED}"]}
    assert documents.manifest["nodes"][f"model.{SEED}"]["alias"] == "raw"


def test_a_test_is_of_what_it_is_attached_to() -> None:
    """A singular one is of all that it reads."""
    documents = made(result("test.shop.related", "pass"), result("test.shop.alone", "pass"))
    assert documents.manifest["parent_map"] == {
        "test.shop.related": [ORDERS],
        "test.shop.alone": [ORDERS, f"model.{SEED}"],
    }


@pytest.mark.parametrize(
    ("unique_id", "status", "severity"),
    [
        ("test.shop.related", "warn", "warn"),
        ("test.shop.related", "fail", "error"),
        ("test.shop.alone", "error", "error"),
        ("test.shop.alone", "pass", "WARN"),
    ],
)
def test_a_tests_severity_is_how_it_ended(unique_id: str, status: str, severity: str) -> None:
    """By it the processor decides whether the tests of a relation have failed."""
    config = made(result(unique_id, status)).manifest["nodes"][unique_id]["config"]
    assert config.get("severity") == severity


def test_a_node_that_the_manifest_lacks() -> None:
    """Its relation says where it is; without one there is nothing to tell, nor of its tests."""
    results = [result("model.shop.new", relation_name='"wh"."main"."new"'), result("model.shop.other")]
    documents = made(*results, result("test.shop.of_new", "pass"), project=Project())
    (known,) = documents.manifest["nodes"].values()
    assert (known["database"], known["schema"], known["alias"]) == ("wh", "main", "new")
    assert len(documents.run_results["results"]) == 1


def test_a_relation_of_another_target() -> None:
    """What the step has made counts, not what another step's manifest says."""
    documents = made(result(ORDERS, relation_name="wh.dev.orders"))
    assert documents.manifest["nodes"][ORDERS]["schema"] == "dev"


@pytest.mark.parametrize("rows", [-1, "many", None, 2.5])
def test_a_number_of_rows_that_is_none(rows: Any) -> None:
    """It is left out; the rest of the adapter's answer stays."""
    told = first(result(ORDERS, adapter_response={"rows_affected": rows, "query_id": "q"}))
    assert told["adapter_response"] == {"query_id": "q"}


@pytest.mark.parametrize(
    ("timing", "told"),
    [
        ([{"name": "execute", "started_at": "a", "completed_at": "b"}], ("a", "b")),
        ([{"name": "compile", "started_at": "a", "completed_at": "b"}], ("a", "b")),
        ([{"name": "execute", "started_at": None, "completed_at": "b"}], ("b", "b")),
        ([], (NOW, NOW)),
    ],
)
def test_times(timing: Any, told: tuple[str, str]) -> None:
    """A node that failed before it was executed has times too."""
    (span,) = first(result(ORDERS, "error", timing=timing))["timing"]
    assert (span["started_at"], span["completed_at"]) == told


def test_a_python_models_code() -> None:
    """It is no SQL."""
    project = Project({ORDERS: node(ORDERS, language="python", compiled_code="def model(dbt): ...")})
    assert made(result(ORDERS), project=project).manifest["nodes"][ORDERS]["compiled_code"] is None


def test_columns_are_called_as_in_the_database() -> None:
    """Also where the project writes them otherwise; one without a type is no failure."""
    project = Project({ORDERS: node(ORDERS, columns={"id": {"description": "Its number"}})})
    columns = {"B": {"name": "B", "index": 2, "type": None}, "ID": {"name": "ID", "index": 1, "type": "INT"}}
    documents = made(result(ORDERS), project=project, catalog={ORDERS: {"columns": columns}})
    found = documents.catalog["nodes"][ORDERS]["columns"]
    assert [(name, one["type"]) for name, one in found.items()] == [("ID", "INT"), ("B", "")]
    assert documents.manifest["nodes"][ORDERS]["columns"]["ID"] == {"name": "id", "description": "Its number"}


@pytest.mark.parametrize(("materialized", "told"), [("table", {"rows": 9}), ("incremental", {})])
def test_rows_of_the_catalog(materialized: str, told: Any) -> None:
    """They are the whole table's: of one that was added to they say nothing."""
    project = Project({ORDERS: node(ORDERS, config={"materialized": materialized})})
    entry = {"columns": {"id": {"name": "id", "type": "int"}}, "stats": {"rows": 9}}
    documents = made(result(ORDERS), project=project, catalog={ORDERS: entry})
    assert documents.catalog["nodes"][ORDERS]["stats"] == told


@pytest.mark.parametrize(
    ("which", "nodes", "command"),
    [
        ("build", [ORDERS], "build"),
        ("generate", [ORDERS], None),
        ("run-operation", [], None),
        (None, [ORDERS], "run"),
        (None, [ORDERS, "test.shop.alone"], "build"),
        (None, ["test.shop.alone"], "test"),
    ],
)
def test_commands(which: Any, nodes: list[str], command: Any) -> None:
    """What only reads tells nothing; an engine that does not say what it did is judged by its results."""
    step = StepResults(3, {one: result(one) for one in nodes}, {}, {"which": which} if which else {})
    assert command_of(step) == command


def test_of_a_manifest_only_what_is_needed_is_read() -> None:
    """The nodes that ran and those that they read, through ephemeral ones; all others are passed over."""
    nodes = {**PROJECT.nodes, "model.shop.elsewhere": {"columns": "no matter what"}}
    project = read_project(json.dumps({"nodes": nodes}).encode(), [ORDERS])
    assert set(project.nodes) == {ORDERS, EPHEMERAL, SEED}


def test_a_node_that_does_not_say_its_own_id() -> None:
    """It has the one under which the manifest has it."""
    project = read_project(json.dumps({"nodes": {ORDERS: {"name": "orders"}}}).encode(), [ORDERS])
    assert project.nodes[ORDERS] == {"name": "orders", "unique_id": ORDERS}


@pytest.mark.parametrize(
    ("connection", "namespace"),
    [
        ({"details": {"hostname": "db", "port": 1234}}, "x://db:1234"),
        ({"hostname": "db"}, "x://db"),
        ({"details": {"connection_details": {"fields": {"host": {"value": "db"}}}}}, "x://db"),
        ({"config": {"server": "db"}}, "x://db"),
        ({"name": "Warehouse", "type": "adapter"}, None),
    ],
)
def test_where_a_connections_details_are(connection: Any, namespace: Any) -> None:
    """In one of the places in which dbt Cloud keeps them."""
    assert general_namespace("x", _flat(connection)) == namespace
