"""What is read of dbt's manifest: https://docs.getdbt.com/reference/artifacts/manifest-json.

A large project's has hundreds of megabytes. Of these only what is declared here becomes Python objects; all
else is passed over while it is decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from airflow_provider_dbtcloud_dlt.results.decoding import decoded


class _Source(msgspec.Struct):
    name: str = ""
    source_name: str = ""
    schema: str | None = None
    identifier: str | None = None


class _Config(msgspec.Struct):
    materialized: str | None = None


class _DependsOn(msgspec.Struct):
    nodes: list[str] | None = None


class _Node(msgspec.Struct):
    name: str | None = None
    alias: str | None = None
    database: str | None = None
    schema: str | None = None
    relation_name: str | None = None
    compiled_path: str | None = None
    attached_node: str | None = None
    config: _Config | None = None
    depends_on: _DependsOn | None = None


class _OfSources(msgspec.Struct):
    sources: dict[str, _Source]
    selectors: dict[str, Any] | None = None


class _OfNodes(msgspec.Struct):
    nodes: dict[str, _Node]


@dataclass(frozen=True)
class Source:
    """A table that dbt reads and does not make.

    Attributes:
        source_name: The name of the source that it belongs to.
        name: The table's name within it.
        schema: Where it is.
        identifier: What it is called there.
    """

    source_name: str
    name: str
    schema: str
    identifier: str


@dataclass(frozen=True)
class Manifest:
    """What is read of a manifest to select what was loaded.

    Attributes:
        sources: The tables that dbt reads.
        default_selector: The name of the project's selector with ``default: true``.
    """

    sources: tuple[Source, ...]
    default_selector: str | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a manifest.

        Raises:
            ValueError: It is no manifest.
        """
        found = decoded(content, _OfSources, "manifest")
        sources = [
            Source(one.source_name, one.name, one.schema or "", one.identifier or one.name)
            for one in found.sources.values()
            if one.source_name and one.name
        ]
        defaults = [
            name
            for name, selector in (found.selectors or {}).items()
            if isinstance(selector, Mapping) and "definition" in selector and selector.get("default")
        ]
        return cls(tuple(sources), defaults[0] if defaults else None)


@dataclass(frozen=True)
class Node:
    """What a manifest says of a model, seed, snapshot or test.

    Attributes:
        relation: The relation as SQL names it, quotes included; None if it makes none.
        database: Where that is.
        schema: Likewise.
        table: What it is called there.
        materialized: ``table``, ``view``, ``incremental``, ``ephemeral`` …
        compiled_path: Of its compiled SQL, such as ``target/compiled/shop/models/orders.sql``.
        tested: The nodes that a test is about; of others those that they depend on.
        depends_on: The nodes that it depends on.
    """

    relation: str | None = None
    database: str | None = None
    schema: str | None = None
    table: str | None = None
    materialized: str | None = None
    compiled_path: str | None = None
    tested: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()


def read_nodes(content: Any) -> dict[str, Node]:
    """Read what a manifest says of its nodes, by their ids.

    Args:
        content: The file's bytes, or a memory map of it.

    Raises:
        ValueError: It is no manifest.
    """
    return {
        unique_id: _node(node) for unique_id, node in decoded(content, _OfNodes, "manifest").nodes.items()
    }


def _node(node: _Node) -> Node:
    depends_on = tuple((node.depends_on and node.depends_on.nodes) or ())
    return Node(
        relation=node.relation_name,
        database=node.database,
        schema=node.schema,
        table=node.alias or node.name,
        materialized=node.config.materialized if node.config else None,
        compiled_path=node.compiled_path,
        tested=(node.attached_node,) if node.attached_node else depends_on,
        depends_on=depends_on,
    )


def reduced(nodes: Mapping[str, Node], ran: Collection[str]) -> dict[str, Node]:
    """Only the nodes that ran, each with those among them that it had to wait for.

    That it waits for another may be by way of nodes that did not run, such as an ephemeral model, or one that
    was not selected: dbt keeps the order then as well.

    Args:
        nodes: All of the project.
        ran: The ids of those that ran.
    """
    behind: dict[str, frozenset[str]] = {}

    def waited_for(depends_on: Iterable[str]) -> Iterator[str]:
        for unique_id in depends_on:
            if unique_id in ran:
                yield unique_id
            else:
                yield from behind.get(unique_id, ())

    def learn(depends_on: Iterable[str]) -> None:
        left = list(depends_on)  # not by recursion: there may be thousands in a row
        while left:
            unique_id = left[-1]
            node = nodes.get(unique_id)
            if unique_id in ran or node is None or behind.get(unique_id):
                left.pop()
            elif unique_id not in behind:
                behind[unique_id] = frozenset()
                left += node.depends_on
            else:
                behind[unique_id] = frozenset(waited_for(node.depends_on))
                left.pop()

    found = {}
    for unique_id in ran:
        if node := nodes.get(unique_id):
            learn(node.depends_on)
            found[unique_id] = replace(node, depends_on=tuple(dict.fromkeys(waited_for(node.depends_on))))
    return found
