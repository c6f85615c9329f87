"""Records → what the API shows. Pure but for asking the engine for a run's related objects."""

from collections.abc import Collection
from typing import Any

from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.served import Account, Environment, Job, Project
from airflow_provider_dbtcloud_dlt.emulator.store import (
    Run,
    Selection,
    Status,
    StepRecord,
    Subscription,
)
from airflow_provider_dbtcloud_dlt.emulator.times import duration, humanized, offset, spaced, zulu

Json = dict[str, Any]

# What the emulator has no history of came into being then.
BORN = 1_704_067_200 * SECOND

TRIGGER_FIELDS = (
    "git_branch",
    "git_sha",
    "azure_pull_request_id",
    "github_pull_request_id",
    "gitlab_merge_request_id",
    "non_native_pull_request_id",
    "schema_override",
    "dbt_version_override",
    "threads_override",
    "target_name_override",
    "generate_docs_override",
    "timeout_seconds_override",
    "steps_override",
)
DEBUG_LOG_LINES = 1000


def page(one: Run, account_id: int) -> str:
    """Return the path of a run's page."""
    return f"/deploy/{account_id}/projects/{one.project_id}/runs/{one.id}/"


def account(one: Account) -> Json:
    """Return the account as the API shows it."""
    return {
        "id": one.id,
        "name": one.name,
        "state": 1,
        "plan": "enterprise",
        "run_slots": one.run_slots,
        "developer_seats": 1,
        "it_seats": 0,
        "explorer_seats": 0,
        "analyst_seats": 0,
        "read_only_seats": 0,
        "locked": False,
        "lock_reason": None,
        "lock_cause": None,
        "unlocked_at": None,
        "pending_cancel": False,
        "billing_email_address": None,
        "pod_memory_request_mebibytes": 600,
        "develop_pod_memory_request_mebibytes": 0,
        "run_duration_limit_seconds": 86400,
        "queue_limit": 50,
        "enterprise_login_slug": None,
        "business_critical": False,
        "starter_repo_url": None,
        "git_auth_level": "personal",
        "identifier": str(one.id),
        "trial_end_date": None,
        "static_subdomain": None,
        "vanity_subdomain": None,
        "run_locked_until": None,
        "docs_job_id": None,
        "freshness_job_id": None,
        "copilot_locked_until": None,
        "agent_credit_locked": False,
        "account_migration_events": [],
        "groups": [],
        "created_at": offset(BORN),
        "updated_at": offset(BORN),
    }


def project(one: Project, account_id: int) -> Json:
    """Return a project as the API shows it."""
    return {
        "id": one.id,
        "account_id": account_id,
        "name": one.name,
        "description": "",
        "connection_id": None,
        "repository_id": None,
        "semantic_layer_config_id": None,
        "state": 1,
        "type": 0,
        "dbt_project_subdirectory": None,
        "docs_job_id": None,
        "freshness_job_id": None,
        "created_at": offset(BORN),
        "updated_at": offset(BORN),
        "connection": None,
        "repository": None,
        "environments": [],
        "group_permissions": [],
        "docs_job": None,
        "freshness_job": None,
        "fusion_readiness": None,
        "default_version": None,
    }


def environment(one: Environment, account_id: int) -> Json:
    """Return an environment as the API shows it."""
    return {
        "id": one.id,
        "account_id": account_id,
        "project_id": one.project.id,
        "name": one.name,
        "connection_id": None,
        "credentials_id": None,
        "repository_id": None,
        "extended_attributes_id": None,
        "custom_branch": None,
        "use_custom_branch": False,
        "dbt_project_subdirectory": None,
        "dbt_version": one.dbt_version,
        "raw_dbt_version": one.dbt_version,
        "supports_docs": True,
        "deployment_type": "production",
        "type": "deployment",
        "created_by_id": None,
        "state": 1,
        "created_at": offset(BORN),
        "updated_at": offset(BORN),
        "repository": None,
        "connection": None,
        "jobs": [],
        "custom_environment_variables": None,
    }


