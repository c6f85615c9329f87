"""The command line: ``python -m airflow_provider_dbtcloud_dlt.emulator --config emulator.yaml``."""

import argparse
import contextlib
import inspect
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape

from airflow_provider_dbtcloud_dlt.emulator import admin, payloads, private, project, times, tls
from airflow_provider_dbtcloud_dlt.emulator import config as configuration
from airflow_provider_dbtcloud_dlt.emulator.api.app import ENDPOINTS
from airflow_provider_dbtcloud_dlt.emulator.faults import Fault
from airflow_provider_dbtcloud_dlt.emulator.history import History
from airflow_provider_dbtcloud_dlt.emulator.hosts import is_loopback
from airflow_provider_dbtcloud_dlt.emulator.served import Config, Lag
from airflow_provider_dbtcloud_dlt.emulator.server import Server
from airflow_provider_dbtcloud_dlt.emulator.service import Service
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Status, StoreInUseError

COLORS = {Status.SUCCESS: "green", Status.ERROR: "red", Status.CANCELLED: "yellow"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_dbtcloud_dlt.emulator",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Serve the dbt Cloud API v2 on this machine and run jobs with real dbt-core.\n\n"
            "Open the address that it prints in a browser for runs, steps and logs; clients use the same\n"
            "address as their host, with the account's id and the token of the configuration."
        ),
        epilog=_epilog(),
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, metavar="FILE", help="what to serve (YAML; see below)")
    what.add_argument(
        "--project",
        type=Path,
        metavar="DIR",
        help="serve this dbt project as it is: account 1 with one job, 1000, that runs `dbt build`; the "
        "profile is looked for where dbt does, and the token is made at the first start",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".dbt-cloud-emulator"),
        metavar="DIR",
        help="where runs, logs and artifacts are kept; they survive a restart (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen (default: %(default)s, this machine only; run pages need no token)",
    )
    parser.add_argument(
        "--port", type=int, default=8580, help="which port; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--port-file",
        type=Path,
        metavar="FILE",
        help="write the port into this file as soon as it can be used",
    )
    parser.add_argument(
        "--public-url",
        metavar="URL",
        help="where browsers reach the emulator, for links to runs (default: whatever the client used)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no line for each run that ends")
    parser.add_argument(
        "--lag",
        type=_seconds,
        metavar="SECONDS",
        help="how long after a run's and a step's end artifacts and logs are there (default: as configured)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="make the chance of faults the same again (default: as configured)",
    )
    secure = parser.add_argument_group("https", "for clients that speak nothing else")
    secure.add_argument(
        "--tls",
        action="store_true",
        help="speak https, with a certificate that is made at the first start and kept with the state; "
        "clients have to trust the authority whose file is printed (REQUESTS_CA_BUNDLE, SSL_CERT_FILE)",
    )
    secure.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="speak https with this certificate (PEM, with its chain)",
    )
    secure.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's private key (PEM)")
    return parser


def _epilog() -> str:
    """Return what the options alone do not tell."""
    _, _, faults = inspect.cleandoc(Fault.__doc__ or "").partition("Attributes:\n")
    names = textwrap.fill(", ".join(sorted(ENDPOINTS)), 96, initial_indent="    ", subsequent_indent="    ")
    parts = {
        "the configuration file": inspect.cleandoc(configuration.__doc__ or ""),
        "faults, in the file or by request": faults,
        "endpoints of the API, as faults name them": names,
        "requests to the emulator itself": inspect.cleandoc(admin.__doc__ or ""),
    }
    return "\n\n".join(f"{title}:\n\n{text}" for title, text in parts.items())


def _seconds(text: str) -> float:
    """Return a number of seconds from the command line."""
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"a number of seconds from 0 is expected, not {text!r}")


