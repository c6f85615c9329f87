"""dlt's interface: its documented use works with only the module's name changed; what was wrong is mended."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

import dlt.helpers.dbt_cloud as dlts
import pytest
import responses
from dlt.helpers.dbt_cloud.client import DBTCloudClientV2 as DltsClient
from dlt.helpers.dbt_cloud.client import InvalidCredentialsException as DltsException
from dlt.helpers.dbt_cloud.configuration import DBTCloudConfiguration as DltsConfiguration

from airflow_provider_dbtcloud_dlt import helpers
from airflow_provider_dbtcloud_dlt.client import (
    InvalidRequestError,
    MalformedAnswerError,
    RejectedRequestError,
    RunTimeoutError,
    ServerError,
)
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.helpers import (
    DBTCloudClientV2,
    DBTCloudConfiguration,
    InvalidCredentialsException,
    get_dbt_cloud_run_status,
    run_dbt_cloud_job,
)

API = "https://dbt.test/api"
QUICKLY = 0.01
"""Seconds between two looks."""


def _credentials(emu: Emulator, **fields: Any) -> DBTCloudConfiguration:
    return helpers.credentials(
        api_token=emu.token, account_id=str(emu.account_id), base_api_url=f"{emu.url}/api", **fields
    )


# --- the interface is dlt's ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (run_dbt_cloud_job, dlts.run_dbt_cloud_job),
        (get_dbt_cloud_run_status, dlts.get_dbt_cloud_run_status),
        (DBTCloudClientV2.__init__, DltsClient.__init__),
        (DBTCloudClientV2.get_endpoint, DltsClient.get_endpoint),
        (DBTCloudClientV2.post_endpoint, DltsClient.post_endpoint),
        (DBTCloudClientV2.trigger_job_run, DltsClient.trigger_job_run),
        (DBTCloudClientV2.get_run_status, DltsClient.get_run_status),
    ],
)
def test_parameters_are_dlts(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    """Names and order; what was added is by name only."""
    mine = list(inspect.signature(ours).parameters.values())
    names = list(inspect.signature(theirs).parameters)
    assert [item.name for item in mine[: len(names)]] == names
    assert all(item.kind is item.KEYWORD_ONLY for item in mine[len(names) :])


@pytest.mark.parametrize("function", ["run_dbt_cloud_job", "get_dbt_cloud_run_status"])
@pytest.mark.parametrize("name", ["wait_for_outcome", "wait_seconds"])
def test_defaults_are_dlts(function: str, name: str) -> None:
    """Those that a caller may rely upon."""
    ours, theirs = (inspect.signature(getattr(module, function)) for module in (helpers, dlts))
    assert ours.parameters[name].default == theirs.parameters[name].default


def test_configuration_has_dlts_fields_and_the_host() -> None:
    """With the same defaults."""
    theirs = dict(DltsConfiguration())
    ours = {"base_api_url": "https://cloud.getdbt.com/api", "allow_http": False}
    assert dict(DBTCloudConfiguration()) == {**theirs, **ours}


def test_names_are_dlts() -> None:
    """Whoever imports one of them changes only the module."""
    for name in ("run_dbt_cloud_job", "get_dbt_cloud_run_status", "DBTCloudClientV2"):
        assert hasattr(dlts, name)
        assert hasattr(helpers, name)
    assert InvalidCredentialsException.__name__ == DltsException.__name__


# --- dlt's documentation ------------------------------------------------------------------------------------


def test_documented_client_example(emu: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With the host of the emulator."""
    client = DBTCloudClientV2(
        api_token=emu.token, account_id=str(emu.account_id), base_api_url=f"{emu.url}/api"
    )
    job_run_id = client.trigger_job_run(job_id=emu.job_id, data={"cause": "Triggered via API"})
    print(f"Job run triggered successfully. Run ID: {job_run_id}")
    run_status = client.get_run_status(run_id=job_run_id)
    print(f"Job run status: {run_status['status_humanized']}")
    assert capsys.readouterr().out.endswith("Job run status: Success\n")


@pytest.mark.parametrize("configured", ["environment", "secrets"])
def test_documented_run_example(configured: str, emu: Emulator, request: pytest.FixtureRequest) -> None:
    """With dlt's configuration, by environment variables and by secrets.toml."""
    request.getfixturevalue(configured)
    status = run_dbt_cloud_job()
    assert (status["job_definition_id"], status["is_success"]) == (emu.job_id, True)
    additional_data = {"git_sha": "abcd1234", "schema_override": "custom_schema"}
    status = run_dbt_cloud_job(job_id=emu.job_id, data=additional_data, wait_for_outcome=True)
    assert status["is_success"]


@pytest.mark.parametrize("configured", ["environment", "secrets"])
def test_documented_status_example(configured: str, emu: Emulator, request: pytest.FixtureRequest) -> None:
    """Likewise."""
    request.getfixturevalue(configured)
    run_id = emu.trigger()
    status = get_dbt_cloud_run_status(run_id=run_id, wait_for_outcome=True)
    assert (status["id"], status["status_humanized"], status["in_progress"]) == (run_id, "Success", False)


