"""What testing a connection says, at the wire: of a good one, and of each way in which one is wrong."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator
from airflow_provider_dbtcloud_dlt.hooks import connection_check
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook

SERVICE, PERSONAL, FINANCE = "dbtc_secret-1", "dbtu_secret-2", "dbtc_secret-3"
ACCOUNT, JOB, CLOSING = 12345, 70403110257794, 1001
CONFIG: dict[str, Any] = {
    "account": {"id": ACCOUNT, "name": "Jaffle Shop", "token": SERVICE},
    "projects": [{"id": 10, "name": "Analytics"}, {"id": 11, "name": "Finance"}],
    "environments": [
        {"id": 100, "name": "Production", "project": "Analytics"},
        {"id": 101, "name": "Books", "project": "Finance"},
    ],
    "jobs": [
        {"id": JOB, "name": "Nightly build", "environment": 100, "steps": ["dbt build"], "script": {}},
        {"id": CLOSING, "name": "Closing", "environment": 101, "steps": ["dbt build"], "script": {}},
    ],
    "tokens": [
        {"name": "Ann", "token": PERSONAL},
        {"name": "Finance", "token": FINANCE, "projects": ["Finance"]},
    ],
}


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    """An account with two jobs, and three tokens for it."""
    with emulator(CONFIG) as running:
        yield running


@pytest.fixture
def cloud(served: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The same, without faults and requests of an earlier test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    served.requests.clear()
    yield served
    served.clear_faults()


Answer = Callable[..., tuple[bool, str]]


@pytest.fixture
def answer(cloud: Emulator, connect: Callable[..., None]) -> Answer:
    """Test a connection; the token is never in the answer."""

    def ask(extra: object = None, account_id: int | None = None, **fields: Any) -> tuple[bool, str]:
        fields = {"host": cloud.host, "login": str(ACCOUNT), "password": SERVICE, **fields}
        connect(extra=extra, **fields)
        good, said = DbtCloudHook(account_id=account_id).test_connection()
        assert str(fields["password"]).strip() not in said or not fields["password"]
        assert said.endswith(".") or said.endswith("?")
        return good, said

    return ask


def place(cloud: Emulator) -> str:
    """The host as answers name it."""
    return cloud.host.removeprefix("http://")


@pytest.mark.parametrize(
    ("token", "kind"), [(SERVICE, "a service token"), (PERSONAL, "a personal access token")]
)
def test_account_and_kind_of_token(token: str, kind: str, answer: Answer, cloud: Emulator) -> None:
    """By its name, and by the token's prefix."""
    said = f"Connected to account 'Jaffle Shop' (12345) at {place(cloud)} with {kind}."
    assert answer(password=token) == (True, said)


def test_token_without_a_prefix(emu: Emulator) -> None:
    """An old token has none: nobody knows what kind it is."""
    good, said = DbtCloudHook().test_connection()
    assert (good, said) == (True, f"Connected to account 'Local' (1) at {place(emu)} with an API token.")


def test_job_and_its_project(answer: Answer, cloud: Emulator) -> None:
    """A default job is asked for, and told of with its project."""
    good, said = answer({"job_id": JOB})
    assert good
    assert said.endswith("; the default job is 'Nightly build' (70403110257794) in project 'Analytics' (10).")
    assert len(cloud.requests) == 3


def test_bad_token(answer: Answer, cloud: Emulator) -> None:
    """What a 401 may mean, with where to get a token and where accounts live."""
    good, said = answer(password="dbtc_mistyped")
    assert not good
    assert said.startswith(f"{place(cloud)} refused the API token: it is mistyped, expired or revoked")
    assert "Account settings → API tokens" in said
    assert "such as ab123.us1.dbt.com, emea.dbt.com, au.dbt.com or cloud.getdbt.com" in said


@responses.activate
def test_bad_token_at_the_default_host(connect: Callable[..., None]) -> None:
    """There a token is refused mostly since its account lives elsewhere: that comes first."""
    responses.get(re.compile(r"https://cloud\.getdbt\.com/api/v2/accounts/.*"), status=401)
    connect(login="12345", password=SERVICE)
    good, said = DbtCloudHook().test_connection()
    assert not good
    assert said.startswith(
        "cloud.getdbt.com refused the API token: either the account lives at an Access URL of its own, such "
        "as ab123.us1.dbt.com, emea.dbt.com or au.dbt.com (dbt Cloud shows it under Account settings"
    )