def job_in_run(one: Job, account_id: int) -> Json:
    """Return a job as the API shows it inside a run."""
    return {
        "execution": {"timeout_seconds": one.timeout_seconds},
        "generate_docs": one.generate_docs,
        "run_generate_sources": one.run_generate_sources,
        "run_compare_changes": False,
        "id": one.id,
        "account_id": account_id,
        "project_id": one.environment.project.id,
        "environment_id": one.environment.id,
        "name": one.name,
        "description": one.description,
        "dbt_version": None,
        "raw_dbt_version": None,
        "created_at": zulu(BORN),
        "updated_at": zulu(BORN),
        "execute_steps": list(one.steps),
        "state": 1,
        "deactivated": False,
        "run_failure_count": 0,
        "deferring_job_definition_id": None,
        "deferring_environment_id": None,
        "lifecycle_webhooks": False,
        "lifecycle_webhooks_url": None,
        "triggers": {
            "github_webhook": False,
            "git_provider_webhook": False,
            "schedule": False,
            "on_merge": None,
        },
        "settings": {
            "threads": one.environment.threads or 4,
            "target_name": one.environment.target or "default",
        },
        "schedule": {"cron": "0 * * * *", "date": "every_day", "time": "every_hour"},
        "is_deferrable": False,
        "job_type": "other",
        "triggers_on_draft_pr": False,
        "job_completion_trigger_condition": None,
    }


def job(one: Job, engine: Engine, base_url: str, include: Collection[str] = ()) -> Json:
    """Return a job as the API shows it by itself: more fields, and another form of schedule, than in a run.

    Args:
        one: The job.
        engine: Knows its runs.
        base_url: Where the emulator is served, without a slash at the end.
        include: The related objects that were asked for.
    """
    account_id = engine.config.account.id
    inside_run = job_in_run(one, account_id)
    shown: Json = {
        **inside_run,
        "created_at": offset(BORN),
        "updated_at": offset(BORN),
        "triggers": {**inside_run["triggers"], "custom_branch_only": None},
        "schedule": {
            "cron": "0 * * * *",
            "date": {"type": "every_day"},
            "time": {"type": "every_hour", "interval": 1},
        },
        "compare_changes_flags": "--select state:modified",
        "run_lint": False,
        "errors_on_lint_failure": True,
        "cost_optimization_features": [],
        "generate_sources": one.run_generate_sources,
        "account": None,
        "project": None,
        "environment": None,
        "fusion_readiness": None,
    }
    if "environment" in include:
        shown["environment"] = environment(one.environment, account_id)
    for name, condition in (("most_recent_run", "1"), ("most_recent_completed_run", "finished_at")):
        if name in include:
            runs, _ = engine.runs(Selection(["job_id = ?", condition], [one.id], "id DESC", limit=1))
            shown[name] = run(runs[0], engine, base_url) if runs else None
    return shown


def trigger(run: Run) -> Json:
    """Return the trigger of a run as the API shows it."""
    return {
        "id": run.trigger_id,
        "cause": run.trigger["cause"],
        "job_definition_id": run.job_id,
        **{name: run.trigger.get(name) for name in TRIGGER_FIELDS},
        "created_at": spaced(run.created_at),
        "cause_humanized": run.trigger["cause"],
        "job": None,
        "cause_category": run.cause_category,
    }


def step(
    record: StepRecord, of: Run, engine: Engine, account_id: int, *, full_debug_logs: bool = False
) -> Json:
    """Return a step as the API shows it.

    Args:
        record: The step.
        of: The run that it is a step of.
        engine: Knows the step's debug log.
        account_id: The account that the step belongs to.
        full_debug_logs: Do not cut the debug log to its last lines.
    """
    now = engine.clock.now()
    took = 0 if record.started_at is None else (record.finished_at or now) - record.started_at
    with_logs = engine.history.log_is_in(record)
    debug_log = engine.history.debug_log(record) if with_logs else ""
    tail = "".join(debug_log.splitlines(keepends=True)[-DEBUG_LOG_LINES:])
    colors = {Status.SUCCESS: "#2e7d32", Status.ERROR: "#c62828", Status.RUNNING: "#1565c0"}
    return {
        "id": record.id,
        "run_id": record.run_id,
        "account_id": account_id,
        "index": record.index,
        "status": record.status,
        "name": record.name,
        "logs": (record.logs or "") if with_logs else "",
        "debug_logs": debug_log if full_debug_logs else tail,
        "log_path": None,
        "debug_log_path": None,
        "truncated_debug_logs": tail,
        "created_at": spaced(of.created_at),
        "updated_at": spaced(record.finished_at or record.started_at or of.created_at),
        "started_at": spaced(record.started_at),
        "finished_at": spaced(record.finished_at),
        "status_color": colors.get(record.status, "#757575"),
        "status_humanized": status_name(record.status),
        "duration": duration(took),
        "duration_humanized": humanized(took),
        "run_step_command": None
        if record.command is None
        else {"run_step_id": record.id, "dbt_command": record.command},
        "run_step_invocation": None,
    }


