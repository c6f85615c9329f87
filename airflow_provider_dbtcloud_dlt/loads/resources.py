"""Some of a source's resources, loaded by themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from dlt.common.schema import Schema
from dlt.extract import DltResource, DltSource
from dlt.extract.reference import SourceFactory
from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError

_LONGEST = 64
"""What dlt allows for the name of a schema."""


def part_name(whole: str, resources: Iterable[str]) -> str:
    """Name a part of a load after its resources, whatever their order: dlt keeps state under such a name.

    Two parts never share a name: what the plain form cannot tell apart gets a digest.

    Example::

        part_name("shop", ["orders"]) == "shop__orders"
    """
    names = sorted(set(resources))
    exact = "__".join([whole, *names])
    plain = re.sub(r"\W", "_", exact, flags=re.ASCII)
    if plain == exact and len(plain) <= _LONGEST and not any("__" in name for name in names):
        return plain
    digest = hashlib.sha256(repr([whole, names]).encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - 1 - len(digest)].rstrip('_')}_{digest}"


class SourcePart(DltSource):
    """Some resources of a source, with a schema of their own.

    The parts of a source load into one dataset, where dlt keeps the schemas by their names. Under one name
    each part would get back what another stored last, without its own tables: a data type would be inferred
    anew, and ``schema_contract`` would find nothing to keep to. The source's own name stays, for under that
    it finds its configuration and its state.
    """

    def __init__(self, whole: DltSource, resources: Sequence[str]) -> None:
        self._name = whole.name
        schema = whole.schema.clone(with_name=part_name(whole.schema.name, resources))
        super().__init__(schema, whole.section, list(whole.resources.values()))
        self.resources.select(*resources)

    @property
    def name(self) -> str:
        """The whole source's name."""
        return self._name


def select(data: Any, resources: Sequence[str], name: str) -> list[DltSource | DltResource]:
    """Select resources of what a source function returned.

    Args:
        data: What it returned.
        resources: The resources' names.
        name: What to call the function in messages.

    Raises:
        LoadError: There is no resource of that name, or there are no resources at all.
    """
    parts = _parts(data, name)
    known = list(dict.fromkeys(one for part in parts for one in _names(part)))
    if missing := [one for one in resources if one not in known]:
        raise LoadError(
            f"{name} has no resource {' or '.join(map(repr, missing))}. It has: {', '.join(known) or 'none'}."
        )
    selected: list[DltSource | DltResource] = []
    for part in parts:
        chosen = [one for one in _names(part) if one in resources]
        if chosen:
            selected.append(SourcePart(part, chosen) if isinstance(part, DltSource) else part)
    return selected


def components(data: Any, name: str) -> list[list[str]]:
    """Split what a source function returned into the smallest parts that can be loaded by themselves.

    A transformer is in one part with the resource that feeds it, which else would be extracted twice.
    Resources that the source does not select are left out.

    Args:
        data: What it returned.
        name: What to call the function in messages.

    Returns:
        The names of the resources of each part, in the source's order.

    Raises:
        LoadError: There are no resources, or the source selects none.
    """
    groups: list[set[str]] = []
    selected: list[str] = []
    for part in _parts(data, name):
        source = part if isinstance(part, DltSource) else DltSource(Schema("part"), "part", [part])
        selected += [one for one in source.selected_resources if one not in selected]
        for edge in source.resources.selected_dag:
            touching = [group for group in groups if group & {*edge}]
            groups = [group for group in groups if group not in touching]
            groups.append({*edge}.union(*touching))
    if not selected:
        raise LoadError(f"{name} selects none of its resources, so that there is nothing to load.")
    found = [[one for one in selected if one in group] for group in groups]
    return sorted(found, key=lambda names: selected.index(names[0]))


def forget(pipeline: Pipeline, parts: Iterable[Any], refresh: str) -> None:
    """Forget the state of a source's part, as ``refresh`` wants it: dlt looks for it by the schema's name."""
    with pipeline.managed_state() as state:
        sources: dict[str, Any] = state.get("sources", {})
        for part in parts:
            if isinstance(part, SourcePart) and refresh == "drop_sources":
                sources.pop(part.name, None)
            elif isinstance(part, SourcePart):
                sources.get(part.name, {}).pop("resources", None)


def _parts(data: Any, name: str) -> list[DltSource | DltResource]:
    parts = data if isinstance(data, list) else [data]
    parts = [part() if isinstance(part, SourceFactory) else part for part in parts]
    if not all(isinstance(part, DltSource | DltResource) for part in parts):
        raise LoadError(
            f"{name} returned rows, which have no resources to tell apart. Return a dlt source, a resource "
            "or a list of them, or load the rows in one task, without resources=… and without a split."
        )
    return parts


def _names(part: DltSource | DltResource) -> list[str]:
    return list(part.resources) if isinstance(part, DltSource) else [part.name]
