"""The same load by this provider and by dlt's own helper for Airflow (`PipelineTasksGroup`): what each costs.

A month of flights goes into a DuckDB file of its own, by a task of `dag.test()`. A DAG file is read by an
interpreter of its own each time, as Airflow's DAG processor does it, which has Airflow imported already.

    python tools/bench_loads.py            # or as a part of `make bench`: BENCH_ARGS='--parts loads'
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
from bench_report import Section, Spread, compare, spreads, table
from flights_stack import DAGS
from processes import isolated_environment
from rich.console import Console

DAG_FILES = Path(__file__).parent / "bench_load_dags"
SIDES = ("this_provider", "dlts_helper")
COLUMNS = ("what", "this provider", "dlt's helper", "of the helper's")
ROWS = 27004

PROBE = """
import json, os, runpy, sys, time
import airflow.sdk

before = dict(os.environ)
started = time.perf_counter()
found = runpy.run_path(sys.argv[1])
parsed = time.perf_counter()
load = None
if sys.argv[2:]:
    import datetime as dt
    # Of a run by hand the interval is the one that has ended then: January.
    run = found["DAG"].test(logical_date=dt.datetime(2013, 2, 1, tzinfo=dt.UTC))
    (task,) = run.get_task_instances()
    assert task.state == "success", task.state
    load = task.duration
changed = sorted(name for name, value in os.environ.items() if before.get(name) != value)
changed = [name for name in changed if name.startswith(("DLT_", "RUNTIME__", "DESTINATION__"))]
print("FOUND", json.dumps({"parse": parsed - started, "load": load, "environment": changed}))
"""


class Side:
    """One of the two: folders and an Airflow of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.database = folder / f"{name}.duckdb"
        self._folder = folder / name
        dags = self._folder / "dags"  # of which Airflow reads every file
        dags.mkdir(parents=True)
        self._file = Path(shutil.copy(DAG_FILES / f"{name}.py", dags))
        self._env = isolated_environment(self._folder) | {
            "AIRFLOW_HOME": str(self._folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "DESTINATION__DUCKDB__CREDENTIALS": str(self.database),
            "PYTHONPATH": f"{DAGS}:{Path(__file__).parent.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def prepare(self) -> None:
        """Make Airflow's database."""
        self._run("-m", "airflow", "db", "migrate")

    def read(self) -> dict[str, Any]:
        """Read the DAG file."""
        return self._probe()

    def load(self) -> dict[str, Any]:
        """Run the DAG, into a file that is not there yet."""
        self.database.unlink(missing_ok=True)
        found = self._probe("load")
        with duckdb.connect(str(self.database), read_only=True) as opened:
            counted = opened.execute("select count(*) from flights_raw.flights").fetchone()
        assert counted == (ROWS,), counted
        return found

    def left_over(self) -> int:
        """How many files and folders are in the folder for temporary ones."""
        return sum(1 for _ in (self._folder / "tmp").rglob("*"))

    def _probe(self, *more: str) -> dict[str, Any]:
        lines = self._run("-c", PROBE, str(self._file), *more).splitlines()
        return dict(json.loads(next(line for line in lines if line.startswith("FOUND "))[6:]))

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            env=self._env,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{done.stdout}{done.stderr}")
        return done.stdout


def section(parses: int, loads: int) -> Section:
    """Measure both in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-loads-") as folder:
        sides = [Side(Path(folder), name) for name in SIDES]
        for side in sides:
            side.prepare()
            side.read()  # the system has the files in memory then
        left_before = [side.left_over() for side in sides]
        read = _in_turn(sides, Side.read, parses)
        left = [side.left_over() - before for side, before in zip(sides, left_before, strict=True)]
        loaded = _in_turn(sides, Side.load, loads)
    figures = [
        [
            *spreads([[one["parse"]] for one in read[index]]),
            *spreads([[one["load"]] for one in loaded[index]]),
            Spread((left[index],)),
            Spread((len(read[index][0]["environment"]),)),
        ]
        for index in range(2)
    ]
    names = (
        "a DAG file is read, s",
        f"{ROWS:,} flights are loaded, s",
        f"files and folders left by {parses} readings",
        "environment variables set by a reading",
    )
    note = f"Medians of {parses} readings and {loads} loads, with least and most. "
    note += f"Set by dlt's helper: {', '.join(read[1][0]['environment'])}."
    title = "The same load by this provider and by dlt's PipelineTasksGroup"
    return Section(title, note, COLUMNS, list(compare(names, *figures)))


def _in_turn(sides: list[Side], measure: Any, times: int) -> list[list[dict[str, Any]]]:
    taken: list[list[dict[str, Any]]] = [[] for _ in sides]
    for _ in range(times):
        for side, found in zip(sides, taken, strict=True):
            found.append(measure(side))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parses", type=int, default=10, help="readings of each file (default: %(default)s)")
    parser.add_argument("--loads", type=int, default=3, help="loads by each (default: %(default)s)")
    options = parser.parse_args()
    Console().print(table(section(options.parses, options.loads)))


if __name__ == "__main__":
    main()
