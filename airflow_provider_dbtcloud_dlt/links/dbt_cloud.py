"""The button on a task's page that leads to its run in dbt Cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

JOB_RUN_URL = "job_run_url"
JOB_RUN_ID = "job_run_id"


class DbtCloudRunLink(BaseOperatorLink):
    """Leads to the run that the task started or waits for.

    The task pushes the link as soon as it knows the run: it works while the task is deferred, and for a task
    that failed.
    """

    name = "Monitor Job Run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the run's page, empty while there is none."""
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(key=JOB_RUN_URL, ti_key=ti_key) or ""