def test_mistyped_account(answer: Answer, cloud: Emulator) -> None:
    """The token is good: the account that it opens looks like the one that was meant."""
    said = (
        f"The API token is good at {place(cloud)}, but opens account 'Jaffle Shop' (12345), not 12354: is "
        "12345 the Account ID?"
    )
    assert answer(login="12354") == (False, said)


def test_account_of_another_host(answer: Answer, cloud: Emulator) -> None:
    """The token is good, and another account's: number or host is wrong, with the likely hosts."""
    good, said = answer(login="7")
    assert not good
    assert "opens account 'Jaffle Shop' (12345), not 7: correct the Account ID, or the Access URL if" in said
    assert "such as ab123.us1.dbt.com, emea.dbt.com, au.dbt.com or cloud.getdbt.com." in said


def test_account_of_the_task(answer: Answer) -> None:
    """A hook that was given an account asks for that."""
    assert answer(login="7", account_id=ACCOUNT)[0]


def test_empty_account(answer: Answer) -> None:
    """The account that the token opens is what has to be put there."""
    good, said = answer(login="")
    assert not good
    assert (
        "opens account 'Jaffle Shop' (12345), but the Account ID is empty: put the account's number" in said
    )


def test_empty_account_and_bad_token(answer: Answer) -> None:
    """The token is what is told first."""
    good, said = answer(login="", password="dbtc_mistyped")
    assert (good, "refused the API token" in said) == (False, True)


def test_token_that_opens_no_account(answer: Answer, cloud: Emulator) -> None:
    """A new token is what helps."""
    cloud.fail_next(status=401, path=r"/accounts/\d+/")
    cloud.fail_next(status=200, path="/accounts/$", body=json.dumps({"status": {}, "data": []}))
    good, said = answer()
    assert not good
    assert "opens no account: make another one for account 12345" in said


def test_no_permission_for_the_account(answer: Answer, cloud: Emulator) -> None:
    """A token that may not see the account is told apart from one that is bad."""
    cloud.fail_next(status=403, path=r"/accounts/\d+/$")
    good, said = answer()
    assert not good
    assert "is good at" in said
    assert "has no permission for account 'Jaffle Shop' (12345)" in said


def test_token_for_a_project_alone(answer: Answer, cloud: Emulator) -> None:
    """It may not see the account, but the job, which is what tasks need."""
    cloud.fail_next(status=403, path=r"/accounts/\d+/$")
    good, said = answer({"job_id": CLOSING}, password=FINANCE)
    assert good
    assert said.startswith(
        f"Connected to account 12345 at {place(cloud)} with a service token; the default job"
    )


def test_locked_account(answer: Answer, cloud: Emulator) -> None:
    """Its runs would be refused: with dbt's reason."""
    account = {"id": ACCOUNT, "name": "Jaffle Shop", "locked": True, "lock_reason": "Trial expired"}
    cloud.fail_next(status=200, path=r"/accounts/\d+/$", body=json.dumps({"status": {}, "data": account}))
    good, said = answer()
    assert not good
    assert said.endswith("but the account is locked (Trial expired), so that no job can run in it.")


def test_job_that_the_token_does_not_see(answer: Answer) -> None:
    """dbt Cloud says 404 of it: its number may be wrong, or the token may lack a permission."""
    good, said = answer({"job_id": JOB}, password=FINANCE)
    assert not good
    assert said.startswith("Connected to account 'Jaffle Shop' (12345)")
    assert "but it sees no job 70403110257794: correct the Default job ID" in said


def test_no_permission_for_the_job(answer: Answer, cloud: Emulator) -> None:
    """A 403 on the job names the permission that it takes."""
    cloud.fail_next(status=403, path="/jobs/")
    good, said = answer({"job_id": JOB})
    assert not good
    assert "but it has no permission for job 70403110257794: in dbt Cloud, give the token one" in said


