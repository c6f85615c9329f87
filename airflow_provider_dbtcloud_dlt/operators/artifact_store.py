"""Where a task puts artifacts: a folder of any object store, by Airflow's ``ObjectStoragePath``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.client.artifacts import RunArtifacts

PLACES = ("dag_id", "run_id", "task_id", "map_index", "job_run_id")
"""What a folder's address may leave open."""

AT_ONCE = 4
"""Files that are on their way at the same time: few enough for dbt Cloud's limit of requests."""

_PLACE = re.compile(r"(?<!\{)\{(\w*)\}(?!\})")
_EXAMPLE = "'s3://bucket/dbt/{dag_id}/{run_id}/'"


def check_folder(name: str, value: Any) -> None:
    """Refuse, as far as it is known while the DAG file is parsed, what is no folder's address.

    Raises:
        InvalidRequestError: the sentence says what is wrong.
    """
    if value is None or not is_plain(value):
        return
    if not isinstance(value, str) or not is_address(value):
        raise InvalidRequestError(
            f"{name} must be an address such as {_EXAMPLE}, or file:///… on the worker, got {value!r}."
        )
    if urlsplit(value).password is not None:  # the value itself is not told
        raise InvalidRequestError(
            f"{name} holds a password, which everyone could read. Name an Airflow connection instead: "
            "s3://connection_id@bucket/…"
        )
    if unknown := [place for place in _PLACE.findall(value) if place not in PLACES]:
        known = ", ".join(f"{{{place}}}" for place in PLACES)
        raise InvalidRequestError(f"{name} has {{{unknown[0]}}}, which is none of {known}.")


def is_address(value: str) -> bool:
    """Whether a text is an object's or a folder's address, and no plain path on the worker."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value) is not None


def filled(folder: str, places: Mapping[str, Any]) -> str:
    """A folder's address with its places filled in; what they stand for never leads elsewhere."""

    def value(match: re.Match[str]) -> str:
        name = re.sub(r"[^\w.:+=@~-]", "_", str(places[match[1]]))
        return name if name.strip(".") else "_"

    return _PLACE.sub(value, folder)


def checked_name(path: str) -> str:
    """An artifact's path, if it stays in the folder that it is put into.

    Raises:
        ValueError: it would not.
    """
    parts = PurePosixPath(path).parts
    unclean = not parts or path.startswith("/") or ".." in parts or re.search(r"[\\\x00-\x1f]|^\w+:", path)
    if unclean:
        raise ValueError(f"the artifact {path[:200]!r} has a name that may lead out of the folder")
    return "/".join(parts)


def put(source: Path, folder: str, name: str) -> str:
    """Copy a file into a folder of an object store, piece by piece; return its address there."""
    from airflow.sdk import ObjectStoragePath  # no DAG file needs it

    root = ObjectStoragePath(folder)
    target = f"{root.path.rstrip('/')}/{name}"
    if root.protocol in ("", "file", "local"):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    else:
        # Not by opening it for writing: a file whose writing breaks off would be there, cut short.
        root.fs.put_file(str(source), target)
    return f"{folder.rstrip('/')}/{name}"


def save_all(artifacts: RunArtifacts, folder: str) -> int:
    """Copy all artifacts of a run into a folder, each step's into one of its own, ``step_3/manifest.json``.

    Args:
        artifacts: the run's.
        folder: the folder's address.

    Returns:
        How many there are.

    Raises:
        Exception: the first failure; what was copied by then stays.
    """

    def save(step: int | None, path: str) -> None:
        name = checked_name(path)
        file = artifacts.file(step, path)
        put(file, folder, name if step is None else f"step_{step}/{name}")
        file.unlink()  # a large project's do not fit all at once

    wanted = [(step, path) for step, paths in artifacts.by_step.items() for path in paths]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dbt-cloud-artifacts") as threads:
        pending = [threads.submit(save, *one) for one in wanted]
        try:
            for one in pending:
                one.result()
        finally:
            threads.shutdown(cancel_futures=True)
    return len(wanted)
