"""The emulator inside a test: in a thread, on a free port, there in well under a second.

::

    from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


    def test_my_dag():
        with emulator() as emu:
            emu.script_job(emu.job_id, seconds=2, outcome="error")
            ...  # a connection with host=emu.host, login=emu.account_id, password=emu.token
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from airflow_provider_dbtcloud_dlt.emulator import config as configuration
from airflow_provider_dbtcloud_dlt.emulator import payloads
from airflow_provider_dbtcloud_dlt.emulator import tls as certificates
from airflow_provider_dbtcloud_dlt.emulator.clock import Clock, RealClock, VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.faults import Fault, Kind
from airflow_provider_dbtcloud_dlt.emulator.scripted import Outcome, Script
from airflow_provider_dbtcloud_dlt.emulator.served import Lag
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.service import Service
from airflow_provider_dbtcloud_dlt.emulator.store import Selection


class Emulator:
    """A running emulator, as `emulator` yields it.

    Attributes:
        engine: The state behind HTTP.
        clock: Its time: ``clock.advance(seconds)`` moves it forward.
        url: Where it listens, such as ``http://127.0.0.1:40123``.
        ca_file: PEM file of the authority to trust, with ``tls=True``: for ``REQUESTS_CA_BUNDLE`` and
            ``SSL_CERT_FILE``, or a connection's extra ``verify``.
        requests: `(method, path with query)` of each request that arrived.
    """

    def __init__(self, service: Service, url: str, ca_file: Path | None = None) -> None:
        self.engine = service.engine
        self.clock: Clock = service.engine.clock
        self.url = url
        self.ca_file = ca_file
        self._service = service

    @property
    def host(self) -> str:
        """What goes into an Airflow connection as its host."""
        return self.url

    @property
    def account_id(self) -> int:
        """The account that is served."""
        return self.engine.config.account.id

    @property
    def token(self) -> str:
        """The token that opens it, as it is now."""
        return self._service.keyring.secret

    @property
    def job_id(self) -> int:
        """The first job."""
        return self.engine.config.jobs[0].id

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables from which dlt takes its credentials for dbt Cloud."""
        return {
            "DBT_CLOUD__API_TOKEN": self.token,
            "DBT_CLOUD__ACCOUNT_ID": str(self.account_id),
            "DBT_CLOUD__JOB_ID": str(self.job_id),
            "DBT_CLOUD__BASE_API_URL": f"{self.url}/api",
        }

    def airflow_connection(self, **extra: Any) -> str:
        """Return an Airflow connection that leads here, as JSON for a variable ``AIRFLOW_CONN_…``.

        Args:
            **extra: Fields of its extra, such as `job_id`.
        """
        fields = {"host": self.host, "login": str(self.account_id), "password": self.token, "extra": extra}
        return json.dumps({"conn_type": "dbt_cloud_dlt", **fields})

    @property
    def requests(self) -> list[tuple[str, str]]:
        """What was asked so far; clear it to count from here."""
        return self._service.wire.requests

    @property
    def connections(self) -> int:
        """How many connections clients have made."""
        return self._service.wire.connections

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs as the API shows them, oldest first, with trigger and job."""
        runs, _ = self.engine.runs(Selection(limit=-1))
        return [payloads.run(one, self.engine, self.url, {"trigger", "job"}) for one in runs]

    def trigger(self, job_id: int | None = None, cause: str = "A test", **fields: Any) -> int:
        """Start a run as somebody else would, and return its id.

        Args:
            job_id: The job; the first one if left out.
            cause: Why.
            **fields: More fields of the trigger's body.
        """
        run = self.engine.trigger(self.job_id if job_id is None else job_id, {"cause": cause, **fields})
        self.engine.settle()
        return run.id

    def deliver_webhooks(self, timeout: float = 30.0) -> None:
        """Wait until all events that are due by the emulator's clock have arrived, or were given up.

        Raises:
            TimeoutError: If that takes more than so many seconds.
        """
        self.engine.settle()
        self.engine.webhooks.flush(timeout)

    def script_job(
        self,
        job_id: int,
        seconds: float = 0.0,
        outcome: Outcome = "success",
        *,
        starting_seconds: float = 0.0,
        concurrent: bool = True,
        steps: Iterable[tuple[str, Outcome, str]] = (),
        artifacts: Mapping[str, str] | None = None,
        message: str | None = None,
    ) -> None:
        """Make the future runs of a job pretend: no dbt, no process, no thread.

        Args:
            job_id: The job.
            seconds: How long a run is running; with 0 it has ended when it is first looked at.
            outcome: How it ends.
            starting_seconds: How long it is starting before it runs.
            concurrent: Whether it neither waits for a run slot nor for another run of its job.
            steps: `(name, outcome, log)` of its steps, such as
                ``("Invoke dbt with `dbt build`", "error", "Database Error in model x")``; a step that ends
                as an error makes the run an error. The job's own steps if left out.
            artifacts: Path → text of the files that it leaves.
            message: Its `status_message` at the end.
        """
        told = tuple((name, end, log) for name, end, log in steps)
        kept = dict(artifacts or {})
        script = Script(seconds, outcome, starting_seconds, concurrent, told, kept, message)
        self.engine.set_script(job_id, script)

    def fail_next(
        self,
        n: int = 1,
        status: int = 502,
        path: str | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next requests with an error instead of serving them.

        Args:
            n: How many requests.
            status: The answer's status.
            path: Regular expression that is searched for in ``METHOD /path?query``; None for every request.
            body: The answer's body; a proxy's HTML page if left out.
            headers: The answer's headers, such as ``{"Retry-After": "1"}``.
        """
        self.inject("status", times=n, status=status, path=path, body=body, headers=headers or {})

    def drop_next(self, n: int = 1, path: str | None = None, *, after_effect: bool = False) -> None:
        """Cut the connection of the next requests without an answer.

        Args:
            n: How many requests.
            path: Regular expression that is searched for in ``METHOD /path?query``; None for every request.
            after_effect: Carry the request out first: a lost answer.
        """
        self.inject("lose_answer" if after_effect else "drop", times=n, path=path)

    def inject(self, kind: Kind, **fields: Any) -> int:
        """Put a fault to work, after those that are there.

        Args:
            kind: What happens; `faults.Fault` has the list.
            **fields: Whom it hits (`endpoint`, `path`, `times`, `probability`), and what the kind takes
                (`status`, `retry_after`, `body`, `headers`, `seconds`).

        Returns:
            Its number, for `hits` and `remove_fault`.

        Raises:
            ValueError: If it makes no sense; the message says why.
        """
        return self._service.faults.add(Fault(kind=kind, **fields))

    def hits(self, fault_id: int) -> int:
        """Return how many requests a fault has hit."""
        return next((one.hits for one in self._service.faults.all() if one.id == fault_id), 0)

    def remove_fault(self, fault_id: int) -> None:
        """Take a fault away."""
        self._service.faults.remove(fault_id)

    def clear_faults(self) -> None:
        """Take all faults away."""
        self._service.faults.clear()

    def rotate_token(self, token: str) -> None:
        """Replace the account's token: from now on the old one is refused."""
        self._service.keyring.replace(token)

    def expire_token(self, seconds: float = 0.0) -> None:
        """Let the account's token expire after so many seconds of the emulator's clock."""
        self._service.keyring.expire(seconds)


