"""Dlt's interface to dbt Cloud: whoever imports ``dlt.helpers.dbt_cloud`` today changes only the module.

The same functions and the same configuration section, ``[dbt_cloud]``, see
https://dlthub.com/docs/dlt-ecosystem/transformations/dbt/dbt_cloud. What is better: `data` reaches dbt Cloud,
the host can be configured (`base_api_url`), a trigger is never sent twice, waits outlive passing failures,
have a time limit and can cancel the run, and every error is one of ``client.errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dlt
from dlt.common.configuration import configspec, known_sections, with_config
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import TSecretStrValue

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    InvalidCredentialsException,
    InvalidRequestError,
)
from airflow_provider_dbtcloud_dlt.client.client import DEFAULT_CAUSE
from airflow_provider_dbtcloud_dlt.client.protocol import DEFAULT_BASE_URL

__all__ = [
    "DBTCloudClientV2",
    "DBTCloudConfiguration",
    "InvalidCredentialsException",
    "get_dbt_cloud_run_status",
    "run_dbt_cloud_job",
]


@configspec
class DBTCloudConfiguration(BaseConfiguration):
    """The section ``[dbt_cloud]`` of dlt's configuration; as environment variables ``DBT_CLOUD__API_TOKEN`` …

    Attributes:
        api_token: a service token or a personal access token.
        account_id: the account's number.
        job_id: the job that `run_dbt_cloud_job` runs unless it is told another.
        project_id: kept for dlt's sake; an Airflow hook looks for jobs by name in it.
        environment_id: likewise.
        run_id: the run that `get_dbt_cloud_run_status` asks for unless it is told another.
        cause: why a run is started.
        git_sha: the commit to check out.
        git_branch: the branch to check out.
        schema_override: the schema to build into.
        base_api_url: scheme, host and ``/api``, such as ``https://ab123.us1.dbt.com/api``.
        allow_http: allow plain http to a host other than this machine.
    """

    api_token: TSecretStrValue = ""

    account_id: str | None = None
    job_id: str | None = None
    project_id: str | None = None
    environment_id: str | None = None
    run_id: str | None = None

    cause: str = DEFAULT_CAUSE
    git_sha: str | None = None
    git_branch: str | None = None
    schema_override: str | None = None

    base_api_url: str = DEFAULT_BASE_URL
    allow_http: bool = False


def run_dbt_cloud_job(
    credentials: DBTCloudConfiguration | None = None,
    job_id: int | str | None = None,
    data: Mapping[str, Any] | None = None,
    wait_for_outcome: bool = True,
    wait_seconds: float = 10,
    *,
    timeout_seconds: float | None = None,
    cancel_on_timeout: bool = False,
) -> dict[str, Any]:
    """Start a run of a dbt Cloud job and return it, by default once it has ended.

    A run that failed is returned, not raised.

    Args:
        credentials: default: dlt's configuration; `DbtCloudHook.get_dlt_credentials()` makes them from an
            Airflow connection.
        job_id: the job; default: the configuration's.
        data: fields of the trigger's body, before those of the configuration; see the client's `start_run`.
        wait_for_outcome: wait for the run's end.
        wait_seconds: seconds between two looks.
        timeout_seconds: seconds to wait at most; default: no limit.
        cancel_on_timeout: cancel the run when the time is up.

    Returns:
        The run as the API's JSON object: ``id``, ``status``, ``status_humanized``, ``in_progress``,
        ``is_success``, ``href`` …

    Raises:
        InvalidCredentialsException: token, account or job id are missing, or the token was refused.
        RunTimeoutError: the time is up.
        DbtCloudError: see ``client.errors`` for its other kinds.
    """
    _check_wait_seconds(wait_seconds)
    configuration = _resolved() if credentials is None else _resolved(credentials)
    client = _client(configuration)
    body = {
        "cause": configuration.cause,
        "git_sha": configuration.git_sha,
        "git_branch": configuration.git_branch,
        "schema_override": configuration.schema_override,
        **(data or {}),
    }
    run = client.start_run(_either("job_id", job_id, configuration.job_id), body)
    if not wait_for_outcome:
        return dict(run.raw)  # to ask for it now may be answered with 404
    return _outcome(client, run.id, wait_seconds, timeout_seconds, cancel_on_timeout)


def get_dbt_cloud_run_status(
    credentials: DBTCloudConfiguration | None = None,
    run_id: int | str | None = None,
    wait_for_outcome: bool = True,
    wait_seconds: float = 10,
    *,
    timeout_seconds: float | None = None,
    cancel_on_timeout: bool = False,
) -> dict[str, Any]:
    """Return a run, by default once it has ended; arguments, result and errors as in `run_dbt_cloud_job`.

    Args:
        credentials: default: dlt's configuration.
        run_id: the run; default: the configuration's.
        wait_for_outcome: wait for the run's end.
        wait_seconds: seconds between two looks.
        timeout_seconds: seconds to wait at most; default: no limit.
        cancel_on_timeout: cancel the run when the time is up.
    """
    _check_wait_seconds(wait_seconds)
    configuration = _resolved() if credentials is None else _resolved(credentials)
    client = _client(configuration)
    run = _either("run_id", run_id, configuration.run_id)
    if not wait_for_outcome:
        return client.get_run_status(run)
    return _outcome(client, run, wait_seconds, timeout_seconds, cancel_on_timeout)


def configured() -> DBTCloudConfiguration | None:
    """What dlt's configuration says of dbt Cloud; ``None`` when it has no token."""
    found = _resolved()
    return found if found.api_token else None


