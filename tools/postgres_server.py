"""A server of PostgreSQL as Debian packages it, in a folder of its own that is removed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import free_port


def find_program(name: str) -> Path | None:
    """Find a program, where Debian puts servers' programs too."""
    folders = [os.environ["PATH"], "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = shutil.which(name, path=os.pathsep.join(folders))
    return Path(path) if path else None


@contextmanager
def folder_of(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder that a user can read, and how to run a program as that user: servers refuse to be root."""
    is_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix=f"{user}-", dir="/tmp"))
    try:
        if is_root:
            shutil.chown(folder, user)
        yield folder, ["runuser", "-u", user, "--"] if is_root else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(*command: str | Path) -> None:
    """Run a program to its end.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/"
    )
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed: {ended.stdout}{ended.stderr}")


@contextmanager
def airflow_database(initdb: Path) -> Iterator[dict[str, str]]:
    """A server for Airflow's own database, by the environment variable that tells Airflow of it.

    With many tasks at once, or a slow disk, SQLite locks up, and the scheduler ends.
    """
    with postgres(initdb, user="airflow", password="airflow", database="airflow") as port:
        address = f"postgresql+psycopg2://airflow:airflow@127.0.0.1:{port}/airflow"
        yield {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address}


@contextmanager
def postgres(
    initdb: Path, *, user: str, password: str, database: str, port: int | None = None
) -> Iterator[int]:
    """A server with a user and a database, by its port on this machine; it asks for the password.

    What it holds is of no worth: it does not wait for the disk. Without a port it takes a free one.
    """
    with folder_of("postgres") as (folder, as_user):
        secret = folder / "password"
        secret.write_text(password, encoding="utf-8")
        secret.chmod(0o644)
        data, port = folder / "data", port or free_port()
        access = ["-A", "scram-sha-256", "-U", user, "-E", "UTF8", f"--pwfile={secret}"]
        run(*as_user, initdb, *access, "-D", data)
        control = [*as_user, initdb.with_name("pg_ctl"), "-D", data, "-w", "-l", folder / "log"]
        options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
        run(*control, "-o", options, "start")
        try:
            import psycopg2

            opened = psycopg2.connect(
                host="127.0.0.1", port=port, user=user, password=password, dbname="postgres"
            )
            opened.autocommit = True
            opened.cursor().execute(f'create database "{database}"')
            opened.close()
            yield port
        finally:
            run(*control, "-m", "immediate", "stop")
