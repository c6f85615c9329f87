"""Servers of PostgreSQL and MariaDB as Debian packages them, in folders of their own that are removed."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres_server
import pytest
from postgres_server import find_program, folder_of, run
from processes import free_port

PASSWORD = "p@ss:w/o%rd #1 ?&='\"\\+ "
"""With whatever has a meaning in a URL, in SQL or in a shell, and a blank at its end."""


def _found(name: str, package: str) -> Path:
    """Find a program; skip the tests if it is not installed."""
    if path := find_program(name):
        return path
    if os.environ.get("EXPECT_DATABASES") == "1":
        raise RuntimeError(f"EXPECT_DATABASES is set, but there is no {name}.")
    pytest.skip(f"{name} is not installed: apt-get install {package}")


@contextmanager
def postgres() -> Iterator[int]:
    """A server with the user ``loader`` and the database ``shop``, by its port; it asks for the password."""
    initdb = _found("initdb", "postgresql")
    with postgres_server.postgres(initdb, user="loader", password=PASSWORD, database="shop") as port:
        yield port


@contextmanager
def mariadb() -> Iterator[int]:
    """A server with the user ``loader``, by its port; it asks for the password."""
    server, install = _found("mariadbd", "mariadb-server"), _found("mariadb-install-db", "mariadb-server")
    with folder_of("mysql") as (folder, as_user):
        data, port, sock = folder / "data", free_port(), folder / "socket"
        run(
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
