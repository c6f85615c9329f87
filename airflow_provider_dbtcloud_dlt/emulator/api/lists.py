"""Lists that are small enough to be in memory: filtered, ordered, in pages."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import Response

from airflow_provider_dbtcloud_dlt.emulator import payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.answers import envelope
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError


def one(shown: Sequence[payloads.Json], wanted: int) -> Response:
    """Answer with the object that has an id.

    Raises:
        NotFoundError: If there is none.
    """
    for candidate in shown:
        if candidate["id"] == wanted:
            return envelope(candidate)
    raise NotFoundError(f"There is nothing with the id {wanted}.")


def select(shown: Sequence[payloads.Json], query: queries.ListQuery) -> Response:
    """Filter, order and page a list that is small enough to be in memory as it is shown."""
    chosen = [one for one in shown if _matches(one, query)]
    order = query.order_by.lstrip("-")
    chosen.sort(key=lambda one: (one[order], one["id"]), reverse=query.order_by.startswith("-"))
    return page(chosen[query.offset : query.offset + query.limit], query, len(chosen))


_CONDITIONS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "gt": operator.gt,
    "in": lambda value, wanted: value in wanted,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
}
# Filters for what no object here shows, with what they would find.
_UNSHOWN = {"is_fusion_ready": False, "is_system": False, "triggers_schedule": False}


def _matches(one: Mapping[str, Any], query: queries.ListQuery) -> bool:
    """Whether an object passes every filter that was given."""
    one = {**one, **_UNSHOWN}
    given = query.filters()
    for name in ("limit", "offset"):
        given.pop(name, None)
    for name, wanted in given.items():
        field, _, condition = name.partition("__")
        if field == "state":
            if wanted in ("2", "deleted"):
                return False
            continue
        field = "id" if field == "pk" else field
        if one[field] is None or not _CONDITIONS[condition](one[field], wanted):
            return False
    return True


def page(shown: Sequence[payloads.Json], query: queries.ListQuery, total: int) -> Response:
    """Answer with a page of a list, and say which part of how much it is."""
    extra = {
        "filters": {**query.filters(), "limit": query.limit, "offset": query.offset},
        "order_by": query.order_by,
        "pagination": {"count": len(shown), "total_count": total},
    }
    return envelope(shown, extra=extra)
