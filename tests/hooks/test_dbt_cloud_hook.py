"""The hook: where its credentials come from, and what it does with them."""

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt import helpers
from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, NotFoundError, RunStatus, ServerError
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.helpers import run_dbt_cloud_job
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import (
    DbtCloudConnectionError,
    DbtCloudHook,
    DbtCloudJobRunException,
)


@pytest.fixture(autouse=True)
def no_dlt_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own secrets.toml out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))


@pytest.fixture
def dlt_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt's own configuration, as its documentation sets it."""
    monkeypatch.setenv("DBT_CLOUD__API_TOKEN", "dlt-token")
    monkeypatch.setenv("DBT_CLOUD__ACCOUNT_ID", "77")
    monkeypatch.setenv("DBT_CLOUD__JOB_ID", "1234")


def test_connection_comes_first(connect: Callable[..., None], dlt_configuration: None) -> None:
    """An Airflow connection is used, although dlt has a configuration too."""
    connect(login="42", password="airflow-token")
    assert DbtCloudHook().settings.api_token == "airflow-token"


def test_dlt_stands_in_for_the_default_connection(dlt_configuration: None) -> None:
    """Without the default connection dlt's configuration is used, its default job too."""
    found = DbtCloudHook().settings
    assert (found.api_token, found.account_id, found.defaults["job_id"]) == ("dlt-token", "77", "1234")


def test_dlts_own_default_cause_is_not_taken_over(dlt_configuration: None) -> None:
    """dlt's default cause would hide the one that names task and DAG."""
    assert "cause" not in DbtCloudHook().settings.defaults


def test_a_cause_in_dlts_configuration_is_taken_over(
    dlt_configuration: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cause that somebody wrote is kept."""
    monkeypatch.setenv("DBT_CLOUD__CAUSE", "nightly")
    assert DbtCloudHook().settings.defaults["cause"] == "nightly"


def test_mistyped_id_stays_an_error(dlt_configuration: None) -> None:
    """dlt's configuration does not stand in for another id, which is named with what to do."""
    with pytest.raises(
        DbtCloudConnectionError, match=r"'dbt_cloud_defualt' \(dbt_cloud_conn_id\): create it"
    ):
        DbtCloudHook("dbt_cloud_defualt").get_conn()


def test_neither_connection_nor_configuration() -> None:
    """Without any credentials both ways of giving them are told."""
    with pytest.raises(DbtCloudConnectionError, match=r"create the connection.* or set DBT_CLOUD__"):
        DbtCloudHook().get_conn()


@pytest.mark.parametrize("conn_id", ["", " ", None])
def test_empty_connection_id_is_refused(conn_id: str) -> None:
    """An empty id is refused by its argument's name."""
    with pytest.raises(DbtCloudConnectionError, match="dbt_cloud_conn_id is empty"):
        DbtCloudHook(conn_id)


def test_account_argument_comes_before_the_connection(connect: Callable[..., None]) -> None:
    """The task's account is used instead of the connection's."""
    connect(login="42", password="token")
    assert DbtCloudHook(account_id=43).get_conn().account_id == 43


def test_account_of_a_call_comes_before_the_hooks(connect: Callable[..., None]) -> None:
    """An account that is given to a method comes first of all."""
    connect(login="42", password="token")
    assert DbtCloudHook(account_id=43).get_conn(44).account_id == 44


def test_arguments_come_before_the_extras(connect: Callable[..., None]) -> None:
    """How to reach the host can be said by the task."""
    connect(login="42", password="token", extra={"timeout": 5, "outage_tolerance": 60, "verify": True})
    found = DbtCloudHook(timeout=1, outage_tolerance=2, verify=False).settings
    assert (found.timeout, found.outage_tolerance, found.verify) == (1, 2, False)


def test_official_hook_params_are_accepted(connect: Callable[..., None]) -> None:
    """The official hook's arguments are accepted, and its time-out has its effect."""
    connect(login="42", password="token")
    hook = DbtCloudHook(timeout_seconds=9, retry_limit=3, retry_delay=2.0, retry_args={})
    assert hook.settings.timeout == 9


def test_timeout_may_be_a_list(connect: Callable[..., None]) -> None:
    """Kept as JSON, two numbers are a list."""
    connect(login="42", password="token")
    assert DbtCloudHook(timeout=[5, 20]).settings.timeout == (5, 20)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "value", "read_as"),
    [
        ("timeout", "30", 30),
        ("timeout", (5, "20"), (5, 20)),
        ("outage_tolerance", "600", 600),
        ("verify", "False", False),
        ("proxies", "http://proxy:3128", {"http": "http://proxy:3128", "https": "http://proxy:3128"}),
    ],
)
def test_arguments_are_read_as_the_extras_are(
    connect: Callable[..., None], argument: str, value: object, read_as: object
) -> None:
    """What the connection's extra may hold, the hook takes as well."""
    connect(login="42", password="token")
    hook = DbtCloudHook(**{argument: value})  # type: ignore[arg-type]
    assert getattr(hook.settings, argument) == read_as


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("timeout", 0, "a positive number of seconds, or two [to connect, to answer], got 0"),
        ("timeout", [10], "a positive number of seconds, or two [to connect, to answer], got [10]"),
        (
            "timeout_seconds",
            "soon",
            "a positive number of seconds, or two [to connect, to answer], got 'soon'",
        ),
        ("outage_tolerance", 0, "a positive number of seconds, got 0"),
        ("retry_budget", -1, "0 or a positive number of seconds, got -1"),
        ("retry_budget", False, "0 or a positive number of seconds, got False"),
        ("verify", 1, "true or false, got 1"),
        ("proxies", ["http://me:hush@proxy:3128"], 'an address or {"https": "http://proxy:3128"}'),
    ],
)
def test_argument_that_is_none_is_refused(argument: str, value: object, said: str) -> None:
    """When the hook is made, by its name; a proxy's address, which may hold a password, is not shown."""
    with pytest.raises(InvalidRequestError) as refused:
        DbtCloudHook(**{argument: value})  # type: ignore[arg-type]
    assert str(refused.value) == f"DbtCloudHook's {argument!r} must be {said}."


