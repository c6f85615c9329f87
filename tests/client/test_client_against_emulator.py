"""Each method of the client against the emulator, which was written without looking at it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    InvalidCredentialsException,
    NotFoundError,
    PermissionDeniedError,
    RejectedRequestError,
    Run,
    RunStatus,
    RunTimeoutError,
)
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

BODY = {
    "cause": "A test",
    "git_sha": "abc",
    "git_branch": "main",
    "schema_override": "pr_1",
    "target_name_override": "ci",
    "threads_override": 8,
    "timeout_seconds_override": 600,
    "generate_docs_override": True,
    "steps_override": ["dbt seed", "dbt build --select a"],
}


@pytest.fixture
def running(cloud: DBTCloudClientV2, emu: Emulator) -> Run:
    """A run that takes ten minutes."""
    emu.script_job(emu.job_id, seconds=600)
    return cloud.start_run(emu.job_id)


@pytest.fixture
def failed(cloud: DBTCloudClientV2, emu: Emulator) -> Run:
    """A run that has failed."""
    emu.script_job(emu.job_id, outcome="error", steps=[("dbt build", "error", "Database Error in model x")])
    return cloud.wait_for_run(cloud.start_run(emu.job_id).id)


def test_trigger_returns_a_queued_run(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """With its trigger and job."""
    run = cloud.start_run(str(emu.job_id))
    assert (run.status, run.job_definition_id) == (RunStatus.QUEUED, emu.job_id)
    assert run.trigger is not None
    assert run.trigger.cause == "Triggered via API"
    assert run.job is not None
    assert run.job.name == "Nightly build"


def test_every_field_of_the_trigger_arrives(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """As it was given."""
    run = cloud.start_run(emu.job_id, BODY)
    assert run.trigger is not None
    assert {name: run.trigger.raw[name] for name in BODY} == BODY


def test_trigger_of_dlts_interface_returns_the_id(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """A number."""
    assert cloud.trigger_job_run(emu.job_id, {"cause": "c"}) == emu.runs()[0]["id"]


def test_status_of_dlts_interface_is_the_apis_object(cloud: DBTCloudClientV2, running: Run) -> None:
    """With the fields that dlt's users read."""
    status = cloud.get_run_status(str(running.id))
    assert (status["id"], status["status_humanized"], status["in_progress"]) == (running.id, "Running", True)


def test_run_is_read(cloud: DBTCloudClientV2, running: Run, emu: Emulator) -> None:
    """With a page for people, and no more than was asked for."""
    run = cloud.get_run(running.id)
    assert run.status is RunStatus.RUNNING
    assert run.href == f"{emu.url}/deploy/1/projects/10/runs/{run.id}/"
    assert (run.trigger, run.job, run.run_steps) == (None, None, ())


def test_what_is_related_is_embedded(cloud: DBTCloudClientV2, failed: Run) -> None:
    """On request."""
    run = cloud.get_run(failed.id, ["trigger", "job", "run_steps"])
    assert run.trigger is not None
    assert run.job is not None
    assert run.run_steps


def test_missing_run_is_not_found(cloud: DBTCloudClientV2) -> None:
    """Nor any other thing."""
    for ask in (cloud.get_run, cloud.get_job, cloud.get_project, cloud.get_environment, cloud.get_step):
        with pytest.raises(NotFoundError):
            ask(999)


