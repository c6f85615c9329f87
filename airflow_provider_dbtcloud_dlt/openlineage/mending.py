"""dbt's artifacts, put so that OpenLineage's processor for dbt reads them rightly. Knows no OpenLineage.

What it gets wrong of artifacts as they are (openlineage-integration-common 1.54):

- A seed makes no event and is nobody's input, nor is a snapshot; tests of them are lost. Here they bear names
  of models, `as_model`.
- An ephemeral model is an input, though there is no such relation. Here what that reads takes its place.
- A source is called by its name in dbt, not by the table's (``identifier``).
- A test of two relations is told of the last one, not of the one that it is attached to.
- A test that was skipped has failed; one that only warned by its thresholds has failed too; one that could
  not run has passed if its severity is ``warn``.
- A status that it does not know, a node that is not in the manifest, a manifest that is missing or newer, a
  number of rows that is none: all events of the step are lost.
- A column's description is lost where the catalog writes its name in other letters (Snowflake's are upper
  case), and a column without a type loses all events.
- The rows that a catalog tells are the whole table's, also of one that was only added to.
- A Python model's code is told as SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_dbtcloud_dlt.openlineage.artifacts import Json, Project, StepResults, is_ephemeral
from airflow_provider_dbtcloud_dlt.results.outcome import FAILED, MAKERS, TESTS, kind_of
from airflow_provider_dbtcloud_dlt.results.relation import relation_parts

COMMANDS = frozenset(("build", "run", "seed", "snapshot", "test"))
"""dbt's commands that write or test relations; ``retry`` is told as what it repeats."""

MANIFEST_VERSION = "https://schemas.getdbt.com/dbt/manifest/v12.json"
RESULTS_VERSION = "https://schemas.getdbt.com/dbt/run-results/v6.json"
"""What the documents here are like, whatever the versions are of those that they were made of."""

ADDED_TO = ("incremental", "snapshot")


@dataclass(frozen=True)
class Documents:
    """What the processor reads.

    Attributes:
        manifest: Of the nodes that ran, and of those that they read.
        run_results: Of one step.
        catalog: Likewise; empty if there is none.
        failures: Why nodes are left out that can't be told.
        messages: What the database said of the nodes that failed, by dbt's ids.
        tested: From when to when each test ran, and the tests of each relation; by their ids here.
    """

    manifest: Json
    run_results: Json
    catalog: Json
    failures: list[Exception]
    messages: Mapping[str, str]
    tested: Mapping[str, tuple[str, str]]


def as_model(unique_id: str) -> str:
    """The id under which a node is found here as what others read, or test."""
    return f"model.{unique_id}" if kind_of(unique_id) in ("seed", "snapshot") else unique_id


def command_of(step: StepResults) -> str | None:
    """What dbt did in a step, None if that neither wrote nor tested relations."""
    which = step.args.get("which")
    if which:
        return which if which in COMMANDS else None
    kinds = {kind_of(unique_id) for unique_id in step.results}
    if kinds.isdisjoint(TESTS):
        return "run"
    return "build" if kinds & set(MAKERS) else "test"


def documents(step: StepResults, project: Project, catalog: Mapping[str, Json], now: str) -> Documents:
    """Put a step's artifacts as the processor needs them.

    Args:
        step: How its nodes ended.
        project: What the manifest says of them; empty if there is none.
        catalog: The columns that the database has, by dbt's ids; empty if that is not known.
        now: The time of what has none, in ISO format.
    """
    otherwise = str(step.metadata.get("generated_at") or now)
    made, failures = _Made(project), []
    for unique_id, result in step.results.items():
        try:
            made.node(unique_id, result, _times(result, otherwise))
        except Exception as error:  # noqa: BLE001 - there are other nodes
            failures.append(error)
    return Documents(
        manifest={
            "metadata": {**project.metadata, "dbt_schema_version": MANIFEST_VERSION},
            "nodes": made.nodes,
            "sources": made.sources,
            "parent_map": made.parents,
            "exposures": _exposures(project),
        },
        run_results={
            "metadata": {**step.metadata, "dbt_schema_version": RESULTS_VERSION},
            "args": {**step.args, "which": command_of(step)},
            "results": made.results,
        },
        catalog=_catalog(made, catalog),
        failures=failures,
        messages=made.messages,
        tested=made.tested,
    )