def test_retry_budget_may_be_a_text(emu: Emulator) -> None:
    """With none of it a failure is final."""
    emu.fail_next(1, status=503)
    with pytest.raises(ServerError):
        DbtCloudHook(retry_budget="0").get_account()  # type: ignore[arg-type]


def test_client_is_reused(connect: Callable[..., None]) -> None:
    """One client an account: its connections are reused."""
    connect(login="42", password="token")
    hook = DbtCloudHook()
    assert hook.get_conn() is hook.get_conn()
    assert hook.get_conn(43) is hook.get_conn("43")
    assert hook.get_conn() is not hook.get_conn(43)


def test_forget_reads_the_connection_again(connect: Callable[..., None]) -> None:
    """After `forget` a rotated token is seen."""
    connect(login="42", password="old-token")
    hook = DbtCloudHook()
    hook.get_conn()
    connect(login="42", password="new-token")
    hook.forget()
    assert hook.settings.api_token == "new-token"


def test_forget_closes_connections(emu: Emulator, open_connections: Callable[[], int]) -> None:
    """A client that is dropped leaves none behind."""
    hook = DbtCloudHook()
    hook.get_account()
    assert open_connections() == 1
    hook.forget()
    assert open_connections() == 0


def test_forget_leaves_a_request_alone(emu: Emulator, open_connections: Callable[[], int]) -> None:
    """A thread that still uses the client gets its answer; then the connection is closed."""
    hook = DbtCloudHook()
    emu.inject("slow", seconds=0.3)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(hook.get_account)
        while not emu.requests:
            time.sleep(0.01)
        hook.forget()
        assert asked.result().id == emu.account_id
    assert open_connections() == 0


def test_no_token_in_the_hooks_repr(emu: Emulator) -> None:
    """Hook and client can be logged."""
    hook = DbtCloudHook()
    assert emu.token not in f"{hook!r} {hook.get_conn()!r} {hook.settings!r}"


def test_dlt_credentials_run_a_job(emu: Emulator) -> None:
    """The connection's credentials work with the helpers that dlt users know."""
    run = run_dbt_cloud_job(DbtCloudHook().get_dlt_credentials(), emu.job_id, wait_seconds=0.01)
    assert run["is_success"]


