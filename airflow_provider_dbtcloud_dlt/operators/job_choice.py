"""Which job a task means: the one with an id, one that names tell, or the connection's."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.arguments import check_id_argument, rendered_id
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.client.lookup import NamedJob
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook


@dataclass(frozen=True)
class JobChoice:
    """What a task says of its job; an id or names, or neither."""

    task_id: str
    job_id: int | str | None
    job_name: str | None
    project_name: str | None
    environment_name: str | None

    @property
    def is_given(self) -> bool:
        """Whether the task itself says anything of its job."""
        said = (self.job_id, self.job_name, self.project_name, self.environment_name)
        return any(value is not None for value in said)

    def check(self) -> None:
        """Refuse, while the DAG file is parsed, what can't be meant.

        Raises:
            InvalidRequestError: an id beside names, a name that is empty, or names without the job's.
        """
        names = {
            name: getattr(self, name)
            for name in ("job_name", "project_name", "environment_name")
            if getattr(self, name) is not None
        }
        for name, value in names.items():
            if isinstance(value, str) and not value.strip():
                raise InvalidRequestError(f"Task {self.task_id!r}: {name} is empty.")
        if self.job_id is not None and names:
            raise InvalidRequestError(
                f"Task {self.task_id!r} gives job_id and {' and '.join(names)}: give one or the other."
            )
        if names and "job_name" not in names:
            raise InvalidRequestError(
                f"Task {self.task_id!r} gives {' and '.join(names)} without job_name: which job of it?"
            )
        check_id_argument("job_id", self.job_id)

    def find(self, hook: DbtCloudHook) -> int:
        """Return the job's id, once all templates are rendered.

        Raises:
            DbtCloudError: there is no such job, or none is named.
        """
        job = self.meant(hook)
        return job.find(hook.get_conn()).id if isinstance(job, NamedJob) else job

    def meant(self, hook: DbtCloudHook) -> int | NamedJob:
        """Return the job's id, or the names that are still to be looked up.

        Raises:
            DbtCloudError: none is named, or the connection can't be read.
        """
        if self.job_id is not None:
            return rendered_id("job_id", self.job_id)
        if self.job_name is not None:
            return hook.named_job(self.job_name, self.project_name, self.environment_name)
        default = hook.settings.defaults.get("job_id")
        if default is None:
            raise InvalidRequestError(
                f"Task {self.task_id!r} names no job: give job_id, or job_name (with project_name and "
                f"environment_name), or put a job_id into the extra of {hook.settings.origin}."
            )
        return rendered_id("job_id", default)
