"""OpenLineage's events as its file transport writes them, each checked against OpenLineage's own schema."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

SPEC = Path(__file__).parents[1] / "openlineage" / "spec"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
OF_EVENTS = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
# Its packages name these by addresses that lead to no file; one of them has none at all.
OF_DBT = "https://github.com/OpenLineage/OpenLineage/tree/main/integration/common/openlineage/schema/"
WITHOUT_SCHEMA = f"{OF_DBT}dbt-model-dataset-facet.json"


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read what the transport has written; each event is valid."""
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for event in events:
        check(event)
    return events


def check(event: dict[str, Any]) -> None:
    """Check an event and all its facets.

    Raises:
        jsonschema.ValidationError: Something of it is not as the schema says.
    """
    _validator(f"{OF_EVENTS}#/$defs/RunEvent").validate(event)
    for name, facet in _facets(event):
        url = facet["_schemaURL"]
        if url == WITHOUT_SCHEMA or "airflow" in url:
            continue
        if url.startswith(OF_DBT):
            _validator(_of_dbt(url.removeprefix(OF_DBT))).validate(facet)
        else:
            _validator(url).validate(facet)
        assert facet["_producer"], name


def _facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from event["run"].get("facets", {}).items()
    yield from event["job"].get("facets", {}).items()
    for dataset in [*event.get("inputs", []), *event.get("outputs", [])]:
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from dataset.get(kind, {}).items()


@functools.cache
def _validator(url: str) -> Any:
    return jsonschema.Draft202012Validator(
        {"$ref": url},
        registry=_registry(),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )


@functools.cache
def _registry() -> Registry[Any]:
    import openlineage.common.schema

    contents = [json.loads(path.read_text()) for path in SPEC.rglob("*.json")]
    for path in Path(openlineage.common.schema.__file__).parent.glob("dbt-*.json"):
        # What "$schema" they name does not exist.
        contents.append({**json.loads(path.read_text()), "$schema": DIALECT, "$id": OF_DBT + path.name})
    made: Registry[Any] = Registry(retrieve=_of_another_version)
    return made.with_resources((one["$id"], Resource.from_contents(one)) for one in contents)


def _of_another_version(url: str) -> Resource[Any]:
    """Some facets refer to what an earlier version says of all of them."""
    assert url.endswith("/OpenLineage.json"), url
    return Resource.from_contents(json.loads((SPEC / "OpenLineage.json").read_text()))


def _of_dbt(name: str) -> str:
    (definition,) = _registry().contents(OF_DBT + name)["$defs"]
    return f"{OF_DBT}{name}#/$defs/{definition}"
