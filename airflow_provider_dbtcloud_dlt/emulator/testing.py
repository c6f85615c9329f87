"""The emulator inside a test: in a thread, on a free port, there in well under a second.

::

    from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


    def test_my_dag():
        with emulator() as emu:
            emu.script_job(emu.job_id, seconds=2, outcome="error")
            ...  # a connection with host=emu.host, login=emu.account_id, password=emu.token
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from airflow_provider_dbtcloud_dlt.emulator import config as configuration
from airflow_provider_dbtcloud_dlt.emulator import payloads
from airflow_provider_dbtcloud_dlt.emulator import tls as certificates
from airflow_provider_dbtcloud_dlt.emulator.api import create_app
from airflow_provider_dbtcloud_dlt.emulator.clock import RealClock, VirtualClock
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.scripted import Outcome, Script
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.store import Selection
from airflow_provider_dbtcloud_dlt.emulator.wire import HTML_502, Fault, Wire


class Emulator:
    """A running emulator, as `emulator` yields it.

    Attributes:
        engine: The state behind HTTP.
        clock: Its time; a `VirtualClock` has `advance(seconds)`.
        url: Where it listens, such as ``http://127.0.0.1:40123``.
        ca_file: PEM file of the authority to trust, with ``tls=True``: for ``REQUESTS_CA_BUNDLE`` and
            ``SSL_CERT_FILE``, or a connection's extra ``verify``.
        requests: `(method, path with query)` of each request that arrived.
    """

    def __init__(self, engine: Engine, wire: Wire, url: str, ca_file: Path | None = None) -> None:
        self.engine = engine
        self.clock: Any = engine.clock
        self.url = url
        self.ca_file = ca_file
        self._wire = wire

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
        """The token that opens it."""
        return self.engine.config.account.token

    @property
    def job_id(self) -> int:
        """The first job."""
        return self.engine.config.jobs[0].id

    @property
    def requests(self) -> list[tuple[str, str]]:
        """What was asked so far; clear it to count from here."""
        return self._wire.requests

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
        content = (HTML_502 if body is None else body).encode()
        self._wire.faults.append(Fault(n, path, status, content, dict(headers or {})))

    def drop_next(self, n: int = 1, path: str | None = None, *, after_effect: bool = False) -> None:
        """Cut the connection of the next requests without an answer.

        Args:
            n: How many requests.
            path: Regular expression that is searched for in ``METHOD /path?query``; None for every request.
            after_effect: Carry the request out first: a lost answer.
        """
        self._wire.faults.append(Fault(n, path, None, after_effect=after_effect))


@contextmanager
def emulator(
    config: Mapping[str, Any] | Path | str | None = None,
    state_dir: Path | str | None = None,
    clock: Literal["real", "virtual"] | VirtualClock = "real",
    port: int = 0,
    *,
    tls: bool = False,
) -> Iterator[Emulator]:
    """Run an emulator for as long as the context lasts.

    Args:
        config: What to serve: the YAML file's path or its content; one account with one scripted job if
            left out.
        state_dir: Where the state is kept; a folder that is removed at the end if left out.
        clock: ``"virtual"`` for time that moves by `clock.advance` only.
        port: The port; a free one if left out.
        tls: Speak https, with a certificate made on the spot.

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
    time_ = {"real": RealClock, "virtual": VirtualClock}[clock]() if isinstance(clock, str) else clock
    with tempfile.TemporaryDirectory(prefix="dbt-cloud-emulator-") as folder:
        state = Path(state_dir or folder)
        engine = Engine(served, state, time_)
        try:
            certificate = certificates.made(state / "tls") if tls else None
            wire = Wire(create_app(engine), record=True)
            with Server(wire, port=port, certificate=certificate) as server:
                yield Emulator(engine, wire, server.url, None if certificate is None else certificate.ca)
        finally:
            engine.close()
