"""Finds a job by names, and says what there is instead when it can't."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_dbtcloud_dlt.client.checks import check_text
from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.errors import JobLookupError
from airflow_provider_dbtcloud_dlt.client.models import Environment, Job, Project

SHOWN_NAMES = 20


@dataclass(frozen=True)
class NamedJob:
    """A job by its names; upper and lower case count, as they do in dbt Cloud.

    Args:
        job_name: the job's name. A name may come as a whole number: Airflow makes one of "2026" in a DAG with
            ``render_template_as_native_obj``.
        project_name: the name of its project; default: any project, or `project_id`'s.
        environment_name: the name of its environment; default: any, or `environment_id`'s.
        project_id: used when there is no `project_name`.
        environment_id: used when there is no `environment_name`.

    Raises:
        InvalidRequestError: a name is no text.
    """

    job_name: str | int
    project_name: str | int | None = None
    environment_name: str | int | None = None
    project_id: int | str | None = None
    environment_id: int | str | None = None

    def __post_init__(self) -> None:
        for name in ("job_name", "project_name", "environment_name"):
            value = getattr(self, name)
            if name == "job_name" or value is not None:
                object.__setattr__(self, name, check_text(name, value))

    def __str__(self) -> str:
        return repr(self.job_name)

    def find(self, client: DBTCloudClientV2) -> Job:
        """Return the one job of these names.

        Raises:
            JobLookupError: nothing, or more than one thing, has the name; near matches are listed.
            DbtCloudError: a request failed.
        """
        job_name, project_id, environment_id = str(self.job_name), self.project_id, self.environment_id
        if self.project_name is not None:
            name = str(self.project_name)
            project_id = _only("project", name, client.list_projects(name__icontains=name)) or (
                _none("project", name, client.list_projects())
            )
        if self.environment_name is not None:
            name = str(self.environment_name)
            environments = list(client.list_environments(project_id=project_id))
            environment_id = _only("environment", name, environments) or _none(
                "environment", name, environments
            )
        jobs = client.list_jobs(
            project_id=project_id, environment_id=environment_id, name__icontains=job_name
        )
        job_id = _only("job", job_name, jobs) or _none(
            "job", job_name, client.list_jobs(project_id=project_id, environment_id=environment_id)
        )
        return client.get_job(job_id)


def _only(kind: str, name: str, items: Iterable[Project | Environment | Job]) -> int | None:
    """The id of the one item that bears exactly this name; ``None`` when there is none."""
    matches = [item for item in items if item.name == name]
    if len(matches) > 1:
        ids = ", ".join(f"{item.id} ({_whereabouts(item)})" for item in matches)
        raise JobLookupError(
            f"{kind}_name {name!r} is ambiguous, {len(matches)} {kind}s bear it: {ids}. Name the project and "
            "the environment as well, or give job_id."
        )
    return matches[0].id if matches else None


def _whereabouts(item: Project | Environment | Job) -> str:
    if isinstance(item, Job):
        return f"project {item.project_id}, environment {item.environment_id}"
    return f"project {item.project_id}" if isinstance(item, Environment) else f"account {item.account_id}"


def _none(kind: str, name: str, items: Iterable[Project | Environment | Job]) -> int:
    names = sorted({item.name for item in items if item.name})
    raise JobLookupError(f"{kind}_name {name!r} was not found. {_suggestion(kind, name, names)}")


def _suggestion(kind: str, name: str, names: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in names}
    near = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=5, cutoff=0.6)]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return f"The token sees no {kind} there at all: check the account and the token's permissions."
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"There are: {', '.join(map(repr, names[:SHOWN_NAMES]))}{more}."
