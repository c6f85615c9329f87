"""What went wrong in a load, as a sentence.

dlt wraps an exception several times, and its messages speak of working folders and of a command line that an
Airflow task does not have. Whoever reads a task's log wants the step, the table or resource, and the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException, SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.common.schema.exceptions import DataValidationError
from dlt.extract.exceptions import PipeException, ResourceNameMissing
from dlt.load.exceptions import LoadClientJobException
from dlt.pipeline.exceptions import PipelineStepFailed

_STEPS = {
    "sync": "restoring the pipeline's state from the destination",
    "extract": "the extract step",
    "normalize": "the normalize step",
    "load": "the load step",
}


_EXTRAS = {"s3fs": "s3", "botocore": "s3", "boto3": "s3", "gcsfs": "gs", "adlfs": "az", "azure": "az"}
"""dlt's extras by modules, of the one destination that has several."""

_PARTLY = " Other jobs of this load were done before: what they wrote stays at the destination."


class LoadError(Exception):
    """A load did not succeed; the message says why, and the original exception is its ``__cause__``."""


def explain(pipeline_name: str, error: BaseException) -> str:
    """Say in a sentence what an exception raised by dlt or by the source means.

    Args:
        pipeline_name: Named in the sentence.
        error: What was raised.
    """
    chain = list(causes(error))
    failed = next((e for e in chain if isinstance(e, PipelineStepFailed)), None)
    step = failed.step if failed else None
    where = f"dlt pipeline {pipeline_name!r} failed" + (f" in {_STEPS.get(step, step)}" if step else "")
    for cause in chain:
        if isinstance(cause, SignalReceivedException):
            return f"{where}: it was stopped by signal {cause.signal_code}."
        if isinstance(cause, LoadClientJobException):
            partly = failed is not None and failed.is_package_partially_loaded
            return f"{where}: {_failed_job(cause.job_id, cause.failed_message)}" + (_PARTLY if partly else "")
        if isinstance(cause, DataValidationError):
            return f"{where}: the data break the schema contract. {_message(cause)}"
        if isinstance(cause, ConfigFieldMissingException):
            return f"{where}: {_missing_configuration(cause, pipeline_name)}"
        if isinstance(cause, ResourceNameMissing):
            return f"{where}: the rows have no table. Give the task table_name=…."
        if type(cause).__name__ == "ExternalSchedulerNotAvailable":  # older versions of dlt have none
            return (
                f"{where}: a cursor of resource {getattr(cause, 'pipe_name', '')!r} follows the DAG run's "
                "data interval, and this run has none. Trigger the DAG with a logical date."
            )
        if isinstance(cause, UnknownDestinationModule):
            return (
                f"{where}: dlt knows no destination {cause.ref!r}. Name one of those listed at "
                "https://dlthub.com/docs/dlt-ecosystem/destinations, or give yours a type in dlt's "
                f"configuration (DESTINATION__{cause.ref.upper()}__DESTINATION_TYPE)."
            )
        if isinstance(cause, ModuleNotFoundError) and failed and step in ("sync", "load"):
            destination = failed.pipeline.destination.destination_type.rpartition(".")[2]
            return f"{where}: {not_installed(cause, destination)}"
        if isinstance(cause, MissingDependencyException):
            return f"{where}: {not_installed(cause)}"
    resource = next((e.pipe_name for e in chain if isinstance(e, PipeException)), None)
    if resource:
        where += f", resource {resource!r}"
    return f"{where}: {_named(chain[-1])}"


def not_installed(error: ImportError, destination: str = "") -> str:
    """Say what to install.

    Args:
        error: What an import raised, or dlt in its place.
        destination: The type of the destination that needs it: dlt has an extra of that name.
    """
    if isinstance(error, MissingDependencyException):
        packages = " ".join(repr(str(name)) for name in error.dependencies)
        return f"{error.caller} needs packages that this worker lacks: pip install {packages}."
    module = str(error.name)
    extra = _EXTRAS.get(module.partition(".")[0], destination)
    driver = f" and the database's driver {module!r}" if extra == "sqlalchemy" else ""
    return f"module {module!r} is not installed on this worker: pip install 'dlt[{extra}]'{driver}."


def explain_failed_jobs(loaded: LoadInfo) -> str:
    """Say which jobs of a load failed, when dlt was configured not to raise for them."""
    failed = [
        _failed_job(job.job_file_info.job_id(), job.failed_message)
        for package in loaded.load_packages
        for job in package.jobs["failed_jobs"]
    ]
    where = f"dlt pipeline {loaded.pipeline.pipeline_name!r} failed in the load step"
    return f"{where}: " + _joined(failed)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to its root cause, also where only dlt's attributes lead to it."""
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
    # A job's id is table.file.format, and dlt allows no dot in a table's name.
    table = job_id.partition(".")[0]
    return f"table {table!r} could not be loaded (job {job_id}): {_without_frames(message or 'no message')}"


def _without_frames(message: str) -> str:
    """Return the exception's own lines if dlt recorded a whole traceback, which the log shows anyway."""
    lines = message.strip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not lines or not lines[0].startswith("Traceback") or not frames:
        return message.strip()
    own = next((n for n in range(frames[-1] + 1, len(lines)) if not lines[n].startswith(" ")), len(lines) - 1)
    return "\n".join(lines[own:])


def _missing_configuration(error: ConfigFieldMissingException, pipeline_name: str) -> str:
    """Name one place for each missing value; dlt's own message names all, some dozens of lines of them."""
    keys = list(dict.fromkeys(_environment_keys(error.traces, f"{pipeline_name.upper()}__")))
    if not keys:
        return _message(error)
    names = _joined(keys, limit=8, by=", ")
    return (
        f"dlt's configuration lacks {names}. Set it in the workers' environment, in secrets.toml or in the "
        "Airflow Variable dlt_secrets_toml; A__B__C of the environment is c in the section [a.b] of TOML: "
        "https://dlthub.com/docs/general-usage/credentials."
    )


def _environment_keys(traces: Mapping[str, Any], pipeline_prefix: str) -> Iterator[str]:
    """Find the most telling environment variable for each value that dlt missed, also in nested ones."""
    for tried in traces.values():
        for nested in tried:
            if hasattr(nested, "traces"):
                yield from _environment_keys(nested.traces, pipeline_prefix)
        keys = [t.key for t in tried if getattr(t, "provider", None) == "Environment Variables"]
        # Those for one pipeline alone come first, and then each from the longest to the shortest.
        general = [key for key in keys if not key.startswith(pipeline_prefix)] or keys
        if general:
            yield max(general, key=len)


def _joined(parts: Iterable[str], limit: int = 5, by: str = "; ") -> str:
    parts = list(parts)
    more = f"{by}and {len(parts) - limit} more" if len(parts) > limit else ""
    return by.join(parts[:limit]) + more


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_message(error)}".rstrip(": ")


def _message(error: BaseException) -> str:
    return str(error).strip()
