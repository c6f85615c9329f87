"""One load, from the source function to the summary."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import dlt
from dlt.common.destination import Destination
from dlt.common.exceptions import SignalReceivedException
from dlt.common.pipeline import LoadInfo
from dlt.pipeline.pipeline import Pipeline

from airflow_provider_dbtcloud_dlt.loads.address import Address, address
from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.credentials import connected
from airflow_provider_dbtcloud_dlt.loads.earlier import earlier_rows
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError, causes, explain, explain_failed_jobs
from airflow_provider_dbtcloud_dlt.loads.interval import check_interval, interval_for_cursors
from airflow_provider_dbtcloud_dlt.loads.leftovers import tell_leftovers
from airflow_provider_dbtcloud_dlt.loads.logs import dlt_logs_propagate
from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan
from airflow_provider_dbtcloud_dlt.loads.progress import LogProgress, TaskLog
from airflow_provider_dbtcloud_dlt.loads.report import tell
from airflow_provider_dbtcloud_dlt.loads.resources import forget, select
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets
from airflow_provider_dbtcloud_dlt.loads.source import loadable
from airflow_provider_dbtcloud_dlt.loads.summary import LoadSummary, dataset_name, summarise
from airflow_provider_dbtcloud_dlt.loads.variables import thrifty_variables
from airflow_provider_dbtcloud_dlt.loads.workdir import working_folder
from airflow_provider_dbtcloud_dlt.loads.writers import only_writer

try:
    from dlt.common.destination.exceptions import SchemaUpdateError
except ImportError:  # an older dlt has no name for it
    from dlt.common.destination.exceptions import (  # type: ignore[assignment]
        DestinationException as SchemaUpdateError,
    )

_PAUSES = (0.5, 2.0)
"""Seconds before a load that was refused its tables is tried once more."""


def run_load(
    build: Callable[[], Any],
    plan: LoadPlan,
    *,
    log: TaskLog,
    hide: Callable[[str], Any] | None = None,
) -> LoadSummary:
    """Build a source and load it, in a working folder of its own.

    The pipeline's state is restored from the destination before the source is built, so that incremental
    loading goes on where the last load ended, on whichever worker that was.

    Args:
        build: Makes what is to be loaded; called when the pipeline is active and its state restored.
        plan: Where to and how.
        log: The task's log.
        hide: Told of each secret that dlt resolved, so that the log can hide it.

    Returns:
        What was loaded.

    Raises:
        LoadError: The load failed; the message is a sentence, the original exception its cause.
    """
    secrets = Secrets(hide)
    try:
        with _pipeline(plan, log, secrets) as pipeline:
            return _run(pipeline, build, plan, log, secrets)
    except (Exception, KeyboardInterrupt) as error:
        secrets.collect()
        message = str(error) if isinstance(error, LoadError) else explain(plan.name, error)
        raise LoadError(secrets.redact(message)) from error


def break_off() -> NoReturn:
    """Break the load off that a signal's handler has interrupted, so that it fails and cleans up.

    Raises:
        SignalReceivedException: As dlt itself does within the steps that normalize and load.
    """
    raise SignalReceivedException(signal.SIGTERM)


@contextmanager
def _pipeline(plan: LoadPlan, log: TaskLog, secrets: Secrets) -> Iterator[Pipeline]:
    """Make the pipeline, and leave nothing of it behind: no folder, no active pipeline, no changed logger."""
    with ExitStack() as stack:
        stack.enter_context(thrifty_variables())
        stack.enter_context(interval_for_cursors(plan.interval))
        folder = stack.enter_context(working_folder(plan.name, plan.pipelines_dir))
        given: dict[str, Any] = {
            "dataset_name": plan.dataset_name,
            "import_schema_path": plan.import_schema_path,
            "export_schema_path": plan.export_schema_path,
        }
        pipeline = dlt.pipeline(
            **{name: value for name, value in given.items() if value is not None},
            pipeline_name=plan.name,
            pipelines_dir=folder,
            destination=_made(plan.destination, plan.destination_connection, secrets),
            staging=_made(plan.staging, plan.staging_connection, secrets),
            dev_mode=plan.dev_mode,
            progress=LogProgress(log, plan.log_interval, on_step_end=secrets.collect),
        )
        stack.callback(pipeline.deactivate)
        stack.enter_context(dlt_logs_propagate())
        if pipeline.destination is None:
            raise LoadError(
                f"dlt pipeline {plan.name!r} has no destination. Give the task destination=…, such "
                "as 'duckdb', or configure it for dlt: destination_type in config.toml, or the environment "
                "variable DESTINATION_TYPE."
            )
        if plan.resources:
            _join_the_whole(pipeline, plan)
        yield pipeline


def _join_the_whole(pipeline: Pipeline, plan: LoadPlan) -> None:
    """Let a part of a load go where the other parts go."""
    if not pipeline.config.dataset_name and pipeline.dataset_name:
        pipeline._set_dataset_name(plan.pipeline_name + pipeline.DEFAULT_DATASET_SUFFIX)
    # dlt names a DuckDB or SQLite file after the pipeline, where nothing else says how it is called.
    bound = pipeline.destination.config_params
    if bound.get("pipeline_name") == plan.name:
        bound["pipeline_name"] = plan.pipeline_name
    if pipeline.staging:
        # All parts stage a file for dlt's own tables, which none may remove while another needs it.
        pipeline.destination.config_params.setdefault(
            "truncate_tables_on_staging_destination_before_load", False
        )


def _run(
    pipeline: Pipeline, build: Callable[[], Any], plan: LoadPlan, log: TaskLog, secrets: Secrets
) -> LoadSummary:
    """Run dlt's steps one by one.

    ``pipeline.run()`` does the same, but restores the state only after the source was built, and hands out
    the rows per table only by way of a trace that can be switched off.
    """
    started_at = datetime.now(UTC)
    if pipeline.config.restore_from_destination and not pipeline.dev_mode:
        with only_writer(pipeline, log, plan.lock_timeout):
            pipeline.sync_destination()
    first_run = pipeline.first_run
    log.info(
        "dlt pipeline %s: %s, destination %s, dataset %s",
        pipeline.pipeline_name,
        "first run" if first_run else "state restored",
        pipeline.destination.destination_name,
        pipeline.dataset_name,
    )
    source_name = plan.default_table_name or "The source"
    data, is_plain = loadable(build(), source_name)
    if plan.resources:
        data = select(data, plan.resources, source_name)
        if plan.refresh:
            forget(pipeline, data, plan.refresh)
    hints = plan.hints()
    if is_plain and plan.default_table_name:
        hints.setdefault("table_name", plan.default_table_name)
    pipeline.extract(data, **hints)
    check_interval(data, plan.interval)
    normalized = pipeline.normalize()
    with only_writer(pipeline, log, plan.lock_timeout):
        if plan.is_retry:
            tell_leftovers(pipeline, log)
        loaded = _load(pipeline, log)
        own = loaded.loads_ids if loaded else []
        earlier = earlier_rows(pipeline, plan.run_start, own, log) if plan.is_retry else {}
    if loaded and loaded.has_failed_jobs:
        raise LoadError(explain_failed_jobs(loaded))
    summary = summarise(
        pipeline,
        normalized,
        loaded,
        earlier=earlier,
        address=_address(pipeline, dataset_name(pipeline, loaded), log),
        first_run=first_run,
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )
    tell(summary, loaded, log, secrets)
    return summary


def _load(pipeline: Pipeline, log: TaskLog) -> LoadInfo | None:
    """Load the package, once more when loads that run in parallel got into each other's way with tables.

    Of two that create a dataset, or one of dlt's own tables, at the same moment, a database refuses one:
    PostgreSQL does so in spite of IF NOT EXISTS. No row is loaded by then, and the package is still there.
    """
    for seconds in _PAUSES:
        try:
            return pipeline.load()
        except Exception as error:
            refused = next((cause for cause in causes(error) if isinstance(cause, SchemaUpdateError)), None)
            if refused is None:
                raise
            why = str(getattr(refused, "cause", refused)).strip()
            log.info("Tables can't be made ready, which a load in parallel may cause; once more: %s", why)
            time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311 - not for cryptography
    return pipeline.load()


def _address(pipeline: Pipeline, dataset: str, log: TaskLog) -> Address:
    try:
        return address(pipeline.destination_client().config, dataset)
    except Exception as error:  # noqa: BLE001 - whatever it is, the load has succeeded
        log.warning("Where the tables are is not known: %s", type(error).__name__)
        return Address()


def _made(destination: Any, connection: ConnectionFields | None, secrets: Secrets) -> Any:
    """Call a function that makes a destination, and give the destination a connection's credentials."""
    if callable(destination) and not isinstance(destination, Destination):
        destination = destination()
    return connected(destination, connection, secrets) if connection else destination
