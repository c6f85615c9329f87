"""Retry of a run, rerun of a job, with runs that pretend."""

import pytest


def failing(emu, **more):
    steps = [
        ("Invoke dbt with `dbt seed`", "success", ""),
        ("Invoke dbt with `dbt run`", "error", "boom"),
        ("Invoke dbt with `dbt test`", "success", ""),
    ]
    emu.script_job(emu.job_id, steps=steps, **more)
    return emu.trigger(steps_override=["dbt seed", "dbt run", "dbt test"], schema_override="other")


def test_the_failed_and_the_skipped_steps_are_told(emu, api):
    """GET on retry says where a run failed and what it did not do."""
    assert api.data(f"/runs/{failing(emu)}/retry/") == {
        "failed_step": "Invoke dbt with `dbt run`",
        "skipped_steps": ["Invoke dbt with `dbt test`"],
    }


def test_a_retry_is_a_new_run_from_the_failed_step_on(emu, api):
    """The new run names the failed one, keeps its overrides and leaves out what had succeeded."""
    failed = failing(emu)
    emu.script_job(emu.job_id)

    retried = api.post(f"/runs/{failed}/retry/").json()["data"]
    steps = api.data(f"/runs/{retried['id']}/", include_related="run_steps")["run_steps"]

    assert (retried["retrying_run_id"], retried["status"]) == (failed, 1)
    assert (retried["trigger"]["schema_override"], retried["trigger"]["cause"]) == (
        "other",
        f"Retry of run {failed}",
    )
    assert [step["name"] for step in steps[2:]] == [
        "Invoke dbt with `dbt retry`",
        "Invoke dbt with `dbt test`",
    ]


def test_run_retries_lists_the_retries(emu, api):
    """The failed run knows who retried it."""
    failed = failing(emu)
    retried = api.post(f"/runs/{failed}/retry/").json()["data"]["id"]

    run = api.data(f"/runs/{failed}/", include_related="run_retries")

    assert [one["id"] for one in run["run_retries"]] == [retried]


@pytest.mark.parametrize("outcome", ["success", "cancelled"])
def test_only_a_failed_run_is_retried(emu, api, outcome):
    """What did not fail is refused, with the API's reason."""
    emu.script_job(emu.job_id, outcome=outcome)
    run_id = api.trigger()

    run = api.data(f"/runs/{run_id}/")
    answer = api.post(f"/runs/{run_id}/retry/")

    assert (run["can_retry"], run["retry_not_supported_reason"]) == (False, "RETRY_NOT_FAILED_RUN")
    assert (answer.status_code, answer.json()["data"]) == (
        400,
        {"retry_not_supported_reason": "RETRY_NOT_FAILED_RUN"},
    )


def test_only_the_latest_run_is_retried(emu, api):
    """A later run of the job makes a retry impossible."""
    failed = failing(emu)
    api.trigger()

    assert api.data(f"/runs/{failed}/")["retry_not_supported_reason"] == "RETRY_NOT_LATEST_RUN"


def test_a_command_without_results_is_not_retried(emu, api):
    """`dbt source freshness` is nothing that dbt can retry."""
    emu.script_job(emu.job_id, outcome="error")
    run_id = api.trigger(steps_override=["dbt source freshness"])

    assert api.data(f"/runs/{run_id}/")["retry_not_supported_reason"] == "RETRY_UNSUPPORTED_CMD"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.5.0-latest", "RETRY_UNSUPPORTED_VERSION"),
        ("0.21.1", "RETRY_UNSUPPORTED_VERSION"),
        ("1.6.0", None),
        ("1.10.2", None),
        ("2.0.0", None),
        ("versionless", None),
    ],
)
def test_an_old_dbt_cannot_retry(emu, api, version, reason):
    """`dbt retry` came with 1.6."""
    emu.script_job(emu.job_id, outcome="error")
    run_id = api.trigger(dbt_version_override=version)

    assert api.data(f"/runs/{run_id}/")["retry_not_supported_reason"] == reason


def test_rerun_takes_up_a_failed_run(emu, api):
    """Rerun of a job whose last run failed is a retry of that run."""
    failed = failing(emu)

    assert api.post("/jobs/1000/rerun/").json()["data"]["retrying_run_id"] == failed


def test_rerun_after_success_is_a_plain_run(emu, api):
    """Rerun of a job whose last run succeeded starts anew, without that run's overrides."""
    api.trigger(schema_override="other")

    run = api.post("/jobs/1000/rerun/").json()["data"]

    assert (run["retrying_run_id"], run["trigger"]["schema_override"]) == (None, None)
