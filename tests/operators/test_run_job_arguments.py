"""What is refused while the DAG file is parsed, and the official provider's arguments."""

import inspect
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_dbtcloud_dlt.arguments import rendered_id
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import (
    DbtCloudAssetEventsOperator,
    DbtCloudGetJobRunArtifactOperator,
    DbtCloudListJobRunsOperator,
    DbtCloudListJobsOperator,
    DbtCloudRunJobOperator,
)
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor
from airflow_provider_dbtcloud_dlt.triggers.dbt_cloud import DbtCloudRunJobTrigger


def refusal(**arguments: Any) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        DbtCloudRunJobOperator(task_id="transform", **arguments)
    return str(refused.value)


def test_job_id_and_names() -> None:
    """A job by its id and by names is refused; both are told."""
    said = refusal(job_id=1, job_name="Nightly", project_name="Analytics")
    assert said == "Task 'transform' gives job_id and job_name and project_name: give one or the other."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"job_id": 0}, "job_id must be a positive whole number"),
        ({"job_id": "²"}, "job_id must be a positive whole number"),
        ({"job_name": " "}, "job_name is empty"),
        ({"dbt_cloud_conn_id": ""}, "dbt_cloud_conn_id is empty"),
        ({"steps_override": []}, "steps_override must hold at least one dbt command"),
        ({"steps_override": "dbt build"}, "steps_override must be a list of dbt commands"),
        ({"threads_override": "many"}, "threads_override must be a whole number"),
        ({"generate_docs_override": "yes"}, "generate_docs_override must be true or false"),
        ({"additional_run_config": ["git_sha"]}, "additional_run_config must be a dictionary"),
        ({"additional_run_config": {"threads_override": "x"}}, "threads_override must be a whole number"),
        ({"hook_params": {"retries": 3}}, "hook_params has 'retries', which DbtCloudHook does not take"),
        ({"hook_params": {"timeout": object()}}, "hook_params['timeout'] must be plain JSON"),
        (
            {"hook_params": {"proxies": {"https": "http://u:p@proxy:1"}}},
            "hook_params['proxies'] holds a user",
        ),
        (
            {"hook_params": {"outage_tolerance": "long"}},
            "hook_params: DbtCloudHook's 'outage_tolerance' must be a positive number of seconds, got 'long'",
        ),
    ],
)
def test_what_can_be_known_at_parse_time(arguments: dict[str, Any], said: str) -> None:
    """A value that can't be right is refused while the DAG file is parsed, by its name."""
    assert said in refusal(**arguments)


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (DbtCloudAssetEventsOperator, {"run_id": 1}),
        (DbtCloudGetJobRunArtifactOperator, {"run_id": 1, "path": "manifest.json"}),
        (DbtCloudListJobRunsOperator, {}),
        (DbtCloudListJobsOperator, {}),
    ],
)
def test_no_operator_takes_wrong_hook_params(operator: type[BaseOperator], arguments: dict[str, Any]) -> None:
    """Nor is the mistake told of only when the task runs."""
    with pytest.raises(InvalidRequestError, match="hook_params: DbtCloudHook's 'timeout' must be"):
        operator(task_id="one", hook_params={"timeout": 0}, **arguments)


def test_retry_arguments_of_the_official_hook_are_not_stored() -> None:
    """They may be objects that no database takes; a trigger leaves them out."""
    trigger = DbtCloudRunJobTrigger(
        "c", 1, 0.0, 1.0, hook_params={"retry_args": {"stop": object()}, "timeout": 5}
    )
    assert trigger.serialize()[1]["hook_params"] == {"timeout": 5}


def test_names_without_job_name() -> None:
    """A project or an environment is not enough."""
    assert "gives project_name without job_name" in refusal(project_name="Analytics")


@pytest.mark.parametrize("value", ["nightly", "", 1.5, -1, True, [1]])
def test_job_id_that_is_no_number(value: Any) -> None:
    """A job id that is no number is refused with what was given."""
    assert f"job_id must be a positive whole number or a template, got {value!r}" in refusal(job_id=value)


def test_account_id_that_is_no_number() -> None:
    """So is such an account."""
    assert "account_id must be a positive whole number" in refusal(account_id="mine")


@pytest.mark.parametrize(
    "value", ["{{ var.value.job }}", "{% if a %}1{% endif %}", "70403", " 7 ", 70403, None]
)
def test_job_id_that_may_become_one(value: Any) -> None:
    """Templates and texts of digits are left alone."""
    assert DbtCloudRunJobOperator(task_id="transform", job_id=value).job_id == value


def test_job_id_of_another_task() -> None:
    """Another task's output is no plain value: it is judged once it is there."""
    with DAG("elt", schedule=None):
        found = BaseOperator(task_id="find").output
        task = DbtCloudRunJobOperator(task_id="transform", job_id=found)
    assert task.upstream_task_ids == {"find"}