def _config(options: argparse.Namespace) -> Config:
    """Return what the options say is to be served."""
    if options.project is not None:
        config = project.served(options.project, project.kept_token(options.state))
    else:
        config = configuration.load(options.config)
    if any(job.script is None for job in config.jobs) and find_spec("dbt") is None:
        raise configuration.ConfigError(
            "a job runs dbt, which is not installed: pip install "
            "'airflow-provider-dbtcloud-dlt[emulator]' and dbt's adapter for your database"
        )
    if options.lag is not None:
        config = replace(config, lag=Lag(options.lag, options.lag))
    return config if options.seed is None else replace(config, seed=options.seed)


def _certificate(options: argparse.Namespace) -> tls.Certificate | None:
    """Return the certificate that the options ask for, if any."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise tls.CertificateError("--tls-cert and --tls-key belong together: give both or neither")
    if options.tls_cert is not None:
        return tls.own(options.tls_cert, options.tls_key)
    if not options.tls:
        return None
    return tls.made(options.state / "tls", _names(options))


def _names(options: argparse.Namespace) -> set[str]:
    """Return the names under which it is reached, as far as the options tell them."""
    return {options.host, urlsplit(options.public_url or "").hostname or ""} - {""}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Args:
        arguments: The command line without the program's name; that of the process if left out.

    Returns:
        The exit status: 0 after an interrupt, 2 if it cannot start.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        private.make_folder(options.state)
        config = _config(options)
        certificate = _certificate(options)
    except (configuration.ConfigError, tls.CertificateError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 2

    names = {job.id: job.name for job in config.jobs}
    address = options.public_url or ""

    def tell(run: Run, history: History) -> None:
        took = times.duration((run.finished_at or 0) - (run.started_at or run.finished_at or 0))
        color, status = COLORS[run.status], payloads.status_name(run.status).lower()
        page = address + payloads.page(run, config.account.id)
        message = f"  {escape(run.status_message)}" if run.status_message else ""
        if run.status is Status.ERROR and (failure := history.failure(run)) is not None:
            message += f"  at step {failure[0].index}, {escape(failure[0].name)}"
        job = escape(names.get(run.job_id, str(run.job_id)))
        console.print(f"run {run.id}  {job}  [{color}]{status}[/]  {took}  {page}{message}")

    # Where other machines can reach it, they do so under names that nobody told.
    hosts = _names(options) if is_loopback(options.host) else None
    try:
        service = Service(
            config,
            options.state,
            public_url=options.public_url,
            on_finished=None if options.quiet else tell,
            hosts=hosts,
        )
    except (configuration.ConfigError, StoreInUseError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    # The server passes the signal that ended it on when it is done.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: sys.exit(0))
    try:
        server = Server(service.wire, options.host, options.port, certificate)
        address = address or server.url
        jobs = f"{len(config.jobs)} job" + ("" if len(config.jobs) == 1 else "s")
        console.print(f"dbt Cloud emulator: {address}  account {config.account.id}, {jobs}")
        if options.project is not None:
            console.print(_hint(options.state, address))
        if certificate is not None and certificate.ca is not None:
            authority = shlex.quote(str(certificate.ca.resolve()))
            console.print(
                f"  export REQUESTS_CA_BUNDLE={escape(authority)} SSL_CERT_FILE={escape(authority)}"
            )
        if hosts is None:
            console.print(
                "[yellow]Other machines can reach it: its pages show logs to whoever opens them.[/]"
            )
        if options.port_file is not None:
            # Connections wait in the socket's queue until the server takes them.
            _write(options.port_file, str(server.port))
        server.serve()
    except OSError as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    finally:
        service.close()
    return 0


def _hint(state: Path, address: str) -> str:
    """Return how clients get to a project that is served without a configuration."""
    return (
        "For dlt, and for Airflow without a connection of its own:\n"
        f"  export DBT_CLOUD__BASE_API_URL={address}/api DBT_CLOUD__ACCOUNT_ID=1 DBT_CLOUD__JOB_ID=1000\n"
        f'  export DBT_CLOUD__API_TOKEN="$(cat {escape(shlex.quote(str(state / "token")))})"'
    )


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main())
