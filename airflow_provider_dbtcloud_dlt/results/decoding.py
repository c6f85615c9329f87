"""How dbt's artifacts are decoded: only what is declared of them becomes Python objects."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

_KindT = TypeVar("_KindT", bound=msgspec.Struct)


def decoded(content: Any, kind: type[_KindT], what: str) -> _KindT:
    """Decode a file.

    Args:
        content: The file's bytes, or a memory map of it.
        kind: What is declared of it.
        what: What it should be, such as ``manifest``, for the error.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no {what} ({error})") from None