class _Made:
    """The documents' nodes and results, as far as they are."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.nodes: dict[str, Json] = {}
        self.sources: dict[str, Json] = {}
        self.parents: dict[str, list[str]] = {}
        self.results: list[Json] = []
        self.messages: dict[str, str] = {}
        self.tested: dict[str, tuple[str, str]] = {}

    def node(self, unique_id: str, result: Json, times: tuple[str, str]) -> None:
        """A node that ran."""
        if kind_of(unique_id) in MAKERS:
            self.relation(unique_id, result, times)
        elif kind_of(unique_id) == "test":
            self.test(unique_id, result, times)

    def relation(self, unique_id: str, result: Json, times: tuple[str, str]) -> None:
        """A model, seed or snapshot that ran."""
        status = "error" if result.get("status") in FAILED else result.get("status")
        node = self._node(unique_id, result)
        if status not in ("success", "error") or node is None or is_ephemeral(node):
            return
        key = unique_id if kind_of(unique_id) == "snapshot" else as_model(unique_id)
        if status == "error":
            self.messages[unique_id] = str(result.get("message") or result.get("status"))
        self.nodes[key] = self.nodes[as_model(unique_id)] = node
        self._read_by(key, self.project.parents(unique_id))
        self._result(key, result, status, times)

    def test(self, unique_id: str, result: Json, times: tuple[str, str]) -> None:
        """A test that ran, if it is known which relations it is about."""
        status = result.get("status")
        node = self.project.nodes.get(unique_id)
        if node is None or status not in ("pass", "warn", *FAILED):
            return
        attached = node.get("attached_node")
        about = [attached] if attached in {**self.project.nodes, **self.project.sources} else None
        about = about or self.project.parents(unique_id)
        if not about:
            return
        node = _with_defaults(node)
        if status != "pass":
            node["config"] = {**node["config"], "severity": "warn" if status == "warn" else "error"}
        self.nodes[unique_id] = node
        self._read_by(unique_id, about)
        self._result(unique_id, result, status if status in ("pass", "warn") else "fail", times)
        for key in (unique_id, *self.parents[unique_id]):
            start, end = self.tested.get(key, times)
            self.tested[key] = (min(start, times[0]), max(end, times[1]))

    def _node(self, unique_id: str, result: Json) -> Json | None:
        node = self.project.nodes.get(unique_id)
        relation = result.get("relation_name")
        if node is None and not relation:
            return None
        node = _with_defaults(node or {"unique_id": unique_id})
        if relation and relation != node.get("relation_name"):
            node["database"], node["schema"], node["alias"] = relation_parts(relation)
        is_sql = node.get("language") != "python"
        node["compiled_code"] = (result.get("compiled_code") or node.get("compiled_code")) if is_sql else None
        return node

    def _read_by(self, key: str, parents: Iterable[str]) -> None:
        self.parents[key] = []
        for parent in parents:
            if parent in self.project.sources:
                source = _with_defaults(self.project.sources[parent])
                self.sources[parent] = {**source, "name": source["alias"]}
            else:
                self.nodes.setdefault(as_model(parent), _with_defaults(self.project.nodes[parent]))
            self.parents[key].append(as_model(parent))

    def _result(self, key: str, result: Json, status: Any, times: tuple[str, str]) -> None:
        timing = {"name": "execute", "started_at": times[0], "completed_at": times[1]}
        response = result.get("adapter_response")
        response = dict(response) if isinstance(response, Mapping) else {}
        for name in ("rows_affected", "bytes_processed"):
            if not _is_count(response.get(name, 0)):
                del response[name]
        self.results.append(
            {
                **result,
                "unique_id": key,
                "status": status,
                "timing": [timing],
                "adapter_response": response,
            }
        )


def _with_defaults(node: Json) -> Json:
    """A node with all that the processor takes for granted."""
    columns = node.get("columns") or {}
    meta = dict(node.get("meta") or {})
    owner = meta.get("owner")
    if owner and not all(isinstance(one, str) for one in (owner if isinstance(owner, list) else [owner])):
        del meta["owner"]  # OpenLineage's owners have names
    return {
        "database": None,
        "schema": None,
        "description": "",
        **node,
        "alias": node.get("alias") or node.get("identifier") or node.get("name"),
        "columns": {name: {**column, "name": name} for name, column in columns.items()},
        "config": dict(node.get("config") or {}),
        "meta": meta,
    }


def _times(result: Json, otherwise: str) -> tuple[str, str]:
    """From when to when a node ran; one that failed early has no time of execution."""
    spans = {one.get("name"): one for one in result.get("timing") or []}
    span = spans.get("execute") or spans.get("compile") or {}
    end = span.get("completed_at") or otherwise
    return span.get("started_at") or end, end


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _exposures(project: Project) -> Json:
    """The exposures, where what they depend on has both its names."""
    return {
        unique_id: {
            **exposure,
            "depends_on": {"nodes": list(dict.fromkeys(_both_names(exposure)))},
        }
        for unique_id, exposure in project.exposures.items()
    }


def _both_names(exposure: Json) -> Iterable[str]:
    for one in (exposure.get("depends_on") or {}).get("nodes") or []:
        yield one
        yield as_model(one)


def _catalog(made: _Made, catalog: Mapping[str, Json]) -> Json:
    """What the catalog says, by the ids that nodes have here; their columns are called as there."""
    found: dict[str, Json] = {"nodes": {}, "sources": {}}
    for kind, nodes in (("nodes", made.nodes), ("sources", made.sources)):
        for key, node in nodes.items():
            entry = catalog.get(str(node.get("unique_id")))
            columns = entry and entry.get("columns")
            if not entry or not columns:
                continue
            found[kind][key] = {
                **entry,
                "columns": {
                    name: {**column, "name": name, "type": str(column.get("type") or "")}
                    for name, column in sorted(columns.items(), key=lambda item: item[1].get("index") or 0)
                },
                "stats": {} if node["config"].get("materialized") in ADDED_TO else entry.get("stats"),
            }
            declared = {name.casefold(): column for name, column in node["columns"].items()}
            node["columns"] = {name: declared.get(name.casefold(), {}) for name in columns}
    return found
