"""What a task's work at the end of a dbt run costs: time and memory, for generated projects of some sizes.

The artifacts are as large as those of real projects (some 10 kB of manifest, 4 kB of results a node) and lie
on this machine, so that no network is measured. Each measurement is a process of its own. `told` is what goes
into the log, `json.load` what reading both files as a whole would take.

    python tools/results_load.py --sizes 2000,20000
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.table import Table

WAYS = {
    "results, manifest, assets": "all",
    "results, manifest, OpenLineage's events": "lineage",
    "results alone": "results",
    "json.load": "json",
}


def generate(folder: Path, size: int) -> None:
    """Write the artifacts of a project with so many nodes: a fifth of them models, the rest tests."""
    code = "select column_a, column_b, column_c from some_schema.some_table where x = 1\n" * 25
    ids = [f"model.shop.m{i}" if i % 5 == 0 else f"test.shop.not_null_m{i}.{i:010x}" for i in range(size)]
    with (folder / "manifest.json").open("w") as file:
        file.write('{"metadata": {"adapter_type": "snowflake"}, "sources": {}, "nodes": {')
        for i, unique_id in enumerate(ids):
            name = unique_id.split(".")[2]
            columns = {f"column_{j}": {"name": f"column_{j}", "description": "x" * 200} for j in range(20)}
            node = {"name": name, "alias": name, "database": "WH", "schema": "MAIN", "raw_code": code}
            node |= {
                "relation_name": f"WH.MAIN.{name}",
                "columns": columns,
                "config": {"materialized": "table"},
            }
            node |= {"compiled_code": code, "compiled_path": f"target/compiled/shop/models/{name}.sql"}
            node |= {"depends_on": {"nodes": [ids[i - i % 5]]}}
            file.write(f"{', ' if i else ''}{json.dumps(unique_id)}: {json.dumps(node)}")
        file.write("}}")
    results = [
        {
            "unique_id": unique_id,
            "status": "error" if i % 500 == 0 else "success" if i % 5 == 0 else "pass",
            "execution_time": i % 97 / 10,
            "message": "Database Error in model m (models/m.sql)\n  no such column" if i % 500 == 0 else "OK",
            "adapter_response": {"rows_affected": i},
            "thread_id": f"Thread-{i % 16 + 1} (worker)",
            "timing": [
                {"name": name, "started_at": _time(i // 16), "completed_at": _time(i // 16 + 0.9)}
                for name in ("compile", "execute")
            ],
            "compiled_code": code * 2,
            "relation_name": f"WH.MAIN.{unique_id.split('.')[2]}",
        }
        for i, unique_id in enumerate(ids)
    ]
    (folder / "run_results.json").write_text(json.dumps({"args": {"which": "build"}, "results": results}))


def _time(seconds: float) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()


class Local:
    """A client whose artifacts lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list_artifacts(self, run_id: int, step: int) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def download_artifact(self, run_id: int, path: str, target: Path, step: int) -> None:
        shutil.copyfile(self.folder / path, target)


def measure(folder: Path, way: str) -> None:
    """Do it, and print seconds, megabytes of memory beyond what the process had, and what it came to."""
    from airflow.sdk import AssetAlias
    from airflow.sdk.execution_time.context import OutletEventAccessors

    from airflow_provider_dbtcloud_dlt.client import Run
    from airflow_provider_dbtcloud_dlt.openlineage.lineage import RunLineage
    from airflow_provider_dbtcloud_dlt.operators.dbt_assets import RelationEvents
    from airflow_provider_dbtcloud_dlt.run_results import report_results, xcoms

    log = logging.getLogger("task")
    lines: list[logging.LogRecord] = []
    log.addHandler(handler := logging.Handler())
    handler.emit = lines.append  # type: ignore[method-assign]
    log.setLevel(logging.INFO)
    step = {"id": 3, "index": 3, "status": 20, "name": "dbt build"}
    run = Run.from_api({"id": 5, "status": 20, "run_steps": [step]})
    client: Any = Local(folder)
    client.host, client.account_id = "cloud.getdbt.com", 1
    context: Any = {"outlet_events": OutletEventAccessors()}
    events = RelationEvents(context, [AssetAlias("dbt")], None, log)
    lineage = RunLineage(client, _task_instance(), "snowflake://org-account", log)
    sizes: dict[str, int] = {}

    def push(key: str, value: Any) -> None:
        sizes[key] = len(json.dumps(value))

    def use(artifacts: Any, outcome: Any) -> None:
        if way == "all":
            events.emit(client, run, outcome)
        if way == "lineage":
            lineage.collect(artifacts, outcome)

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, started = _memory("VmRSS"), time.perf_counter()
    if way == "json":
        kept = [json.loads((folder / name).read_bytes()) for name in ("run_results.json", "manifest.json")]
        assert kept
    else:
        report_results(client, run, log, [*xcoms(push), use], with_manifest=way != "results")
    seconds = time.perf_counter() - started
    peak = _memory("VmHWM")
    told = sum(len(record.getMessage()) for record in lines)
    found = {"seconds": seconds, "rss": peak - before, "told": told, "xcoms": sum(sizes.values())}
    print(json.dumps(found))


def _task_instance() -> Any:
    """What OpenLineage's provider asks of a task."""
    now = datetime.now(UTC)
    dag_run = SimpleNamespace(logical_date=now, run_after=now, conf={}, clear_number=0)
    names = {"dag_id": "nightly", "task_id": "transform", "run_id": "manual__1", "map_index": -1}
    return SimpleNamespace(
        **names, try_number=1, dag_run=dag_run, get_template_context=lambda: {"dag_run": dag_run}
    )


def _memory(field: str) -> float:
    """A line of what the kernel says of this process, in MB; getrusage's peak may be the parent's."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(field)]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="2000,20000", help="nodes of the projects (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), options.measure[1])
        return
    table = Table(
        "nodes", "way", "manifest MB", "results MB", "seconds", "peak memory MB", "told kB", "XComs kB"
    )
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            generate(folder, size)
            files = [(folder / file).stat().st_size / 1e6 for file in ("manifest.json", "run_results.json")]
            for title, way in WAYS.items():
                command = [sys.executable, __file__, "--measure", name, way]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found = json.loads(said.splitlines()[-1])
                cells = (f"{found['seconds']:.2f}", f"{found['rss']:.0f}")
                sizes = (f"{found['told'] / 1e3:.1f}", f"{found['xcoms'] / 1e3:.1f}")
                table.add_row(f"{size:,}", title, *(f"{one:.0f}" for one in files), *cells, *sizes)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
