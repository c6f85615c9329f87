"""What the drivers of the clients share: who they talk to, and the table that they print.

A driver runs with the Python of its client's environment, where only the client and this file can be had.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

UNKNOWN_RUN = 999_999_999
WRONG_TOKEN = "a-wrong-token"

# The emulator: host, account, token; and of this client's own: project, environment, their names, and the
# jobs good (ends well, leaves artifacts), bad (fails) and slow (goes on until it is cancelled).
cloud = SimpleNamespace(**json.loads(os.environ["CONFORMANCE"]))

_cells: dict[str, str] = {}


@contextmanager
def cell(call: str, how: str = "") -> Iterator[None]:
    """Make a call; the table says that it passed, or what went wrong.

    Args:
        call: The row of the table.
        how: By what roundabout way, if the client has no function for it.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is goes into the table
        traceback.print_exc()
        first = str(error).strip().splitlines()[:1] or [""]
        _cells[call] = f"{type(error).__name__}: {first[0]}".replace(cloud.token, "…")
    else:
        _cells[call] = f"passed, {how}" if how else "passed"


def same(found: object, expected: object) -> None:
    """Fail the call if these differ."""
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def fails(do: Callable[[], Any], kind: type[Exception], words: str) -> None:
    """Fail the call if it is not refused in the client's own way.

    Args:
        do: What to try.
        kind: The exception's class.
        words: Regular expression that its text must hold.
    """
    try:
        answer = do()
    except kind as error:
        if not re.search(words, str(error)):
            raise AssertionError(f"the client says {error!s}, without {words!r}") from error
        return
    raise AssertionError(f"{answer!r} instead of an error")


def run(drive: Callable[[], None], *packages: str) -> None:
    """Drive a client and print its column of the table as JSON, alone on standard output."""
    with redirect_stdout(sys.stderr):
        drive()
    told = {"versions": {name: version(name) for name in packages}, "calls": _cells}
    print(json.dumps(told))