def test_dlt_credentials_have_the_connections_defaults(connect: Callable[..., None]) -> None:
    """The connection's defaults are the helpers' defaults."""
    connect(login="42", password="token", extra={"job_id": 5, "git_branch": "main"})
    found = DbtCloudHook(account_id=43).get_dlt_credentials()
    assert (found.account_id, found.job_id, found.git_branch) == ("43", "5", "main")


def test_dlt_credentials_allow_what_the_connection_allows(connect: Callable[..., None]) -> None:
    """A connection that may use plain http makes credentials that may as well."""
    connect(password="t", host="http://dbt.example", extra={"allow_http": True})
    assert DbtCloudHook().get_dlt_credentials().allow_http


def test_dlt_credentials_are_the_connections_alone(
    connect: Callable[..., None], dlt_configuration: None
) -> None:
    """dlt's own configuration does not fill up what the connection leaves open."""
    connect(login="42", password="token")
    assert DbtCloudHook().get_dlt_credentials().job_id is None


def test_missing_connection_tests_badly() -> None:
    """The test never raises."""
    good, said = DbtCloudHook("nowhere").test_connection()
    assert not good
    assert "'nowhere'" in said


def test_get_account(emu: Emulator) -> None:
    """The account is returned."""
    assert DbtCloudHook().get_account().id == emu.account_id


def test_list_accounts(emu: Emulator, connect: Callable[..., None]) -> None:
    """The token's accounts are listed, also when the connection names none."""
    connect(host=emu.host, password=emu.token)
    assert [account.name for account in DbtCloudHook().list_accounts()] == ["Local"]


def test_projects(emu: Emulator) -> None:
    """Projects can be listed by a part of their name, and asked for."""
    hook = DbtCloudHook()
    assert [item.id for item in hook.list_projects(name_contains="lytic")] == [10]
    assert hook.list_projects(name_contains="sales") == []
    assert hook.get_project(10).name == "Analytics"


def test_environments(emu: Emulator) -> None:
    """Environments can be listed by project and a part of their name, and asked for."""
    hook = DbtCloudHook()
    assert [item.id for item in hook.list_environments(10, name_contains="prod")] == [100]
    assert hook.list_environments(11) == []
    assert hook.list_environments(10, name_contains="staging") == []
    assert hook.get_environment(10, 100).name == "Production"


def test_jobs(emu: Emulator) -> None:
    """Jobs can be listed by project, environment and a part of their name, and asked for."""
    hook = DbtCloudHook()
    listed = hook.list_jobs(order_by="-id", project_id=10, environment_id=100, name_contains="nightly")
    assert [item.id for item in listed] == [emu.job_id]
    assert hook.list_jobs(name_contains="weekly") == []
    assert hook.get_job(emu.job_id).name == "Nightly build"


def test_job_by_names(emu: Emulator) -> None:
    """A job is found by its names."""
    found = DbtCloudHook().get_job_by_name(
        project_name="Analytics", environment_name="Production", job_name="Nightly build"
    )
    assert found.id == emu.job_id


def test_trigger_job_run(emu: Emulator) -> None:
    """A run is started with its overrides."""
    DbtCloudHook().trigger_job_run(
        emu.job_id,
        "by hand",
        steps_override=["dbt run"],
        schema_override="dev",
        additional_run_config={"threads_override": 8},
    )
    trigger = emu.runs()[-1]["trigger"]
    assert (trigger["cause"], trigger["steps_override"], trigger["schema_override"]) == (
        "by hand",
        ["dbt run"],
        "dev",
    )
    assert trigger["threads_override"] == 8


def test_trigger_job_run_from_the_point_of_failure(emu: Emulator) -> None:
    """With retry_from_failure the failed run is taken up."""
    emu.script_job(emu.job_id, outcome="error")
    hook = DbtCloudHook()
    failed = hook.trigger_job_run(emu.job_id, "first")
    again = hook.trigger_job_run(emu.job_id, "second", retry_from_failure=True)
    assert again.retrying_run_id == failed.id


def test_retry_failed_job_run(emu: Emulator) -> None:
    """The official name of the same."""
    emu.script_job(emu.job_id, outcome="error")
    hook = DbtCloudHook()
    failed = hook.trigger_job_run(emu.job_id, "first")
    assert hook.retry_failed_job_run(emu.job_id).retrying_run_id == failed.id


