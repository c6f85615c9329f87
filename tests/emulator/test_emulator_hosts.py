"""Under which names the pages are shown."""

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator import __main__ as emulator_command
from airflow_provider_dbtcloud_dlt.emulator.__main__ import main
from airflow_provider_dbtcloud_dlt.emulator.config import example, parse
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.service import Service


@pytest.fixture
def ask(tmp_path):
    """Ask an emulator under a name."""
    services = []

    def status(host, path="/", **options):
        services.append(Service(parse(example(), tmp_path), tmp_path, **options))
        with Server(services[0].wire) as server:
            answer = requests.get(server.url + path, headers={"Host": host}, timeout=5)
        return answer.status_code, answer.text

    yield status
    for one in services:
        one.close()


@pytest.mark.parametrize("path", ["/", "/deploy/1/projects/10/runs/5/steps/1/output.log", "/nowhere"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8580", "localhost.evil.example", "10.0.0.1", "[", ""]
)
def test_pages_are_not_shown_under_a_name_that_is_not_the_emulators(ask, host, path):
    """A web page whose name leads to this machine reads nothing."""
    code, text = ask(host, path)

    assert code == 421
    assert "open it as localhost" in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8580", "127.0.0.1:8580", "127.1.2.3", "[::1]:8580"])
def test_pages_are_shown_under_this_machines_own_names(ask, host):
    """With or without a port, in letters of any size."""
    assert ask(host)[0] == 200


def test_pages_are_shown_under_names_that_were_told(ask):
    """Those of the command line."""
    assert ask("dbt.example:443", hosts={"DBT.example"})[0] == 200


def test_pages_are_shown_under_any_name_where_other_machines_reach_them(ask):
    """Nobody knows which they use."""
    assert ask("anything.example", hosts=None)[0] == 200


@pytest.mark.parametrize("path", ["/api/v2/accounts/1/", "/emulator/faults"])
def test_what_needs_a_token_does_not_look_at_the_name(ask, path):
    """Clients may reach it by whatever leads there."""
    assert ask("anything.example", path)[0] == 401


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ([], {"127.0.0.1"}),
        (["--host", "localhost", "--public-url", "https://dbt.example/x"], {"localhost", "dbt.example"}),
        (["--host", "0.0.0.0"], None),
    ],
)
def test_the_command_line_tells_the_names(tmp_path, mocker, options, hosts):
    """None, any name, if it listens on another interface than loopback."""
    (tmp_path / "e.yaml").write_text(
        "account: {token: t}\nprojects: [{name: P}]\nenvironments: [{name: E}]\n"
        "jobs: [{name: J, steps: [dbt build], script: {seconds: 1}}]\n"
    )
    made = mocker.patch.object(emulator_command, "Service")
    mocker.patch.object(emulator_command, "Server")
    mocker.patch.object(emulator_command.signal, "signal")
    code = main(["--config", str(tmp_path / "e.yaml"), "--state", str(tmp_path / "state"), *options])

    assert (code, made.call_args.kwargs["hosts"]) == (0, hosts)
