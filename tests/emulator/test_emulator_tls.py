"""The emulator over https."""

import ssl
import stat

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator import tls
from airflow_provider_dbtcloud_dlt.emulator.__main__ import main
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire


@pytest.fixture(scope="module")
def secure():
    """An emulator that speaks https only."""
    with emulator(tls=True) as running:
        yield running


def ask(emu, **options):
    headers = {"Authorization": f"Token {emu.token}"}
    return requests.get(f"{emu.url}/api/v2/accounts/{emu.account_id}/", headers=headers, timeout=5, **options)


def test_a_client_that_trusts_the_authority_gets_an_answer(secure):
    """`ca_file` is all that a client needs to verify the server."""
    assert secure.url.startswith("https://")
    assert ask(secure, verify=str(secure.ca_file)).status_code == 200


def test_a_client_that_does_not_trust_the_authority_refuses(secure):
    """The certificate is not one that everybody trusts."""
    with pytest.raises(requests.exceptions.SSLError):
        ask(secure, verify=True)


def test_a_connection_can_be_dropped_over_https(secure):
    """A fault cuts the encrypted connection as well."""
    secure.drop_next(1)
    with pytest.raises(requests.exceptions.ConnectionError):
        ask(secure, verify=str(secure.ca_file))


def test_the_key_is_for_its_owner_alone(tmp_path):
    """Nobody else on the machine can pretend to be the emulator."""
    made = tls.made(tmp_path / "tls")

    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.key, tmp_path / "tls")] == [0o600, 0o700]


def test_a_certificate_is_kept_for_the_next_start(tmp_path):
    """Clients are told of the authority once."""
    first = tls.made(tmp_path).ca.read_text()

    assert tls.made(tmp_path).ca.read_text() == first


@pytest.mark.parametrize("damage", ["another host", "no key", "an empty certificate"])
def test_a_certificate_that_does_not_serve_is_made_anew(tmp_path, damage):
    """A new name, or files that somebody removed, do not stop the emulator from starting."""
    made = tls.made(tmp_path)
    before = made.ca.read_text()
    if damage == "no key":
        made.key.unlink()
    if damage == "an empty certificate":
        made.chain.write_text("")

    again = tls.made(tmp_path, ["dbt.example"] if damage == "another host" else [])

    assert again.ca.read_text() != before
    ssl.create_default_context().load_cert_chain(again.chain, again.key)


@pytest.mark.parametrize("name", ["my_machine", "a" * 64, ""])
def test_a_machine_whose_name_no_certificate_can_hold_is_served(tmp_path, mocker, name):
    """Nobody asked for that name: the others are enough, and stay so at the next start."""
    mocker.patch.object(tls.socket, "gethostname", return_value=name)
    first = tls.made(tmp_path).ca.read_text()

    assert tls.made(tmp_path).ca.read_text() == first


def test_a_certificate_for_a_name_in_another_script_is_kept(tmp_path):
    """It stands in the certificate in its ASCII form, and is recognised in it."""
    first = tls.made(tmp_path, ["bücher.example"]).ca.read_text()

    assert tls.made(tmp_path, ["bücher.example"]).ca.read_text() == first


def test_a_certificate_of_ones_own_is_used(tmp_path):
    """What `--tls-cert` and `--tls-key` name is what clients see."""
    made = tls.made(tmp_path)
    with Server(Wire(None), certificate=tls.own(made.chain, made.key)) as server:
        shown = ssl.get_server_certificate(("127.0.0.1", server.port))

    assert shown.strip() in made.chain.read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tls-cert", "none.pem", "--tls-key", "none.key"], "none.pem or none.key cannot be read"),
        (["--tls-cert", "{folder}/e.yaml", "--tls-key", "{folder}/e.yaml"], "are no certificate and key"),
        (["--tls-cert", "none.pem"], "--tls-cert and --tls-key belong together"),
        (["--tls", "--host", "my_machine"], "No certificate can be made for the host 'my_machine'"),
        (["--tls", "--public-url", f"https://{'a' * 64}.example"], "Label too long"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_in_a_sentence(tmp_path, capsys, options, told):
    """The mistake is told before anything is served."""
    (tmp_path / "e.yaml").write_text(
        "account: {token: t}\nprojects: [{name: P}]\nenvironments: [{name: E}]\n"
        "jobs: [{name: J, steps: [dbt build], script: {seconds: 1}}]\n"
    )
    arguments = ["--config", str(tmp_path / "e.yaml"), "--state", str(tmp_path / "state"), "--port", "0"]

    assert main([*arguments, *(option.format(folder=tmp_path) for option in options)]) == 2
    assert told in capsys.readouterr().err
