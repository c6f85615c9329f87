"""The emulator of dbt Cloud as a process on this machine, for the demo, the tests and the benches."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from processes import Service, Startable, isolated_environment, stop, wait_for_file

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2

START_SECONDS = 60.0
NO_PROXY = {"http": "", "https": ""}  # it is on this machine


class EmulatorAPI:
    """An emulator that runs: a client of its API, and what only an emulator can do, as ``admin``.

    Args:
        url: its address.
        token: the account's API token.
        account_id: the account.
        verify: the certificate of the authority that signs for it, if it is its own.
    """

    def __init__(self, url: str, token: str, account_id: int, *, verify: str | bool = True) -> None:
        self._url = url
        self._token = token
        self._verify = verify
        self.client = DBTCloudClientV2(token, account_id, f"{url}/api", proxies=NO_PROXY, verify=verify)

    def admin(self, method: str, path: str, /, **body: Any) -> Any:
        """Make a request below ``/emulator/``: faults, clock, token."""
        answer = requests.request(
            method,
            f"{self._url}/emulator/{path}",
            json=body or None,
            headers={"Authorization": f"Token {self._token}"},
            proxies=NO_PROXY,
            verify=self._verify,
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


class LocalEmulator(Startable):
    """The emulator's process, with what `EmulatorAPI` has.

    Use it as a context manager, or call ``start`` and ``stop``. After a ``kill`` it starts again on the same
    port, with the runs that it had.

    Attributes:
        token: the account's API token, random.
        url: the address, which shows its runs in a browser; known once it has started.
        client: a client of its API.

    Args:
        folder: takes its state and its log.
        config: its configuration; its token must come from ``DBT_EMULATOR_TOKEN``.
        account_id: the configuration's account.
        env: further environment variables.
        tls: speak https; who shall trust it needs ``trust`` in the environment.
        quiet: log no line for each run that ends.
    """

    url: str
    _api: EmulatorAPI

    def __init__(
        self,
        folder: Path,
        config: Path,
        account_id: int,
        *,
        env: Mapping[str, str] | None = None,
        tls: bool = False,
        quiet: bool = False,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.account_id = account_id
        self._folder = folder
        self._config = config
        self._env = dict(env or {})
        self._tls = tls
        self._quiet = quiet
        self._port = "0"
        self._service: Service | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        port_file = self.state / "port"
        port_file.parent.mkdir(parents=True, exist_ok=True)
        port_file.unlink(missing_ok=True)
        module = "airflow_provider_dbtcloud_dlt.emulator"
        self._service = Service(
            "emulator",
            [sys.executable, "-m", module, "--config", str(self._config), "--state", str(self.state)]
            + ["--host", "127.0.0.1", "--port", self._port, "--port-file", str(port_file)]
            + ["--tls"] * self._tls
            + ["--quiet"] * self._quiet,
            env=isolated_environment(self._folder) | {**self._env, "DBT_EMULATOR_TOKEN": self.token},
            log=self._folder / "logs" / "emulator.log",
            cwd=self._folder,
        )
        self._port = wait_for_file(port_file, self._service, START_SECONDS)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"
        self._connect()

    @property
    def client(self) -> DBTCloudClientV2:
        return self._api.client

    @property
    def state(self) -> Path:
        """Where it keeps its runs."""
        return self._folder / "emulator"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that signs for it, with `tls`: there once it has started."""
        return self.state / "tls" / "ca.pem"

    @property
    def trust(self) -> dict[str, str]:
        """Environment variables of whoever shall trust its certificate."""
        return {name: str(self.authority) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}

    def check(self) -> None:
        """Raise ServiceError if its process has ended."""
        if self._service is not None:
            self._service.check()

    def kill(self) -> None:
        """End it as a machine that fails would."""
        if self._service is not None:
            self._service.kill()
            self._service = None

    def stop(self) -> None:
        """Stop it; harmless when it does not run."""
        if self._service is not None:
            stop([self._service])
            self._service = None

    def rotate_token(self) -> None:
        """Give the account another token; the present one is refused from now on."""
        token = secrets.token_urlsafe(24)
        self.admin("POST", "token", token=token)
        self.token = token
        self._connect()

    def _connect(self) -> None:
        verify = str(self.authority) if self._tls else True
        self._api = EmulatorAPI(self.url, self.token, self.account_id, verify=verify)

    def admin(self, method: str, path: str, /, **body: Any) -> Any:
        """Make a request below ``/emulator/``: faults, clock, token."""
        return self._api.admin(method, path, **body)
