"""The names that users import. A change here is a change for them: it belongs in the changelog."""

from importlib import import_module
from types import ModuleType

import pytest

NAME = "airflow_provider_dbtcloud_dlt"
PUBLIC = {
    "client": {
        "Account",
        "DBTCloudClientV2",
        "DbtCloudError",
        "Environment",
        "InvalidCredentialsException",
        "InvalidRequestError",
        "JobLookupError",
        "Job",
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
    },
    "groups": {"DltLoadGroup", "dlt_to_dbt_cloud"},
    "helpers": {
        "DBTCloudClientV2",
        "DBTCloudConfiguration",
        "InvalidCredentialsException",
        "get_dbt_cloud_run_status",
        "run_dbt_cloud_job",
    },
    "hooks.dbt_cloud": {"DbtCloudConnectionError", "DbtCloudHook", "DbtCloudJobRunException"},
    "operators.dbt_cloud": {
        "DbtCloudAssetEventsOperator",
        "DbtCloudGetJobRunArtifactOperator",
        "DbtCloudListJobRunsOperator",
        "DbtCloudListJobsOperator",
        "DbtCloudRunJobOperator",
    },
    "operators.dlt": {"DltLoadOperator"},
    "operators.dlt_resources": {"DltListResourcesOperator"},
    "sensors.dbt_cloud": {"DbtCloudJobRunSensor"},
    "triggers.dbt_cloud": {"DbtCloudRunJobTrigger"},
    "triggers.job_runs": {"DbtCloudJobRunsTrigger"},
}


def public_names(module: ModuleType) -> set[str]:
    """Return what `__all__` lists, else the classes and functions that the module itself defines."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these(module):
    """These names, each of them there, and no other."""
    found = import_module(f"{NAME}.{module}")
    assert public_names(found) == PUBLIC[module]
    assert all(hasattr(found, name) for name in PUBLIC[module])
