"""What went wrong in a load, as a sentence.

dlt wraps an exception several times, and its messages speak of working folders and of a command line that an
Airflow task does not have. Whoever reads a task's log wants the step, the table or resource, and the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.common.schema.exceptions import DataValidationError
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.extract.exceptions import PipeException
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

_STEPS = {
    "sync": "restoring the pipeline's state from the destination",
    "extract": "the extract step",
    "normalize": "the normalize step",
    "load": "the load step",
}


class LoadError(Exception):
    """A load did not succeed; the message says why, and the original exception is its ``__cause__``."""


def explain(pipeline_name: str, error: BaseException) -> str:
    """Say in a sentence what an exception raised by dlt or by the source means.

    Args:
        pipeline_name: Named in the sentence.
        error: What was raised.
    """
    chain = list(_causes(error))
    step = next((e.step for e in chain if isinstance(e, PipelineStepFailed)), None)
    where = f"dlt pipeline {pipeline_name!r} failed" + (f" in {_STEPS.get(step, step)}" if step else "")
    for cause in chain:
        if isinstance(cause, SignalReceivedException):
            return f"{where}: it was stopped by signal {cause.signal_code}."
        if isinstance(cause, LoadClientJobException):
            return f"{where}: {_failed_job(cause.job_id, cause.failed_message)}"
        if isinstance(cause, DataValidationError):
            return f"{where}: the data break the schema contract. {_message(cause)}"
    resource = next((e.pipe_name for e in chain if isinstance(e, PipeException)), None)
    if resource:
        where += f", resource {resource!r}"
    return f"{where}: {_named(chain[-1])}"


def explain_failed_jobs(loaded: LoadInfo) -> str:
    """Say which jobs of a load failed, when dlt was configured not to raise for them."""
    failed = [
        _failed_job(job.job_file_info.job_id(), job.failed_message)
        for package in loaded.load_packages
        for job in package.jobs["failed_jobs"]
    ]
    where = f"dlt pipeline {loaded.pipeline.pipeline_name!r} failed in the load step"
    return f"{where}: " + _joined(failed)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to its root cause."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = getattr(current, "exception", None) or getattr(current, "client_exception", None)
        following = current.__cause__ or (inner if isinstance(inner, BaseException) else None)
        if following is None and not current.__suppress_context__:
            following = current.__context__
        current = following


def _failed_job(job_id: str, message: str | None) -> str:
    table = ParsedLoadJobFileName.parse(job_id).table_name
    return f"table {table!r} could not be loaded (job {job_id}): {(message or 'no message').strip()}"


def _joined(sentences: Iterable[str], limit: int = 5) -> str:
    sentences = list(sentences)
    more = f"; and {len(sentences) - limit} more" if len(sentences) > limit else ""
    return "; ".join(sentences[:limit]) + more


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_message(error)}".rstrip(": ")


def _message(error: BaseException) -> str:
    return str(error).strip()