def credentials(**values: Any) -> DBTCloudConfiguration:
    """Make a configuration of given values, with nothing looked up in dlt's configuration."""
    made = DBTCloudConfiguration(**values)
    made.resolve()
    return made


@with_config(spec=DBTCloudConfiguration, sections=(known_sections.DBT_CLOUD,))
def _resolved(credentials: DBTCloudConfiguration = dlt.secrets.value) -> DBTCloudConfiguration:
    """Let dlt fill in what was not given. It is all that dlt injects: an argument that bears a field's name
    (`job_id`) would be replaced by the configuration's.
    """
    return credentials


def _client(credentials: DBTCloudConfiguration) -> DBTCloudClientV2:
    missing = [name for name in ("api_token", "account_id") if not credentials[name]]
    if missing:
        keys = " and ".join(f"dbt_cloud.{name}" for name in missing)
        variables = " and ".join(f"DBT_CLOUD__{name.upper()}" for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise InvalidCredentialsException(
            f"{' and '.join(missing)} {verb} missing: set {keys} in secrets.toml, or {variables} in the "
            "environment."
        )
    return DBTCloudClientV2(
        credentials.api_token,
        credentials.account_id,
        credentials.base_api_url,
        allow_http=credentials.allow_http,
    )


def _either(name: str, argument: int | str | None, configured: str | None) -> int | str:
    value = argument or configured
    if not value:
        raise InvalidCredentialsException(
            f"{name} is missing: give it as an argument, or set dbt_cloud.{name} in dlt's configuration "
            f"(environment variable DBT_CLOUD__{name.upper()})."
        )
    return value


def _check_wait_seconds(wait_seconds: float) -> None:
    """Refuse nonsense before a run is started that nobody would wait for."""
    if isinstance(wait_seconds, bool) or not isinstance(wait_seconds, int | float) or not wait_seconds > 0:
        raise InvalidRequestError(f"wait_seconds must be a positive number of seconds, got {wait_seconds!r}.")


def _outcome(
    client: DBTCloudClientV2,
    run_id: int | str,
    wait_seconds: float,
    timeout_seconds: float | None,
    cancel_on_timeout: bool,
) -> dict[str, Any]:
    run = client.wait_for_run(
        run_id,
        poll_interval=wait_seconds,
        timeout=timeout_seconds,
        cancel_on_timeout=cancel_on_timeout,
    )
    return dict(run.raw)
