"""The private working folder of a load."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working_folder(pipeline_name: str, parent: str | None = None) -> Iterator[str]:
    """Make a folder for one try of one task, and remove it with all that dlt left there, failed or not.

    dlt keeps a pipeline's state and its unfinished packages in a folder named after the pipeline. Two
    tasks, or two tries of one, that share it disturb each other; a worker that is replaced loses it. A
    folder that starts empty does neither: dlt restores the state from the destination.

    Args:
        pipeline_name: Made part of the folder's name, so that whoever finds it on a busy worker knows its
            owner.
        parent: Where to make it; made if it is missing. None: the system's folder for temporary files.

    Yields:
        The folder's path, for ``dlt.pipeline(pipelines_dir=…)``.
    """
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    prefix = f"dlt-{re.sub(r'[^A-Za-z0-9_.-]+', '_', pipeline_name)[:60]}-"
    # Errors while cleaning up are ignored: a file that cannot be removed must not hide the load's own result.
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield folder
