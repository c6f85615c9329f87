"""Artifacts as dbt writes them, made up."""

import json
from typing import Any


def run_results(*results: dict[str, Any], which: str = "build") -> str:
    """A `run_results.json` with these results."""
    return json.dumps({"metadata": {}, "args": {"which": which}, "results": results})


def result(unique_id: str, status: str = "success", **fields: Any) -> dict[str, Any]:
    """One node's result."""
    known = {"execution_time": 1.0, "adapter_response": {}, "message": None, "failures": None}
    return {"unique_id": unique_id, "status": status, **known, **fields}


def manifest(**nodes: dict[str, Any]) -> str:
    """A `manifest.json` with nodes of the project `shop`, by their names: `orders` is `model.shop.orders`."""
    made = {}
    for name, fields in nodes.items():
        kind = fields.pop("kind", "model")
        place = {"database": "wh", "schema": "main", "alias": name, "relation_name": f'"wh"."main"."{name}"'}
        made[f"{kind}.shop.{name}"] = {"name": name, "config": {"materialized": "table"}, **place, **fields}
    return json.dumps(
        {"metadata": {}, "sources": {}, "nodes": made, "macros": {"m": {"macro_sql": "x" * 100}}}
    )
