"""One load at a time into a database that has one writer, a DuckDB or SQLite file."""

from __future__ import annotations

import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError, causes
from airflow_provider_dbtcloud_dlt.loads.progress import TaskLog

_TELL_EVERY = 60.0
"""Seconds between two lines of a load that waits."""


@contextmanager
def only_writer(pipeline: Pipeline, log: TaskLog, timeout: float) -> Iterator[None]:
    """Be the only one who writes into the destination, if it can have no more; wait for that.

    DuckDB locks its file for the process that has it open: it is kept open, so that nobody gets between two
    of dlt's steps. So whatever else opens such files is waited for too, dbt for one. SQLite locks for each
    transaction, and gives up after some seconds: there a lock file beside the database does it, for loads.

    Args:
        pipeline: Whose destination it is.
        log: Told who is waited for.
        timeout: Seconds to wait at most.

    Raises:
        LoadError: The time is up, or there can't be a lock file.
    """
    kind = pipeline.destination.destination_type.rpartition(".")[2]
    with ExitStack() as stack:
        if kind == "duckdb":
            _wait(lambda: _open_duckdb(pipeline, stack), log, timeout)
        elif kind == "sqlalchemy" and (database := _sqlite_file(pipeline)):
            _wait(lambda: _lock_beside(database, stack), log, timeout)
        yield


def _wait(attempt: Callable[[], str | None], log: TaskLog, timeout: float) -> None:
    """Attempt something until it works: it returns None, or what is in its way."""
    started = time.monotonic()
    tell_at = 0.0
    while obstacle := attempt():
        waited = time.monotonic() - started
        if waited >= timeout:
            raise LoadError(
                f"{obstacle} That was so for {timeout:g} s. Run such loads one after the other, in a pool of "
                "one slot for instance, or let them wait longer by lock_timeout."
            )
        if waited >= tell_at:
            log.info("%s Waiting for it, for %.0f s at most; %.0f s so far.", obstacle, timeout, waited)
            tell_at = waited + _TELL_EVERY
        # A random pause: of several that wait, none is always too late.
        time.sleep(min(random.uniform(0.1, 0.5), timeout - waited))  # noqa: S311 - not for cryptography


def _open_duckdb(pipeline: Pipeline, stack: ExitStack) -> str | None:
    try:
        client: Any = pipeline.sql_client()
        stack.enter_context(client)
    except Exception as error:
        told = next((str(cause) for cause in causes(error) if "Could not set lock" in str(cause)), None)
        if told is None:
            raise
        holder = re.search(r"held in (\S+ \(PID \d+\))", told)
        by = f" by {holder[1]}" if holder else ""
        return f"The DuckDB file is in use{by}, and one process at a time can write into it."
    return None


def _sqlite_file(pipeline: Pipeline) -> Path | None:
    """The SQLite file that is loaded into; None if it is another database, or one in memory."""
    credentials: Any = getattr(pipeline.destination_client().config, "credentials", None)
    database = getattr(credentials, "database", None) or ""
    is_sqlite = str(getattr(credentials, "drivername", "")).partition("+")[0] == "sqlite"
    return Path(database) if is_sqlite and database and not database.startswith((":", "file:")) else None


def _lock_beside(database: Path, stack: ExitStack) -> str | None:
    """Take the lock file, which the system frees when the process dies; removed when it is given back."""
    path = f"{database}.lock"
    with ExitStack() as attempt:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            attempt.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = _is_at(path, descriptor)
        except BlockingIOError:
            taken = False
        except OSError as error:
            raise LoadError(
                f"The lock file {path} beside the SQLite database can't be had: {error.strerror}. The folder "
                "must exist, let the task make files in it, and be on a file system that has locks."
            ) from error
        if not taken:
            return (
                f"Another load writes into the SQLite database {database.name}, and only one can at a time."
            )
        attempt.callback(os.unlink, path)
        stack.push(attempt.pop_all())
    return None


def _is_at(path: str, descriptor: int) -> bool:
    """Whether an open file is still there: whoever had its lock may have removed it, and another made one."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
