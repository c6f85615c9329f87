"""What Airflow learns of this provider from its entry point. Plain data: it is read at `import airflow`."""

from __future__ import annotations

from typing import Any

PACKAGE = "airflow_provider_dbtcloud_dlt"

CONNECTION_FORM: dict[str, Any] = {
    "hidden-fields": ["schema"],
    "relabeling": {"login": "Account ID", "password": "API token", "host": "Access URL", "port": "Port"},
    "placeholders": {
        "login": "the number after /accounts/ or /deploy/ in dbt Cloud's address",
        "password": "a service token or a personal access token",
        "host": "ab123.us1.dbt.com (default: cloud.getdbt.com)",
        # Airflow 3.3.1 and 3.3.2 refuse to test a connection without: https://github.com/apache/airflow/pull/73298
        "port": "443 (if Test says Bad Request, give it)",
    },
}
"""The standard fields of the connection form, in dbt's words."""

REACHING = "How dbt Cloud is reached"


def _field(label: str, kind: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], **schema},
    }


def _id(label: str, description: str) -> dict[str, Any]:
    """A text: where it is a number, Airflow's form changes it when the mouse's wheel is turned over it."""
    return _field(label, "string", description, pattern="^[0-9]*$")


CONNECTION_FIELDS: dict[str, Any] = {
    "job_id": _id("Default job ID", "Run by tasks that name no job: the number after /jobs/ in its address."),
    "run_id": _id(
        "Default run ID", "Waited for by sensors that name no run: the number after /runs/ in its address."
    ),
    "project_id": _id(
        "Default project ID", "Where a job is looked for by its name: the number after /projects/."
    ),
    "environment_id": _id(
        "Default environment ID", "Where a job is looked for by its name: the number after /environments/."
    ),
    "cause": _field(
        "Default cause",
        "string",
        "Why a run is started, as dbt Cloud shows it. Default: names the task and the DAG.",
        maxLength=200,
    ),
    "git_branch": _field("Git branch", "string", "The branch to check out instead of the environment's."),
    "git_sha": _field("Git SHA", "string", "The commit to check out instead of the branch's head."),
    "schema_override": _field(
        "Schema override", "string", "The schema to build into instead of the target's."
    ),
    "deployment": _field(
        "Deployment",
        "string",
        "A name for this Airflow, where another one runs the same DAGs on this account.",
    ),
    "proxies": _field(
        "Proxy",
        "string",
        "Such as http://proxy:3128. Default: the environment's (HTTPS_PROXY).",
        section=REACHING,
    ),
    "verify": _field(
        "CA bundle",
        "string",
        "Path of the CA certificates to verify TLS with, such as a company's. Default: the system's.",
        section=REACHING,
    ),
    "allow_http": _field(
        "Allow plain http",
        "boolean",
        "The token then travels unencrypted: for test servers only.",
        default=False,
        section=REACHING,
    ),
    "timeout": _field(
        "Request time-out",
        "number",
        "Seconds to wait for an answer. Default: 10 to connect, 30 for data.",
        exclusiveMinimum=0,
        section=REACHING,
    ),
    "outage_tolerance": _field(
        "Outage tolerance",
        "number",
        "Seconds for which a wait outlives an API that does not answer.",
        exclusiveMinimum=0,
        default=1800,
        section=REACHING,
    ),
    "requests_per_minute": _field(
        "Requests a minute",
        "number",
        "How often the waits of a triggerer ask for their runs, all together; dbt's limit is 5,000.",
        exclusiveMinimum=0,
        default=2000,
        section=REACHING,
    ),
}
"""The connection's extras, as JSON schemas. Those without a section come first, in Airflow's own."""


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, valid against Airflow's ``provider_info.schema.json``."""
    dbt, dlt = "dbt Cloud", "dlt"
    return {
        "package-name": "airflow-provider-dbtcloud-dlt",
        "name": "dbt Cloud and dlt",
        "description": "Load with dlt, transform with dbt Cloud, and wait without holding a worker.",
        "integrations": [
            {
                "integration-name": dbt,
                "external-doc-url": "https://docs.getdbt.com/dbt-cloud/api-v2",
                "tags": ["service"],
            },
            {"integration-name": dlt, "external-doc-url": "https://dlthub.com/docs", "tags": ["software"]},
        ],
        "hooks": [{"integration-name": dbt, "python-modules": [f"{PACKAGE}.hooks.dbt_cloud"]}],
        "operators": [
            {"integration-name": dbt, "python-modules": [f"{PACKAGE}.operators.dbt_cloud"]},
            {"integration-name": dlt, "python-modules": [f"{PACKAGE}.operators.dlt"]},
        ],
        "sensors": [{"integration-name": dbt, "python-modules": [f"{PACKAGE}.sensors.dbt_cloud"]}],
        "triggers": [{"integration-name": dbt, "python-modules": [f"{PACKAGE}.triggers.dbt_cloud"]}],
        "connection-types": [
            {
                "connection-type": "dbt_cloud_dlt",
                "hook-class-name": f"{PACKAGE}.hooks.dbt_cloud.DbtCloudHook",
                "hook-name": "dbt Cloud (dlt)",
                "ui-field-behaviour": CONNECTION_FORM,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "extra-links": [f"{PACKAGE}.links.dbt_cloud.DbtCloudRunLink"],
        "task-decorators": [{"name": "dlt_load", "class-name": f"{PACKAGE}.decorators.dlt.dlt_load_task"}],
    }
