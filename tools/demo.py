"""Run the flights example: dlt loads a month, dbt transforms it, and Airflow has no worker wait for that.

Everything is local: the emulator stands in for dbt Cloud and runs real dbt-core, Airflow runs with SQLite,
and all that they write is in one folder, which is emptied first. Ctrl-C stops all that was started.
"""

import argparse
import contextlib
import datetime as dt
import fcntl
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import duckdb
from airflow_api import AirflowAPIError
from flights_stack import REPOSITORY, FlightsStack
from processes import ServiceError, exit_on_signals
from progress import Narrator, RunWatcher
from rich.console import Console
from rich.table import Table

DAG_ID = "flights_elt"
PACKAGES = ("apache-airflow", "dlt", "dbt-core", "duckdb")
RUN_SECONDS = 600.0
LOG_LINES = 40
MART = """
    select carrier_name, flights, mean_departure_delay, mean_arrival_delay
    from analytics.delays_by_carrier
    order by flights desc
"""


def main() -> int:
    arguments = _arguments()
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 140, highlight=False, soft_wrap=not terminal)
    narrator = Narrator(console)
    exit_on_signals(lambda: narrator.say("demo", "interrupted; stopping all that was started"))
    try:
        with emptied(arguments.folder):
            status = _show(narrator, arguments)
    except KeyboardInterrupt:
        narrator.say("demo", "stopped")
        return 128 + signal.SIGINT
    except (ServiceError, AirflowAPIError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return status


def _show(narrator: Narrator, arguments: argparse.Namespace) -> int:
    """Start everything, run the DAG, stop everything; returns the exit status."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    narrator.say("demo", f"{versions}; all files in {arguments.folder}")
    narrator.say("demo", "starting the emulator of dbt Cloud and Airflow")
    with FlightsStack(arguments.folder) as stack:
        narrator.stage("start the emulator and Airflow", narrator.seconds)
        narrator.say("airflow", f"{stack.airflow.url} is up, with the connection to the emulator")
        status = _run(stack, narrator, arguments.month)
        if arguments.stay:
            _stay(stack, narrator)
        if not arguments.stay:
            narrator.say("demo", "stopping all that was started; `make airflow` keeps it up to look around")
    narrator.say("demo", "stopped")
    return status


def _run(stack: FlightsStack, narrator: Narrator, month: dt.datetime) -> int:
    """Run the DAG for a month and tell of it; returns the exit status."""
    api = stack.airflow.api
    api.wait_for_dag(DAG_ID)
    api.unpause(DAG_ID)
    interval = (month, _next(month))
    run_id = api.trigger(DAG_ID, logical_date=month, data_interval=interval)
    narrator.say("airflow", f"started {DAG_ID} for {month:%B %Y}: {api.run_page(DAG_ID, run_id)}")
    watcher = RunWatcher(stack, narrator, DAG_ID, run_id)
    began = time.monotonic()
    state = api.wait_for_run(DAG_ID, run_id, timeout=RUN_SECONDS, on_poll=watcher.look)
    narrator.stage(f"the DAG run for {month:%Y-%m}", time.monotonic() - began)
    for (task_id, task_state), seconds in watcher.durations.items():
        if task_state in ("running", "deferred"):
            narrator.stage(f"  {task_id}, {task_state}", seconds)
    if state != "success":
        _show_failures(stack, narrator, run_id)
        return 1
    _show_waiting(narrator, watcher)
    narrator.console.print(_mart(stack, month))
    narrator.console.print(f"The DAG run: {api.run_page(DAG_ID, run_id)}", soft_wrap=True)
    narrator.console.print(narrator.stages())
    return 0


def _show_waiting(narrator: Narrator, watcher: RunWatcher) -> None:
    waiting = watcher.waiting
    if waiting.looks:
        narrator.say(
            "workers",
            f"while transform was deferred ({waiting.seconds:.1f} s): no task process in "
            f"{waiting.looks_without_process} of {waiting.looks} looks, "
            f"at most {max(waiting.slots_in_use)} worker slots in use",
            "magenta",
        )


def _show_failures(stack: FlightsStack, narrator: Narrator, run_id: str) -> None:
    api = stack.airflow.api
    for task in api.task_instances(DAG_ID, run_id):
        if task["state"] == "failed":
            log = api.log(DAG_ID, run_id, task["task_id"], try_number=task["try_number"])
            narrator.say(task["task_id"], f"failed; the end of its log (the last {LOG_LINES} lines):", "red")
            narrator.console.print("\n".join(log.splitlines()[-LOG_LINES:]), markup=False, soft_wrap=True)
    narrator.console.print(f"The DAG run: {api.run_page(DAG_ID, run_id)}", soft_wrap=True)


def _mart(stack: FlightsStack, month: dt.datetime) -> Table:
    table = Table(title=f"Delays by carrier, {month:%B %Y}", title_justify="left")
    table.add_column("carrier")
    for column in ("flights", "mean departure delay, min", "mean arrival delay, min"):
        table.add_column(column, justify="right")
    with duckdb.connect(str(stack.database), read_only=True) as database:
        for carrier, flights, *delays in database.sql(MART).fetchall():
            minutes = ("none" if delay is None else f"{delay:.1f}" for delay in delays)
            table.add_row(carrier, f"{flights:,}", *minutes)
    return table


def _stay(stack: FlightsStack, narrator: Narrator) -> None:
    airflow = stack.airflow
    narrator.console.print(
        f"\nAirflow stays up at {airflow.url}\n  user name {airflow.username}, password {airflow.password}\n"
        f"The emulator's runs: {stack.emulator.url}\nCtrl-C stops both.",
        markup=False,
        soft_wrap=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            stack.check()
            time.sleep(1)


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Remove what an earlier demo left in a folder, and keep other demos away from it."""
    lock = folder / ".demo-lock"
    if folder.exists() and any(folder.iterdir()) and not lock.exists():
        raise ServiceError(f"{folder} was not made by the demo: give --folder one that is new or empty.")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # Airflow's database, connections and logs are nobody else's business
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = (
                f"A demo is running in {folder}: stop it, or run another in a folder of its own: "
                ".venv/bin/python tools/demo.py --folder FOLDER"
            )
            raise ServiceError(problem) from None
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != lock:
                path.unlink()
        yield


def _next(month: dt.datetime) -> dt.datetime:
    return (month + dt.timedelta(days=31)).replace(day=1)


def _month(text: str) -> dt.datetime:
    try:
        month = dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a month such as 2013-01") from None
    if month.year != 2013:
        raise argparse.ArgumentTypeError(f"{text}: there are flights of 2013 only")
    return month


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--month", type=_month, default="2013-01", help="which month to load (default: 2013-01)"
    )
    parser.add_argument("--stay", action="store_true", help="keep Airflow and the emulator up until Ctrl-C")
    parser.add_argument(
        "--folder",
        type=Path,
        default=REPOSITORY / ".demo",
        help="where everything is written; what an earlier demo left there is removed (default: .demo)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