def test_list_job_runs(emu: Emulator) -> None:
    """Runs are listed, with what is related and further filters."""
    first, second = emu.trigger(), emu.trigger(cause="second")
    hook = DbtCloudHook()
    listed = hook.list_job_runs(
        include_related=["trigger"], job_definition_id=emu.job_id, order_by="-id", id__gt=first
    )
    assert [(run.id, run.trigger and run.trigger.cause) for run in listed] == [(second, "second")]
    assert [run.id for run in hook.get_job_runs(payload={"order_by": "id", "limit": 1})] == [first]


def test_get_job_run(emu: Emulator) -> None:
    """A run is read, with what is related."""
    run_id = emu.trigger(cause="why not")
    run = DbtCloudHook().get_job_run(run_id, include_related=["trigger"])
    assert run.trigger is not None
    assert run.trigger.cause == "why not"


def test_get_job_run_status(emu: Emulator) -> None:
    """A run's status is read."""
    assert DbtCloudHook().get_job_run_status(emu.trigger()) is RunStatus.SUCCESS


def test_wait_for_job_run_status(emu: Emulator) -> None:
    """A wait ends when the run is in one of the statuses that were expected."""
    emu.script_job(emu.job_id, seconds=0.1, outcome="error")
    run_id = emu.trigger()
    hook = DbtCloudHook()
    assert hook.wait_for_job_run_status(run_id, check_interval=0.02, expected_statuses=RunStatus.ERROR)
    assert hook.wait_for_job_run_status(run_id, expected_statuses=[10, 20])


def test_wait_for_a_status_that_a_run_passes_through(emu: Emulator) -> None:
    """A run need not have ended to be where it is expected."""
    emu.script_job(emu.job_id, seconds=60)
    assert DbtCloudHook().wait_for_job_run_status(
        emu.trigger(), expected_statuses=RunStatus.RUNNING, check_interval=0.02, timeout=5
    )


def test_wait_for_job_run_status_of_a_failed_run(emu: Emulator) -> None:
    """A run that ends otherwise than expected raises, as it does in the official hook."""
    emu.script_job(emu.job_id, outcome="error")
    with pytest.raises(DbtCloudJobRunException, match="has failed"):
        DbtCloudHook().wait_for_job_run_status(emu.trigger(), check_interval=0.02)


def test_wait_for_a_failure_of_a_run_that_succeeds(emu: Emulator) -> None:
    """It is told what the run ended as, and what was expected."""
    run_id = emu.trigger()
    with pytest.raises(DbtCloudJobRunException) as ended:
        DbtCloudHook().wait_for_job_run_status(run_id, expected_statuses=["error", "30"])
    assert str(ended.value) == f"Job run {run_id} ended as Success, expected Error or Cancelled."


def test_wait_for_a_status_by_its_text(emu: Emulator) -> None:
    """A number may come as a text, as a rendered template does."""
    assert DbtCloudHook().wait_for_job_run_status(emu.trigger(), expected_statuses="10")


def test_wait_for_what_is_no_status(emu: Emulator) -> None:
    """Nobody waits for what can't come."""
    with pytest.raises(InvalidRequestError, match=r"expected_statuses must be of .*, got 'finished'"):
        DbtCloudHook().wait_for_job_run_status(emu.trigger(), expected_statuses="finished")