# --- configuration ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
def test_run_id_of_the_configuration_is_used(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no other is given."""
    run_id = emu.trigger()
    monkeypatch.setenv("DBT_CLOUD__RUN_ID", str(run_id))
    assert get_dbt_cloud_run_status()["id"] == run_id


@pytest.mark.usefixtures("environment")
def test_argument_wins_over_the_configuration(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt would replace an argument that bears the name of a field."""
    monkeypatch.setenv("DBT_CLOUD__JOB_ID", "999")
    assert run_dbt_cloud_job(job_id=emu.job_id)["job_definition_id"] == emu.job_id
    monkeypatch.setenv("DBT_CLOUD__RUN_ID", "999")
    run_id = emu.trigger()
    assert get_dbt_cloud_run_status(run_id=run_id)["id"] == run_id


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["cause", "git_sha", "git_branch", "schema_override"])
def test_configured_fields_are_sent(emu: Emulator, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of the section's."""
    monkeypatch.setenv(f"DBT_CLOUD__{name.upper()}", "said")
    run_dbt_cloud_job()
    assert emu.runs()[0]["trigger"][name] == "said"


@pytest.mark.usefixtures("environment")
def test_given_credentials_win_over_the_configuration(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of an Airflow connection."""
    monkeypatch.setenv("DBT_CLOUD__API_TOKEN", "wrong")
    monkeypatch.setenv("DBT_CLOUD__BASE_API_URL", "https://wrong.invalid/api")
    assert run_dbt_cloud_job(_credentials(emu), emu.job_id)["is_success"]


def test_made_credentials_look_nothing_up(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connection does not say stays unsaid."""
    monkeypatch.setenv("DBT_CLOUD__SCHEMA_OVERRIDE", "from_environment")
    run_dbt_cloud_job(_credentials(emu), emu.job_id)
    assert emu.runs()[0]["trigger"]["schema_override"] is None


def test_no_configuration_is_none() -> None:
    """Airflow's hook asks so whether dlt has credentials."""
    assert helpers.configured() is None


@pytest.mark.usefixtures("environment")
def test_configuration_is_found(emu: Emulator) -> None:
    """With the token."""
    found = helpers.configured()
    assert found is not None
    assert (found.api_token, found.account_id) == (emu.token, str(emu.account_id))


# --- what was to mend ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
def test_data_is_sent(emu: Emulator) -> None:
    """dlt drops it. Any field of the API's body will do, and it comes before the configuration's."""
    data = {"cause": "Mine", "steps_override": ["dbt build"], "threads_override": 4, "git_sha": "abc"}
    run_dbt_cloud_job(data=data)
    assert {name: emu.runs()[0]["trigger"][name] for name in data} == data


@pytest.mark.usefixtures("environment")
def test_branch_is_sent_beside_a_commit(emu: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt drops it then."""
    monkeypatch.setenv("DBT_CLOUD__GIT_SHA", "abc")
    monkeypatch.setenv("DBT_CLOUD__GIT_BRANCH", "main")
    run_dbt_cloud_job()
    trigger = emu.runs()[0]["trigger"]
    assert (trigger["git_sha"], trigger["git_branch"]) == ("abc", "main")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("API_TOKEN", "api_token is missing: .*DBT_CLOUD__API_TOKEN"),
        ("ACCOUNT_ID", "account_id is missing: .*DBT_CLOUD__ACCOUNT_ID"),
        ("JOB_ID", "job_id is missing: .*DBT_CLOUD__JOB_ID"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_missing_credential_is_named(
    emu: Emulator, monkeypatch: pytest.MonkeyPatch, missing: str, words: str
) -> None:
    """An empty token was sent; now nothing is."""
    monkeypatch.delenv(f"DBT_CLOUD__{missing}")
    with pytest.raises(InvalidCredentialsException, match=words):
        run_dbt_cloud_job()
    assert emu.requests == []


@pytest.mark.usefixtures("environment")
def test_missing_run_id_is_named() -> None:
    """With the variable that may hold it."""
    with pytest.raises(InvalidCredentialsException, match=r"run_id is missing: .*DBT_CLOUD__RUN_ID"):
        get_dbt_cloud_run_status()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("status", [500, 502, 503])
def test_trigger_is_not_sent_twice(emu: Emulator, status: int) -> None:
    """dlt sends it five times."""
    emu.fail_next(status=status)
    with pytest.raises(ServerError):
        run_dbt_cloud_job()
    assert [method for method, _ in emu.requests] == ["POST"]


@pytest.mark.usefixtures("environment")
def test_paths_have_their_slash(emu: Emulator) -> None:
    """Without it the API redirects."""
    run_dbt_cloud_job()
    assert emu.requests[0] == ("POST", "/api/v2/accounts/1/jobs/1000/run/")
    assert all(path.endswith("/") for _, path in emu.requests)


@pytest.mark.usefixtures("environment")
def test_dbts_reason_is_shown(emu: Emulator) -> None:
    """Instead of a KeyError."""
    emu.fail_next(status=400, body='{"status": {"user_message": "No such branch."}, "data": null}')
    with pytest.raises(RejectedRequestError, match=r"No such branch\."):
        run_dbt_cloud_job()


@pytest.mark.parametrize("body", ["<html>Sign in</html>", '{"status": {"code": 200}}', "{"])
def test_strange_answers_are_errors_of_the_client(body: str) -> None:
    """Instead of a KeyError or a JSONDecodeError."""
    credentials = helpers.credentials(api_token="t", account_id="7", base_api_url=API)
    with responses.RequestsMock() as server:
        server.post(f"{API}/v2/accounts/7/jobs/1/run/", body=body)
        with pytest.raises(MalformedAnswerError):
            run_dbt_cloud_job(credentials, 1)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("outcome", "field"), [("error", "is_error"), ("cancelled", "is_cancelled")])
def test_failed_run_is_returned(emu: Emulator, outcome: Any, field: str) -> None:
    """As dlt does: whoever calls looks at it."""
    emu.script_job(emu.job_id, outcome=outcome)
    assert run_dbt_cloud_job()[field]


# --- waiting ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
def test_outcome_is_waited_for(emu: Emulator) -> None:
    """Over several looks."""
    emu.fail_next(2, status=200, path="GET", body='{"data": {"id": 5, "status": 3}}')
    assert run_dbt_cloud_job(wait_seconds=QUICKLY)["is_success"]
    assert [method for method, _ in emu.requests] == ["POST", "GET", "GET", "GET"]


@pytest.mark.usefixtures("environment")
def test_run_that_is_not_waited_for_is_returned_as_it_was_started(emu: Emulator) -> None:
    """With one request: to ask for a fresh run may be answered with 404."""
    emu.script_job(emu.job_id, seconds=600)
    run = run_dbt_cloud_job(wait_for_outcome=False)
    assert run["in_progress"]
    assert [method for method, _ in emu.requests] == ["POST"]


@pytest.mark.usefixtures("environment")
def test_status_that_is_not_waited_for_is_read_once(emu: Emulator) -> None:
    """As it is now."""
    emu.script_job(emu.job_id, seconds=600)
    assert get_dbt_cloud_run_status(run_id=emu.trigger(), wait_for_outcome=False)["in_progress"]
    assert len(emu.requests) == 1


@pytest.mark.usefixtures("environment")
def test_404_after_the_trigger_is_outlived(emu: Emulator) -> None:
    """A fresh run may be unknown for a moment."""
    emu.fail_next(status=404, path="GET")
    assert run_dbt_cloud_job(wait_seconds=QUICKLY)["is_success"]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("cancel", "status"), [(False, 3), (True, 30)])
def test_wait_has_a_time_limit(emu: Emulator, cancel: bool, status: int) -> None:
    """The run is cancelled on request."""
    emu.script_job(emu.job_id, seconds=600)
    with pytest.raises(RunTimeoutError, match="within the timeout") as raised:
        run_dbt_cloud_job(wait_seconds=QUICKLY, timeout_seconds=0.05, cancel_on_timeout=cancel)
    assert raised.value.run is not None
    assert emu.runs()[0]["status"] == status


@pytest.mark.usefixtures("environment")
def test_wait_for_another_run_has_a_time_limit(emu: Emulator) -> None:
    """And cancels it on request."""
    emu.script_job(emu.job_id, seconds=600)
    with pytest.raises(RunTimeoutError):
        get_dbt_cloud_run_status(
            run_id=emu.trigger(), wait_seconds=QUICKLY, timeout_seconds=0.05, cancel_on_timeout=True
        )
    assert emu.runs()[0]["status"] == 30


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("seconds", [0, -1, "10", None, True, float("nan")])
def test_bad_wait_seconds_start_nothing(emu: Emulator, seconds: Any) -> None:
    """They are refused before the trigger."""
    with pytest.raises(InvalidRequestError, match="wait_seconds must be a positive number of seconds"):
        run_dbt_cloud_job(wait_seconds=seconds)
    assert emu.requests == []


@pytest.mark.usefixtures("environment")
def test_wrong_token_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it to become right."""
    monkeypatch.setenv("DBT_CLOUD__API_TOKEN", "wrong")
    with pytest.raises(InvalidCredentialsException, match="refused the API token"):
        get_dbt_cloud_run_status(run_id=1)


@pytest.mark.usefixtures("environment")
def test_token_is_in_no_log(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """dlt's configuration included."""
    caplog.set_level(logging.DEBUG)
    emu.fail_next(status=429, headers={"Retry-After": "0"})
    run_dbt_cloud_job()
    assert caplog.text
    assert emu.token not in caplog.text
