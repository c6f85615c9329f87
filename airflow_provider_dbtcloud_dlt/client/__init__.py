"""The dbt Cloud API v2 client: no Airflow, no dlt. This module only names what is public."""

from airflow_provider_dbtcloud_dlt.client.client import DBTCloudClientV2
from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    InvalidCredentialsException,
    InvalidRequestError,
    JobLookupError,
    MalformedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RejectedRequestError,
    RunTimeoutError,
    ServerError,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.models import (
    Account,
    Environment,
    Job,
    Project,
    Run,
    RunStatus,
    RunStep,
    RunTrigger,
)

__all__ = [
    "Account",
    "DBTCloudClientV2",
    "DbtCloudError",
    "Environment",
    "InvalidCredentialsException",
    "InvalidRequestError",
    "Job",
    "JobLookupError",
    "MalformedAnswerError",
    "NotFoundError",
    "PermissionDeniedError",
    "Project",
    "RateLimitError",
    "RejectedRequestError",
    "Run",
    "RunStatus",
    "RunStep",
    "RunTimeoutError",
    "RunTrigger",
    "ServerError",
    "UnreachableError",
]
