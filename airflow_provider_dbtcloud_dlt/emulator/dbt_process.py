"""What a step's subprocess executes: dbt, tied to the life of the emulator.

The emulator holds the other end of standard input. When it dies, however it dies, that end closes and this process
takes its whole group with it: no dbt goes on writing for a run that is already told as failed.

Run as a file with `python -P`: this folder, and the dbt project, must not shadow the package `dbt`.
"""

import os
import signal
import sys
import threading


def _die_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from dbt.cli.main import cli

    sys.argv[0] = "dbt"
    cli()
