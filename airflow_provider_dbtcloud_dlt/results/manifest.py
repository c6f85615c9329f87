"""What dbt's manifest says of a project's sources: https://docs.getdbt.com/reference/artifacts/manifest-json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self


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
    """What is read of a manifest.

    Attributes:
        sources: The tables that dbt reads.
        default_selector: The name of the project's selector with ``default: true``.
    """

    sources: tuple[Source, ...]
    default_selector: str | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a manifest, of which only small parts are decoded: a large project's has 100 MB and more.

        Raises:
            ValueError: It is no manifest.
        """
        text = content.decode("utf-8")
        found = list(_objects(text, "sources"))
        if not found:
            raise ValueError("it has no sources")
        sources = [
            Source(
                source_name=str(node["source_name"]),
                name=str(node["name"]),
                schema=str(node.get("schema") or ""),
                identifier=str(node.get("identifier") or node["name"]),
            )
            for nodes in found
            for node in nodes.values()
            if _is_source(node)
        ]
        defaults = [
            name
            for selectors in _objects(text, "selectors")
            for name, selector in selectors.items()
            if isinstance(selector, Mapping) and "definition" in selector and selector.get("default")
        ]
        return cls(tuple(sources), defaults[0] if defaults else None)


def _is_source(node: Any) -> bool:
    """Whether it is one: a model's `meta` may have something under the key ``sources`` too."""
    return (
        isinstance(node, Mapping)
        and node.get("resource_type") == "source"
        and {"source_name", "name"} <= {*node}
    )


def _objects(text: str, key: str) -> Iterator[dict[str, Any]]:
    """The JSON objects under a key, wherever it is. Within a text the key's quotes would be escaped."""
    for match in re.finditer(rf'"{key}"\s*:\s*(?=\{{)', text):
        try:
            yield json.JSONDecoder().raw_decode(text, match.end())[0]
        except ValueError:
            raise ValueError("it is no JSON") from None
