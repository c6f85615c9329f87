"""Servers of PostgreSQL and MariaDB as Debian packages them, in folders of their own that are removed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "p@ss:w/o%rd #1 ?&='\"\\+ "
"""With whatever has a meaning in a URL, in SQL or in a shell, and a blank at its end."""


def _found(name: str, package: str) -> str:
    """Find a program, where Debian has it too; skip the tests if it is not installed."""
    folders = [os.environ["PATH"], "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    if path := shutil.which(name, path=os.pathsep.join(folders)):
        return path
    if os.environ.get("EXPECT_DATABASES") == "1":
        raise RuntimeError(f"EXPECT_DATABASES is set, but there is no {name}.")
    pytest.skip(f"{name} is not installed: apt-get install {package}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def _folder(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder that a user can read, and how to run a program as that user: servers refuse to be root."""
    is_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix=f"{user}-", dir="/tmp"))
    try:
        if is_root:
            shutil.chown(folder, user)
        yield folder, ["runuser", "-u", user, "--"] if is_root else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str | Path) -> None:
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/"
    )
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"


@contextmanager
def postgres() -> Iterator[int]:
    """A server with the user ``loader`` and the database ``shop``, by its port; it asks for the password."""
    initdb = Path(_found("initdb", "postgresql"))
    with _folder("postgres") as (folder, as_user):
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        data, port = folder / "data", free_port()
        _run(
            *as_user,
            initdb,
            "-A",
            "scram-sha-256",
            "-U",
            "loader",
            "-E",
            "UTF8",
            f"--pwfile={secret}",
            "-D",
            data,
        )
        control = [*as_user, initdb.with_name("pg_ctl"), "-D", data, "-w", "-l", folder / "log"]
        options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
        _run(*control, "-o", options, "start")
        try:
            import psycopg2

            opened = psycopg2.connect(
                host="127.0.0.1", port=port, user="loader", password=PASSWORD, dbname="postgres"
            )
            opened.autocommit = True
            opened.cursor().execute("create database shop")
            opened.close()
            yield port
        finally:
            _run(*control, "-m", "immediate", "stop")


@contextmanager
def mariadb() -> Iterator[int]:
    """A server with the user ``loader``, by its port; it asks for the password."""
    server, install = _found("mariadbd", "mariadb-server"), _found("mariadb-install-db", "mariadb-server")
    with _folder("mysql") as (folder, as_user):
        data, port, sock = folder / "data", free_port(), folder / "socket"
        _run(
            *as_user,
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        )
        # It gives root's rights up itself, and so stays a child that is waited for.
        options = {"datadir": data, "socket": sock, "port": port, "pid-file": folder / "pid"}
        command = [server, "--no-defaults", "--user=mysql", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        ) as running:
            try:
                _wait(lambda: sock.exists() or running.poll() is not None)
                _prepare(sock)
                yield port
            finally:
                running.terminate()


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _prepare(sock: Path) -> None:
    import pymysql

    with pymysql.connect(unix_socket=str(sock), user="root") as opened, opened.cursor() as cursor:
        cursor.execute("create user 'loader'@'127.0.0.1' identified by %s", (PASSWORD,))
        cursor.execute("grant all on *.* to 'loader'@'127.0.0.1'")
        cursor.execute("create database shop")