def test_wait_for_job_run_status_has_an_end(emu: Emulator) -> None:
    """A wait whose time is up raises, and leaves the run alone."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    hook = DbtCloudHook()
    with pytest.raises(DbtCloudJobRunException, match="has not ended within the timeout"):
        hook.wait_for_job_run_status(run_id, check_interval=0.02, timeout=0.1)
    assert not hook.get_job_run_status(run_id).is_terminal


def test_cancel_job_run(emu: Emulator) -> None:
    """A run is cancelled."""
    emu.script_job(emu.job_id, seconds=60)
    assert DbtCloudHook().cancel_job_run(emu.trigger()).status is RunStatus.CANCELLED


def test_artifacts(emu: Emulator) -> None:
    """Artifacts are listed and read."""
    emu.script_job(emu.job_id, artifacts={"manifest.json": "{}"})
    run_id = emu.trigger()
    hook = DbtCloudHook()
    assert hook.list_job_run_artifacts(run_id) == ["manifest.json"]
    assert hook.get_job_run_artifact(run_id, "manifest.json") == b"{}"


def test_what_is_not_there(emu: Emulator) -> None:
    """A job that does not exist is a NotFoundError which names it."""
    with pytest.raises(NotFoundError, match="999"):
        DbtCloudHook().get_job(999)


OFFICIAL_METHODS = {
    "get_account": ["account_id"],
    "list_projects": ["account_id", "name_contains"],
    "get_project": ["project_id", "account_id"],
    "list_environments": ["project_id", "name_contains", "account_id"],
    "get_environment": ["project_id", "environment_id", "account_id"],
    "list_jobs": ["account_id", "order_by", "project_id", "environment_id", "name_contains"],
    "get_job": ["job_id", "account_id"],
    "get_job_by_name": ["project_name", "environment_name", "job_name", "account_id"],
    "trigger_job_run": [
        "job_id",
        "cause",
        "account_id",
        "steps_override",
        "schema_override",
        "retry_from_failure",
        "additional_run_config",
    ],
    "list_job_runs": ["account_id", "include_related", "job_definition_id", "order_by"],
    "get_job_runs": ["account_id", "payload"],
    "get_job_run": ["run_id", "account_id", "include_related"],
    "get_job_run_status": ["run_id", "account_id"],
    "wait_for_job_run_status": ["run_id", "account_id", "expected_statuses", "check_interval", "timeout"],
    "cancel_job_run": ["run_id", "account_id"],
    "list_job_run_artifacts": ["run_id", "account_id", "step"],
    "get_job_run_artifact": ["run_id", "path", "account_id", "step"],
    "retry_failed_job_run": ["job_id", "account_id"],
    "test_connection": [],
}
"""Of the official provider's hook, as its release 4.x declares them."""


@pytest.mark.parametrize(("method", "parameters"), OFFICIAL_METHODS.items())
def test_official_methods_take_the_same_arguments(method: str, parameters: list[str]) -> None:
    """Whoever calls the official hook's method by names calls this one."""
    assert set(parameters) <= set(inspect.signature(getattr(DbtCloudHook, method)).parameters)


def test_async_client_is_the_same(emu: Emulator) -> None:
    """From a coroutine the hook gives the client that it gives elsewhere."""
    hook = DbtCloudHook()
    assert asyncio.run(hook.aget_conn()) is hook.get_conn()


def test_async_lookup_does_not_block_the_loop() -> None:
    """While the connection is looked up and dlt's configuration read, the event loop goes on."""

    async def longest_pause() -> float:
        done = asyncio.create_task(DbtCloudHook().aget_conn())
        pauses = []
        while not done.done():
            began = time.monotonic()
            await asyncio.sleep(0.001)
            pauses.append(time.monotonic() - began)
        with pytest.raises(DbtCloudConnectionError):
            await done
        return max(pauses)

    asyncio.run(longest_pause())  # dlt's imports hold the interpreter, once
    assert asyncio.run(longest_pause()) < 0.2


def test_dlts_configuration_is_read_in_a_thread(dlt_configuration: None, mocker: MockerFixture) -> None:
    """dlt's configuration reads files, and in Airflow asks for Variables: not on the event loop."""
    threads: list[threading.Thread] = []
    read = helpers.configured
    mocker.patch.object(
        helpers, "configured", side_effect=lambda: threads.append(threading.current_thread()) or read()
    )
    asyncio.run(DbtCloudHook().aload_settings())
    assert threads
    assert threading.main_thread() not in threads


def test_async_lookup_finds_dlts_configuration(dlt_configuration: None) -> None:
    """In the triggerer, too, dlt's configuration stands in for the default connection."""
    assert asyncio.run(DbtCloudHook().aload_settings()).api_token == "dlt-token"


def test_works_in_plain_python(emu: Emulator) -> None:
    """Outside of any task the hook finds its connection and talks to dbt Cloud."""
    code = (
        "from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook\n"
        "print(DbtCloudHook().get_account().name)"
    )
    # The connection and Airflow's home are in the environment.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "Local"