@contextmanager
def emulator(
    config: Mapping[str, Any] | Path | str | None = None,
    state_dir: Path | str | None = None,
    clock: Literal["real", "virtual"] | VirtualClock = "real",
    port: int = 0,
    *,
    tls: bool = False,
    lag: float | None = None,
    seed: int | None = None,
) -> Iterator[Emulator]:
    """Run an emulator for as long as the context lasts.

    Args:
        config: What to serve: the YAML file's path or its content; one account with one scripted job if
            left out.
        state_dir: Where the state is kept; a folder that is removed at the end if left out.
        clock: ``"virtual"`` for time that moves by `clock.advance` only; ``"real"`` time can also be moved.
        port: The port; a free one if left out.
        tls: Speak https, with a certificate made on the spot.
        lag: Seconds from a run's end until its artifacts, and from a step's end until its log are there; as
            the configuration says, or else 2, if left out.
        seed: Makes the chance of faults the same again, in place of the configuration's.

    Yields:
        The emulator.

    Raises:
        ConfigError: If `config` says something that cannot be served.
    """
    if config is None:
        served = configuration.parse(configuration.example(), Path.cwd())
    elif isinstance(config, str | Path):
        served = configuration.load(Path(config))
    else:
        served = configuration.parse(dict(config), Path.cwd())
    if lag is not None:
        served = replace(served, lag=Lag(lag, lag))
    if seed is not None:
        served = replace(served, seed=seed)
    time_ = {"real": RealClock, "virtual": VirtualClock}[clock]() if isinstance(clock, str) else clock
    with tempfile.TemporaryDirectory(prefix="dbt-cloud-emulator-") as folder:
        state = Path(state_dir or folder)
        service = Service(served, state, time_, record=True)
        try:
            certificate = certificates.made(state / "tls") if tls else None
            with Server(service.wire, port=port, certificate=certificate) as server:
                yield Emulator(service, server.url, None if certificate is None else certificate.ca)
        finally:
            service.close()
