"""What only a real socket shows: broken connections, names, certificates, proxies, truncated files."""

import datetime
import ipaddress
import re
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidRequestError,
    UnreachableError,
)

RUN = b'{"data": {"id": 5, "status": 1}}'


def _ok(body: bytes = RUN, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


class WireServer:
    """Answers raw bytes in turn; an empty answer closes the connection. The last one is repeated."""

    def __init__(self, answers: list[bytes], context: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = answers
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            while data := connection.recv(65536):
                self.requests.append(data)
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                connection.sendall(answer)
                if not answer or b"Content-Length: 999" in answer:
                    return
        except OSError:
            return
        finally:
            connection.close()


Serve = Callable[..., WireServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[WireServer] = []

    def start(*answers: bytes, context: ssl.SSLContext | None = None) -> WireServer:
        started.append(WireServer(list(answers), context))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]  # type: ignore[no-any-return]


@pytest.fixture
def client_of(time: Any, token: str) -> Callable[..., DBTCloudClientV2]:
    def make(port: int, scheme: str = "http", host: str = "127.0.0.1", **options: Any) -> DBTCloudClientV2:
        options = {"retry_budget": 5, "sleep": time.sleep, "allow_http": True, **options}
        return DBTCloudClientV2(token, 7, f"{scheme}://{host}:{port}/api", **options)

    return make


ClientOf = Callable[..., DBTCloudClientV2]


def test_connection_is_reused(serve: Serve, client_of: ClientOf) -> None:
    """Two requests, one connection."""
    server = serve(_ok())
    client = client_of(server.port)
    client.get_run(5)
    client.get_run(5)
    assert (len(server.requests), server.connections) == (2, 1)


def test_read_outlives_a_dropped_connection(serve: Serve, client_of: ClientOf) -> None:
    """It is asked again."""
    server = serve(b"", _ok())
    assert client_of(server.port).get_run(5).id == 5


def test_dropped_post_is_not_sent_again(serve: Serve, client_of: ClientOf) -> None:
    """It had arrived: its run may have been started."""
    server = serve(b"")
    with pytest.raises(
        UnreachableError, match="could not be reached for POST /accounts/7/jobs/3/run/"
    ) as raised:
        client_of(server.port).start_run(3)
    assert (raised.value.sent, len(server.requests)) == (True, 1)


def test_refused_connection_is_not_sent(client_of: ClientOf, free_port: int) -> None:
    """The sentence says what to check."""
    with pytest.raises(UnreachableError, match=r"\(.*Connection refused\): check the host") as raised:
        client_of(free_port).start_run(3)
    assert not raised.value.sent


def test_post_is_repeated_after_a_refused_connection(client_of: ClientOf, free_port: int, time: Any) -> None:
    """It surely had no effect."""
    with pytest.raises(UnreachableError):
        client_of(free_port).start_run(3)
    assert time.slept


def test_unknown_host_is_explained(client_of: ClientOf) -> None:
    """No name, no request; a mistyped host is the usual reason."""
    with pytest.raises(
        UnreachableError, match=r"^dbt-cloud\.invalid.* could not be reached .*check the host"
    ) as r:
        client_of(443, "https", "dbt-cloud.invalid", retry_budget=0).get_run(5)
    assert not r.value.sent


def test_read_time_out_is_explained(serve: Serve, client_of: ClientOf) -> None:
    """With how long was waited."""
    silent = socket.create_server(("127.0.0.1", 0))
    with (
        silent,
        pytest.raises(UnreachableError, match=r"did not answer GET .* in time \(time-out: 0.05 s\)") as r,
    ):
        client_of(silent.getsockname()[1], timeout=0.05, retry_budget=0).get_run(5)
    assert r.value.sent


def test_redirect_reaches_no_other_host(serve: Serve, client_of: ClientOf) -> None:
    """The token stays with the host that it was given for."""
    other = serve(_ok())
    moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(Exception, match="redirect"):
        client_of(serve(moved.encode()).port).get_run(5)
    assert other.connections == 0


# --- files --------------------------------------------------------------------------------------------------


def test_truncated_download_leaves_no_file(serve: Serve, client_of: ClientOf, tmp_path: Path) -> None:
    """Half an artifact looks like a whole one to whoever reads it."""
    server = serve(_ok(b"half", length=999))
    with pytest.raises(UnreachableError):
        client_of(server.port).download_artifact(5, "manifest.json", tmp_path / "m.json")
    assert list(tmp_path.iterdir()) == []


def test_truncated_download_is_repeated(serve: Serve, client_of: ClientOf, tmp_path: Path) -> None:
    """From its beginning."""
    server = serve(_ok(b"half", length=999), _ok(b"whole"))
    client_of(server.port).download_artifact(5, "manifest.json", tmp_path / "m.json")
    assert (tmp_path / "m.json").read_bytes() == b"whole"


def test_truncated_answer_of_a_post_counts_as_sent(serve: Serve, client_of: ClientOf) -> None:
    """The run was started; only its id was lost."""
    server = serve(_ok(RUN[:5], length=999))
    with pytest.raises(UnreachableError) as raised:
        client_of(server.port).start_run(3)
    assert (raised.value.sent, len(server.requests)) == (True, 1)


# --- certificates -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_self_signed_certificate_is_explained(serve: Serve, client_of: ClientOf, tls: ssl.SSLContext) -> None:
    """What to do stands in the sentence; nothing was sent, and asking again is useless."""
    server = serve(_ok(), context=tls)
    with pytest.raises(
        UnreachableError, match=r"certificate of .* could not be verified \(.*self.signed"
    ) as r:
        client_of(server.port, "https").start_run(3)
    assert "give the CA bundle that signed it (verify)" in str(r.value)
    assert (r.value.sent, r.value.passing, server.requests) == (False, False, [])


def test_certificate_is_verified_with_a_given_bundle(
    serve: Serve, client_of: ClientOf, tls: ssl.SSLContext, certificate: Path
) -> None:
    """The company's own CA."""
    server = serve(_ok(), context=tls)
    assert client_of(server.port, "https", verify=str(certificate)).get_run(5).id == 5


def test_server_without_tls_is_no_certificate_problem(serve: Serve, client_of: ClientOf) -> None:
    """Such a failure may pass (a server that restarts), and is told as what it is."""
    server = serve(b"nonsense\r\n")
    with pytest.raises(UnreachableError, match="could not be reached") as raised:
        client_of(server.port, "https", retry_budget=0).get_run(5)
    assert raised.value.passing


# --- proxies ------------------------------------------------------------------------------------------------


def test_proxy_is_used(serve: Serve, client_of: ClientOf) -> None:
    """The connection's `proxies`."""
    proxy = serve(_ok())
    client = client_of(80, "http", "dbt.invalid", proxies={"http": f"http://127.0.0.1:{proxy.port}"})
    assert client.get_run(5).id == 5
    assert proxy.requests[0].startswith(b"GET http://dbt.invalid:80/api/v2/accounts/7/runs/5/ ")


def test_post_that_a_proxy_dropped_is_not_sent_again(serve: Serve, client_of: ClientOf) -> None:
    """The proxy may have passed it on before it broke off; requests calls that a proxy error as well."""
    proxy = serve(b"")
    client = client_of(80, "http", "dbt.invalid", proxies={"http": f"http://127.0.0.1:{proxy.port}"})
    with pytest.raises(UnreachableError, match=r"proxy on the way to dbt\.invalid:80 failed") as raised:
        client.start_run(3)
    assert (raised.value.sent, len(proxy.requests)) == (True, 1)


def test_proxy_that_is_down_sends_nothing(client_of: ClientOf, free_port: int) -> None:
    """The sentence names the setting."""
    client = client_of(443, "https", "dbt.invalid", proxies={"https": f"http://127.0.0.1:{free_port}"})
    with pytest.raises(
        UnreachableError, match=r"Connection refused.*check proxies, or.*HTTPS_PROXY"
    ) as raised:
        client.start_run(3)
    assert not raised.value.sent


def test_proxy_that_refuses_the_tunnel_sends_nothing(serve: Serve, client_of: ClientOf) -> None:
    """It wants a password, say."""
    proxy = serve(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    client = client_of(443, "https", "dbt.invalid", proxies={"https": f"http://127.0.0.1:{proxy.port}"})
    with pytest.raises(UnreachableError, match="407 Proxy Authentication Required") as raised:
        client.start_run(3)
    assert not raised.value.sent


def test_malformed_proxy_is_refused_with_the_client(client_of: ClientOf) -> None:
    """Before the first request, which would show a part of the password or end in a TypeError."""
    with pytest.raises(InvalidRequestError, match=r"^proxies "):
        client_of(443, "https", "dbt.invalid", proxies={"https": "http://me:hunter#2@127.0.0.1:1"})


def test_malformed_proxy_of_the_environment_is_refused(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests would take it all the same."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@")
    with pytest.raises(InvalidRequestError, match="HTTPS_PROXY"):
        client_of(443, "https", "dbt.invalid")


def test_malformed_proxy_that_is_not_used_does_not_matter(
    serve: Serve, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NO_PROXY` says so, or it is for another scheme."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = client_of(serve(_ok()).port, proxies={"https": "http://me:hunter2@", "no_proxy": "127.0.0.1"})
    assert client.get_run(5).id == 5


def test_proxy_that_only_requests_refuses_is_not_shown(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that came into the environment later: no word of the libraries below is passed on."""
    client = client_of(443, "https", "dbt.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter#2@127.0.0.1:1")
    with pytest.raises(
        InvalidRequestError, match=r"^The address of dbt\.invalid.*check.*HTTPS_PROXY"
    ) as refusal:
        client.get_run(5)
    assert "hunter" not in "".join(traceback.format_exception(refusal.value))


@given(
    st.text(st.sampled_from("#/?@:[]%\\&;=+~^|{}<>`'\" aé0")).map(lambda odd: f"hun{odd}ter2"),
    st.sampled_from(["http://", "https://", ""]),
    st.sampled_from(["127.0.0.1:1", "127.0.0.1:1/", "[::1]:1", ""]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it only makes clients
def test_no_proxys_password_gets_into_an_error(
    client_of: ClientOf, password: str, scheme: str, host: str
) -> None:
    """Whatever characters it has, and wherever the address is refused."""
    with pytest.raises(DbtCloudError) as failure:
        client_of(
            443, "https", "dbt.invalid", proxies={"https": f"{scheme}me:{password}@{host}"}, retry_budget=0
        ).get_run(5)
    assert not re.search("hun|ter2", "".join(traceback.format_exception_only(failure.value)))


def test_missing_bundle_of_the_environment_is_named(
    serve: Serve, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`REQUESTS_CA_BUNDLE` is somebody's setting, too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/ca.pem")
    with pytest.raises(InvalidRequestError, match=r"/no/ca\.pem \(set by verify, or by .*REQUESTS_CA_BUNDLE"):
        client_of(1, "https").get_run(5)