def test_project_that_the_token_does_not_see(answer: Answer, cloud: Emulator) -> None:
    """The job is what counts: its project is told by its number."""
    cloud.fail_next(status=403, path="/projects/")
    good, said = answer({"job_id": JOB})
    assert (good, said.endswith("in project 10.")) == (True, True)


def test_certificate_that_nobody_knows(connect: Callable[..., None]) -> None:
    """Told with the field that names the authority."""
    with emulator(CONFIG, tls=True) as running:
        connect(host=running.host, login=str(ACCOUNT), password=SERVICE)
        good, said = DbtCloudHook().test_connection()
        assert not good
        assert "certificate of 127.0.0.1" in said
        assert "give the CA bundle" in said
        connect(
            host=running.host, login=str(ACCOUNT), password=SERVICE, extra={"verify": str(running.ca_file)}
        )
        assert DbtCloudHook().test_connection()[0]


def test_proxy_that_is_down(answer: Answer, free_port: int) -> None:
    """Told as the proxy's failure, not dbt Cloud's."""
    proxy = f"http://me:hush@127.0.0.1:{free_port}"
    good, said = answer({"proxies": proxy, "allow_http": True}, host="http://dbt.invalid")
    assert not good
    assert said.startswith("The proxy on the way to dbt.invalid failed")
    assert "hush" not in said


def test_nobody_listens(answer: Answer, free_port: int) -> None:
    """Told with what to check."""
    good, said = answer(host=f"http://127.0.0.1:{free_port}")
    assert not good
    assert f"127.0.0.1:{free_port} could not be reached" in said
    assert "check the host (access URL) and the network" in said


def test_plain_http(answer: Answer) -> None:
    """Refused before anything is sent, with the field that allows it."""
    good, said = answer(host="http://dbt.example.com")
    assert not good
    assert said.startswith("Plain http to dbt.example.com would send the API token unencrypted: use https")
    assert "allow_http" in said


def test_page_instead_of_the_api(answer: Answer, cloud: Emulator) -> None:
    """A host that serves something else is told of as such."""
    cloud.fail_next(status=200, body="<html>Welcome</html>")
    good, said = answer()
    assert not good
    assert "with an HTML page instead of dbt Cloud's JSON: check the host" in said


@pytest.mark.parametrize("status", [429, 502])
def test_dbt_cloud_has_trouble(status: int, answer: Answer, cloud: Emulator) -> None:
    """Asked once, and told that the connection may be right."""
    cloud.fail_next(n=9, status=status)
    good, said = answer()
    assert not good
    assert "may be right all the same: test it again in some minutes." in said
    assert len(cloud.requests) == 1


def test_server_that_never_answers(
    answer: Answer, never_answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out of a request is short, whatever the connection says."""
    monkeypatch.setattr(connection_check, "TIMEOUT", (0.3, 0.3))
    began = time.monotonic()
    good, said = answer({"timeout": 600}, host=never_answers)
    assert not good
    assert "did not answer GET /accounts/12345/ in time" in said
    assert time.monotonic() - began < 3


def test_all_of_it_has_a_limit(answer: Answer, never_answers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request's time-out ends the look-up of a name, or an answer that comes in drops."""
    monkeypatch.setattr(connection_check, "PATIENCE", 0.3)
    began = time.monotonic()
    good, said = answer(host=never_answers)
    assert not good
    assert "has not answered within 0 seconds: check the Access URL, the Proxy, and" in said
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": ""}, "The API token is empty. "),
        ({"login": "Jaffle"}, "The login (Account ID) must be the account's number"),
        ({"host": "two words"}, "The host (Access URL) must look like"),
        ({"extra": {"job_id": "nightly"}}, "Extra 'job_id' must be a whole number, got 'nightly'."),
        ({"login": SERVICE}, "The login (Account ID) holds an API token, which belongs into the password"),
        ({"host": f"https://{SERVICE}"}, "The host (Access URL) holds an API token"),
    ],
)
def test_field_that_is_wrong(fields: dict[str, Any], said: str, answer: Answer) -> None:
    """Told by the field alone: in a test, Airflow makes the connection's name up."""
    good, told = answer(**{"password": "dbtc_another", **fields})
    assert not good
    assert told.startswith(said)
    assert SERVICE not in told


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def never_answers() -> Iterator[str]:
    """The address of a server that takes requests and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
