"""What a step's subprocess executes: dbt, tied to the life of the emulator.

The emulator holds the other end of standard input. When it dies, however it dies, that end closes and this
process takes its whole group with it: no dbt goes on writing for a run that is already told as failed.

Run as a file with `python -P`: neither this folder nor the dbt project may shadow the package `dbt`.
"""

import os
import select
import signal
import sys
import threading


def main() -> None:
    """Run dbt with this process's arguments."""
    wake_read, wake_write = os.pipe()
    watcher = threading.Thread(target=_die_with_parent, args=(wake_read,), daemon=True)
    watcher.start()
    from dbt.cli.main import cli

    sys.argv[0] = "dbt"
    try:
        cli()
    finally:
        # A thread that is still alive when the interpreter ends makes DuckDB's bindings report leaks.
        os.write(wake_write, b".")
        watcher.join()


def _die_with_parent(wake: int) -> None:
    ready, _, _ = select.select([sys.stdin, wake], [], [])
    if wake not in ready:
        os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