def test_field_that_is_given_twice() -> None:
    """A field as an argument and in additional_run_config is refused."""
    said = refusal(job_id=1, threads_override=4, additional_run_config={"threads_override": 8})
    assert "gives threads_override both as an argument and in additional_run_config" in said


def test_steps_that_are_one_text() -> None:
    """One command as a text is refused with an example of a list."""
    assert "a list of dbt commands such as ['dbt build']" in refusal(steps_override="dbt run")


def test_commit_and_branch_are_legal() -> None:
    """A commit may stand beside the branch that it is on."""
    task = DbtCloudRunJobOperator(task_id="transform", job_id=1, git_sha="abc", git_branch="main")
    assert (task.git_sha, task.git_branch) == ("abc", "main")


@pytest.mark.parametrize("name", ["timeout", "check_interval", "outage_tolerance"])
@pytest.mark.parametrize("value", [0, -1, "soon", True, float("nan"), float("inf"), timedelta(0)])
def test_seconds_that_are_none(name: str, value: Any) -> None:
    """A time that is no positive number of seconds is refused by its name."""
    assert f"{name} must be a positive number of seconds or a timedelta" in refusal(job_id=1, **{name: value})


def test_timedelta_is_seconds() -> None:
    """A timedelta is taken as its seconds."""
    task = DbtCloudRunJobOperator(task_id="transform", job_id=1, timeout=timedelta(minutes=2))
    assert task.timeout == 120.0


@pytest.mark.parametrize("value", [None, "", "None", "  "])
def test_rendered_to_nothing(value: Any) -> None:
    """A template that rendered to nothing is told as that."""
    with pytest.raises(InvalidRequestError, match="job_id is empty: its template rendered to nothing"):
        rendered_id("job_id", value)


@pytest.mark.parametrize("value", ["seven", "7.0", True, -7, "²"])
def test_rendered_to_no_number(value: Any) -> None:
    """A template that rendered to something else is told with what it was."""
    with pytest.raises(InvalidRequestError, match="job_id must be a whole number, but rendered to"):
        rendered_id("job_id", value)


OFFICIAL_PARAMETERS: dict[type, set[str]] = {
    DbtCloudRunJobOperator: {
        "dbt_cloud_conn_id",
        "job_id",
        "project_name",
        "environment_name",
        "job_name",
        "account_id",
        "trigger_reason",
        "steps_override",
        "schema_override",
        "wait_for_termination",
        "timeout",
        "check_interval",
        "additional_run_config",
        "openlineage_inject_parent_job_info",
        "reuse_existing_run",
        "retry_from_failure",
        "deferrable",
        "hook_params",
    },
    DbtCloudGetJobRunArtifactOperator: {
        "dbt_cloud_conn_id",
        "run_id",
        "path",
        "account_id",
        "step",
        "output_file_name",
        "hook_params",
    },
    DbtCloudListJobsOperator: {"dbt_cloud_conn_id", "account_id", "project_id", "order_by", "hook_params"},
    DbtCloudListJobRunsOperator: {
        "dbt_cloud_conn_id",
        "account_id",
        "job_id",
        "order_by",
        "include_related",
        "hook_params",
        "latest_only",
        "status_filter",
    },
    DbtCloudJobRunSensor: {"dbt_cloud_conn_id", "run_id", "account_id", "deferrable", "hook_params"},
}


@pytest.mark.parametrize(("operator", "parameters"), OFFICIAL_PARAMETERS.items())
def test_official_parameters_are_accepted(operator: type, parameters: set[str]) -> None:
    """Whoever moves over from the official provider changes import lines only."""
    assert parameters <= set(inspect.signature(operator.__init__).parameters)


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (
            DbtCloudRunJobOperator,
            "dbt_cloud_conn_id job_id project_name environment_name job_name account_id trigger_reason "
            "steps_override schema_override additional_run_config",
        ),
        (
            DbtCloudGetJobRunArtifactOperator,
            "dbt_cloud_conn_id run_id path account_id output_file_name",
        ),
        (DbtCloudListJobsOperator, "account_id project_id"),
        (DbtCloudListJobRunsOperator, "account_id job_id"),
        (DbtCloudJobRunSensor, "dbt_cloud_conn_id run_id account_id"),
    ],
)
def test_official_template_fields_are_rendered(operator: Any, fields: str) -> None:
    """What the official provider renders is rendered here."""
    assert set(fields.split()) <= set(operator.template_fields)


def test_wait_is_deferred_by_default() -> None:
    """Unlike the official one, the operator defers unless it is told not to."""
    assert DbtCloudRunJobOperator(task_id="transform", job_id=1).deferrable