def test_missing_job_is_not_triggered(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """The sentence names the path with the id."""
    with pytest.raises(NotFoundError, match="POST /accounts/1/jobs/999/run/: not found on 127"):
        cloud.start_run(999)


def test_cancel(cloud: DBTCloudClientV2, running: Run) -> None:
    """Ends the run."""
    assert cloud.cancel_run(running.id).status is RunStatus.CANCELLED


def test_cancel_of_an_ended_run_changes_nothing(cloud: DBTCloudClientV2, failed: Run) -> None:
    """Nor is it an error."""
    assert cloud.cancel_run(failed.id).status is RunStatus.ERROR


@pytest.mark.parametrize("lost", ["answered with 502", "request lost", "answer lost"])
def test_cancellation_is_sent_again(cloud: DBTCloudClientV2, running: Run, emu: Emulator, lost: str) -> None:
    """A second one does no harm, whether or not the first arrived."""
    if lost == "answered with 502":
        emu.fail_next(path="/cancel/", status=502)
    else:
        emu.drop_next(path="/cancel/", after_effect=lost == "answer lost")
    assert cloud.cancel_run(running.id).status is RunStatus.CANCELLED


def test_retry_of_a_failed_run(cloud: DBTCloudClientV2, failed: Run) -> None:
    """A new run that names the old one."""
    assert cloud.retry_run(failed.id).retrying_run_id == failed.id


def test_retry_of_a_running_run_is_rejected(cloud: DBTCloudClientV2, running: Run) -> None:
    """With dbt's reason."""
    with pytest.raises(RejectedRequestError) as raised:
        cloud.retry_run(running.id)
    assert raised.value.user_message


def test_rerun_of_a_job(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """A new run."""
    assert cloud.rerun_job(emu.job_id).id == emu.runs()[0]["id"]


def test_step_is_read(cloud: DBTCloudClientV2, failed: Run) -> None:
    """With its log."""
    step = cloud.get_run(failed.id, ["run_steps"]).failed_steps[0]
    assert cloud.get_step(step.id).logs == "Database Error in model x"


# --- lists --------------------------------------------------------------------------------------------------


@pytest.fixture
def many(emu: Emulator) -> list[int]:
    """250 runs that have succeeded, oldest first."""
    return [emu.trigger() for _ in range(250)]


def test_list_is_complete(cloud: DBTCloudClientV2, many: list[int]) -> None:
    """Over three pages, each run once."""
    assert [run.id for run in cloud.list_runs()] == many


def test_list_asks_for_no_more_than_is_read(cloud: DBTCloudClientV2, emu: Emulator, many: list[int]) -> None:
    """The newest run costs one request."""
    emu.requests.clear()
    assert next(cloud.list_runs(order_by="-id")).id == many[-1]
    assert len(emu.requests) == 1


def test_list_by_limit_and_offset(cloud: DBTCloudClientV2, many: list[int]) -> None:
    """Beyond a page."""
    assert [run.id for run in cloud.list_runs(limit=120, offset=20)] == many[20:140]


def test_list_by_ids(cloud: DBTCloudClientV2, many: list[int]) -> None:
    """The poller's question."""
    assert {run.id for run in cloud.list_runs(pk__in=many[5:50])} == set(many[5:50])


def test_list_by_no_ids_is_empty(cloud: DBTCloudClientV2, many: list[int]) -> None:
    """And not everything."""
    assert list(cloud.list_runs(pk__in=[])) == []


def test_list_by_status(cloud: DBTCloudClientV2, running: Run) -> None:
    """Any of several."""
    assert [run.id for run in cloud.list_runs(status__in=[1, 2, 3])] == [running.id]
    assert list(cloud.list_runs(status__in=[RunStatus.SUCCESS, RunStatus.ERROR])) == []


def test_list_by_job_with_triggers(cloud: DBTCloudClientV2, running: Run, emu: Emulator) -> None:
    """Causes are there when they are asked for."""
    (run,) = cloud.list_runs(job_definition_id=emu.job_id, include_related=["trigger"])
    assert run.trigger is not None
    assert list(cloud.list_runs(job_definition_id=999)) == []


def test_list_by_time(cloud: DBTCloudClientV2, emu: Emulator) -> None:
    """A range of times as the API shows them."""
    early = emu.trigger()
    emu.clock.advance(3600)
    emu.trigger()
    at = cloud.get_run(early).created_at
    assert at is not None
    span = [at.subtract(minutes=1), at.add(minutes=1)]
    assert [run.id for run in cloud.list_runs(created_at__range=span)] == [early]


# --- artifacts ----------------------------------------------------------------------------------------------


@pytest.fixture
def built(cloud: DBTCloudClientV2, emu: Emulator) -> int:
    """A run that left artifacts behind."""
    emu.script_job(emu.job_id, artifacts={"manifest.json": '{"a": 1}', "compiled/a b.sql": "select 1"})
    run = cloud.wait_for_run(cloud.start_run(emu.job_id).id)
    emu.clock.advance(60)
    return run.id


def test_artifacts_are_listed(cloud: DBTCloudClientV2, built: int) -> None:
    """By path."""
    assert set(cloud.list_artifacts(built)) == {"manifest.json", "compiled/a b.sql"}


def test_no_artifacts_is_an_empty_list(cloud: DBTCloudClientV2, running: Run) -> None:
    """Where the API says null."""
    assert cloud.list_artifacts(running.id) == []


@pytest.mark.parametrize(
    ("path", "content"), [("manifest.json", b'{"a": 1}'), ("compiled/a b.sql", b"select 1")]
)
def test_artifact_is_read(cloud: DBTCloudClientV2, built: int, path: str, content: bytes) -> None:
    """Folders and blanks in its path included."""
    assert cloud.get_artifact(built, path) == content


def test_artifact_is_downloaded(cloud: DBTCloudClientV2, built: int, tmp_path: Path) -> None:
    """To a file."""
    assert cloud.download_artifact(built, "manifest.json", str(tmp_path / "m.json")) == 8
    assert (tmp_path / "m.json").read_text() == '{"a": 1}'


def test_missing_artifact_is_not_found(cloud: DBTCloudClientV2, built: int) -> None:
    """It may also come later."""
    with pytest.raises(NotFoundError):
        cloud.get_artifact(built, "catalog.json")


# --- account, projects, environments, jobs ------------------------------------------------------------------

ACCOUNT = {
    "account": {"id": 7, "name": "Acme", "token": "t0ken"},
    "projects": [{"id": 10, "name": "Finance"}, {"id": 11, "name": "Sales"}],
    "environments": [
        {"id": 100, "name": "Prod", "project": "Finance"},
        {"id": 101, "name": "Prod", "project": "Sales"},
    ],
    "jobs": [
        {"id": 1000, "name": "Nightly", "environment": 100, "steps": ["dbt build"], "script": {}},
        {"id": 1001, "name": "Hourly", "environment": 101, "steps": ["dbt run"], "script": {}},
    ],
}


@pytest.fixture(scope="module")
def acme() -> Iterator[DBTCloudClientV2]:
    """A client of an account with two projects."""
    with emulator(ACCOUNT) as emu, DBTCloudClientV2(emu.token, 7, f"{emu.url}/api") as client:
        yield client


def test_account_is_read(acme: DBTCloudClientV2) -> None:
    """A check of host, token and account."""
    assert (acme.get_account().id, acme.get_account().name) == (7, "Acme")


@pytest.mark.parametrize(
    ("kind", "ids"), [("projects", [10, 11]), ("environments", [100, 101]), ("jobs", [1000, 1001])]
)
def test_things_are_listed(acme: DBTCloudClientV2, kind: str, ids: list[int]) -> None:
    """All of them."""
    assert [item.id for item in getattr(acme, f"list_{kind}")()] == ids


@pytest.mark.parametrize(
    ("kind", "filters", "ids"),
    [
        ("jobs", {"project_id": 11}, [1001]),
        ("jobs", {"environment_id": 100}, [1000]),
        ("jobs", {"name__icontains": "NIGHT"}, [1000]),
        ("jobs", {"project_id": 10, "name__icontains": "hour"}, []),
        ("environments", {"project_id": 11}, [101]),
        ("projects", {"name__icontains": "sal"}, [11]),
    ],
)
def test_things_are_filtered(acme: DBTCloudClientV2, kind: str, filters: Any, ids: list[int]) -> None:
    """By the API."""
    assert [item.id for item in getattr(acme, f"list_{kind}")(**filters)] == ids


def test_things_are_read(acme: DBTCloudClientV2) -> None:
    """One by one."""
    assert acme.get_project("10").name == "Finance"
    assert acme.get_environment(101).project_id == 11
    assert acme.get_job(1001).execute_steps == ("dbt run",)


def test_wrong_token_is_a_credentials_error(emu: Emulator) -> None:
    """With the two usual reasons."""
    with pytest.raises(InvalidCredentialsException, match="wrong or expired, the account"):
        DBTCloudClientV2("wrong", emu.account_id, f"{emu.url}/api").get_account()


def test_wrong_account_is_an_error_of_ours(emu: Emulator) -> None:
    """However the server puts it."""
    with pytest.raises((NotFoundError, PermissionDeniedError, InvalidCredentialsException)):
        DBTCloudClientV2(emu.token, 999, f"{emu.url}/api").get_account()


# --- waiting ------------------------------------------------------------------------------------------------


def test_wait_over_the_whole_life_of_a_run(cloud: DBTCloudClientV2, emu: Emulator, time: Any) -> None:
    """Faults on the way included."""
    emu.script_job(emu.job_id, seconds=95)
    run = cloud.start_run(emu.job_id)
    emu.fail_next(3, path="GET", status=502)
    emu.drop_next(2, path="GET")
    ended = cloud.wait_for_run(run.id, poll_interval=10)
    assert ended.status is RunStatus.SUCCESS
    assert 95 <= sum(time.slept) <= 115


def test_time_out_cancels_the_run(cloud: DBTCloudClientV2, running: Run) -> None:
    """For real."""
    with pytest.raises(RunTimeoutError):
        cloud.wait_for_run(running.id, timeout=30, cancel_on_timeout=True)
    assert cloud.get_run(running.id).status is RunStatus.CANCELLED