def run(one: Run, engine: Engine, base_url: str, include: Collection[str] = ()) -> Json:
    """Return a run as the API shows it.

    Args:
        one: The run.
        engine: Knows what belongs to it.
        base_url: Where the emulator is served, without a slash at the end.
        include: The related objects that were asked for.
    """
    now = engine.clock.now()
    account_id = engine.config.account.id
    end = one.finished_at or now
    queued = (one.dequeued_at or end) - one.created_at
    running = 0 if one.started_at is None else end - one.started_at
    refusal = engine.history.retry_refusal(one)
    shown: Json = {
        "id": one.id,
        "trigger_id": one.trigger_id,
        "account_id": account_id,
        "environment_id": one.environment_id,
        "project_id": one.project_id,
        "job_definition_id": one.job_id,
        "status": one.status,
        "dbt_version": one.dbt_version,
        "git_branch": one.git_branch,
        "git_sha": one.git_sha,
        "status_message": one.status_message,
        "owner_thread_id": None,
        "executed_by_thread_id": None,
        "deferring_run_id": one.deferring_run_id,
        "artifacts_saved": one.artifacts_saved and engine.history.artifacts_are_in(one),
        "artifact_s3_path": None,
        "has_docs_generated": one.has_docs_generated,
        "has_sources_generated": one.has_sources_generated,
        "notifications_sent": False,
        "blocked_by": engine.blocked_by(one),
        "created_at": spaced(one.created_at),
        "updated_at": spaced(one.updated_at),
        "dequeued_at": spaced(one.dequeued_at),
        "started_at": spaced(one.started_at),
        "finished_at": spaced(one.finished_at),
        "last_checked_at": None,
        "last_heartbeat_at": None,
        "should_start_at": None,
        "trigger": None,
        "job": None,
        "environment": None,
        "run_steps": [],
        "status_humanized": status_name(one.status),
        "in_progress": not one.status.is_final,
        "is_complete": one.status.is_final,
        "is_success": one.status is Status.SUCCESS,
        "is_error": one.status is Status.ERROR,
        "is_cancelled": one.status is Status.CANCELLED,
        "duration": duration(end - one.created_at),
        "queued_duration": duration(queued),
        "run_duration": duration(running),
        "duration_humanized": humanized(end - one.created_at),
        "queued_duration_humanized": humanized(queued),
        "run_duration_humanized": humanized(running),
        "created_at_humanized": f"{humanized(now - one.created_at)} ago",
        "finished_at_humanized": f"{humanized(now - end)} " + ("ago" if one.finished_at else "from now"),
        "retrying_run_id": one.retrying_run_id,
        "can_retry": refusal is None,
        "retry_not_supported_reason": refusal,
        "job_id": one.job_id,
        "is_running": None,
        "href": base_url + page(one, account_id),
        "used_repo_cache": None,
    }
    if "trigger" in include:
        shown["trigger"] = trigger(one)
    # A job that was taken out of the configuration leaves runs behind.
    made_by = next((known for known in engine.config.jobs if known.id == one.job_id), None)
    if "job" in include and made_by is not None:
        shown["job"] = job_in_run(made_by, account_id)
    if "environment" in include and made_by is not None:
        shown["environment"] = environment(made_by.environment, account_id)
    if "run_steps" in include:
        full = "debug_logs" in include
        shown["run_steps"] = [
            step(record, one, engine, account_id, full_debug_logs=full)
            for record in engine.history.steps(one)
        ]
    if "run_retries" in include:
        shown["run_retries"] = [run(other, engine, base_url) for other in engine.retries_of(one.id)]
    if "repository" in include:
        shown["repository"] = None
    if "audit" in include:
        actor = {"actor": {"id": "1", "type": "service_token", "name": "emulator"}}
        by_user = one.status is Status.CANCELLED
        shown["audit"] = {"trigger": actor, "cancellation": actor if by_user else None}
    return shown


def subscription(one: Subscription, account_id: int) -> Json:
    """Return a webhook as the API shows it, which is without its secret, and with numbers as text."""
    shown = {
        "id": one.id,
        "account_id": str(account_id),
        "account_identifier": str(account_id),
        "name": one.name,
        "description": one.description,
        "client_url": one.client_url,
        "event_types": one.event_types,
        "job_ids": [str(job_id) for job_id in one.job_ids],
        "active": one.active,
        "created_at": str(one.created_at),
        "updated_at": str(one.updated_at),
        "http_status_code": str(one.http_status_code),
    }
    return shown if one.dispatched_at is None else {**shown, "dispatched_at": str(one.dispatched_at)}


def status_name(status: Status) -> str:
    """Return a status as people read it, such as ``Queued``."""
    return status.name.capitalize()
