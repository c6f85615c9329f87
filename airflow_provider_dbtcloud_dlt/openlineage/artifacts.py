"""What is read of dbt's artifacts for lineage: of large files only the wanted nodes become objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_dbtcloud_dlt.results.decoding import decoded
from airflow_provider_dbtcloud_dlt.results.outcome import MAKERS, kind_of

Json = dict[str, Any]


class _Results(msgspec.Struct):
    results: list[Json]
    metadata: Json = {}
    args: Json = {}


class _Manifest(msgspec.Struct):
    nodes: dict[str, msgspec.Raw]
    sources: dict[str, msgspec.Raw] = {}
    exposures: dict[str, Json] = {}
    metadata: Json = {}


class _Catalog(msgspec.Struct):
    nodes: dict[str, msgspec.Raw] = {}
    sources: dict[str, msgspec.Raw] = {}


@dataclass(frozen=True)
class StepResults:
    """``run_results.json`` of a step.

    Attributes:
        step: The step's number; None if that is not known.
        results: By dbt's ids.
        metadata: Of the file.
        args: What dbt was called with.
    """

    step: int | None
    results: Mapping[str, Json]
    metadata: Json = field(default_factory=dict)
    args: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """What a manifest says of the nodes that ran and of those that they read.

    Attributes:
        nodes: By dbt's ids: models, seeds, snapshots and tests.
        sources: Likewise.
        exposures: All of them; they are few.
        metadata: Of the manifest.
    """

    nodes: Mapping[str, Json] = field(default_factory=dict)
    sources: Mapping[str, Json] = field(default_factory=dict)
    exposures: Mapping[str, Json] = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)

    def describes(self, results: Mapping[str, Json]) -> bool:
        """Whether it knows all of these nodes, and by the relations that they have made."""
        return all(
            unique_id in self.nodes and relation in (None, self.nodes[unique_id].get("relation_name"))
            for unique_id, relation in ((key, one.get("relation_name")) for key, one in results.items())
            if kind_of(unique_id) in (*MAKERS, "test")
        )

    def parents(self, unique_id: str) -> list[str]:
        """What a node reads: relations, so that instead of an ephemeral model there is what that reads."""
        found: dict[str, None] = {}
        pending, seen = list(depends_on(self.nodes.get(unique_id, {}))), {unique_id}
        while pending:
            parent = pending.pop(0)
            if parent in seen:
                continue
            seen.add(parent)
            if parent in self.sources:
                found[parent] = None
            elif parent in self.nodes and kind_of(parent) in MAKERS:
                if is_ephemeral(self.nodes[parent]):
                    pending += depends_on(self.nodes[parent])
                else:
                    found[parent] = None
        return list(found)


def depends_on(node: Json) -> list[str]:
    """The nodes that a node names as those which it depends on."""
    return list((node.get("depends_on") or {}).get("nodes") or [])


def is_ephemeral(node: Json) -> bool:
    """Whether a model is no relation of its own, but part of the SQL of those that read it."""
    return bool((node.get("config") or {}).get("materialized") == "ephemeral")


def read_run_results(content: Any, step: int | None) -> StepResults:
    """Read ``run_results.json``.

    Raises:
        ValueError: It is none.
    """
    found = decoded(content, _Results, "run_results.json")
    known = {one["unique_id"]: one for one in found.results if isinstance(one.get("unique_id"), str)}
    return StepResults(step, known, found.metadata, found.args)


def read_project(content: Any, wanted: Iterable[str]) -> Project:
    """Read ``manifest.json``: these nodes, and those that they read.

    Raises:
        ValueError: It is none.
    """
    found = decoded(content, _Manifest, "manifest.json")
    nodes: dict[str, Json] = {}
    sources: dict[str, Json] = {}
    ran = set(wanted)
    pending = list(ran)
    while pending:
        unique_id = pending.pop()
        if unique_id in nodes or unique_id in sources:
            continue
        if unique_id in found.sources:
            sources[unique_id] = _node(found.sources[unique_id], unique_id)
        elif unique_id in found.nodes:
            node = nodes[unique_id] = _node(found.nodes[unique_id], unique_id)
            if unique_id in ran or is_ephemeral(node):
                pending += depends_on(node)
    return Project(nodes, sources, found.exposures, found.metadata)


def _node(content: msgspec.Raw, unique_id: str) -> Json:
    return {**msgspec.json.decode(content, type=Json), "unique_id": unique_id}


def read_catalog(content: Any, wanted: Collection[str]) -> dict[str, Json]:
    """Read what ``catalog.json`` says of these nodes and sources, by their ids.

    Raises:
        ValueError: It is none.
    """
    found = decoded(content, _Catalog, "catalog.json")
    known = {**found.nodes, **found.sources}
    return {
        unique_id: msgspec.json.decode(known[unique_id], type=Json) for unique_id in wanted & known.keys()
    }
