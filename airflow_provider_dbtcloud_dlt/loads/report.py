"""What a load tells in the task's log when it is done."""

from __future__ import annotations

from dlt.common.pipeline import LoadInfo

from airflow_provider_dbtcloud_dlt.loads.progress import TaskLog
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets
from airflow_provider_dbtcloud_dlt.loads.summary import LoadSummary


def tell(summary: LoadSummary, loaded: LoadInfo | None, log: TaskLog, secrets: Secrets) -> None:
    """Tell what is where by now, what dlt says of it, and how the schema has changed."""
    seconds = _seconds(loaded)
    for table, count in summary.rows.items():
        took = f" in {seconds[table]:.1f} s" if table in seconds else ""
        if count:
            log.info("Loaded %s: %s rows, %s bytes%s", table, f"{count:,}", f"{summary.bytes[table]:,}", took)
        else:
            log.info("Emptied %s%s", table, took)
    for line in summary.schema_changes.lines():
        log.info("%s", line)
    for line in summary.schema_changes.warnings():
        log.warning("%s", line)
    if loaded and loaded.loads_ids:
        for line in secrets.redact(str(loaded)).splitlines():
            log.info("%s", line)
    log.info(
        "dlt pipeline %s: %s rows in %.1f s%s",
        summary.pipeline_name,
        f"{summary.row_count:,}",
        summary.seconds,
        "; nothing was loaded" if summary.nothing_loaded else "",
    )


def _seconds(loaded: LoadInfo | None) -> dict[str, float]:
    """How long the destination took for each table, from its first job's start to its last one's end."""
    seconds: dict[str, float] = {}
    jobs = [
        job
        for reports in (loaded.metrics if loaded else {}).values()
        for report in reports
        for job in report["job_metrics"].values()
        if job.finished_at
    ]
    for table in {job.table_name for job in jobs}:
        own = [job for job in jobs if job.table_name == table]
        seconds[table] = (
            max(job.finished_at for job in own if job.finished_at) - min(job.started_at for job in own)
        ).total_seconds()
    return seconds
