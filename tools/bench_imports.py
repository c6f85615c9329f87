"""What importing operators and sensors adds to `import airflow.sdk`: each reading of a DAG file pays it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_report import COMPARED, Section, compare, spreads
from processes import isolated_environment

MODULES = {
    "this provider": (
        "airflow_provider_dbtcloud_dlt.operators.dbt_cloud",
        "airflow_provider_dbtcloud_dlt.sensors.dbt_cloud",
    ),
    "official": ("airflow.providers.dbt.cloud.operators.dbt", "airflow.providers.dbt.cloud.sensors.dbt"),
}
MEASURED = ("time, ms", "user CPU, ms", "modules", "memory, MB")
PROBE = """
import importlib, json, resource, sys, time
import airflow.sdk

def now():
    pages = int(open("/proc/self/statm").read().split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (
        time.perf_counter() * 1000,
        used.ru_utime * 1000,
        len(sys.modules),
        pages * resource.getpagesize() / 1e6,
    )

before = now()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([after - one for one, after in zip(before, now())]))
"""


def section(repeats: int) -> Section:
    """Measure both providers in turn, in interpreters of their own."""
    taken: dict[str, list[list[float]]] = {name: [] for name in MODULES}
    with tempfile.TemporaryDirectory(prefix="bench-imports-") as folder:
        for modules in MODULES.values():
            _probe(Path(folder), modules)  # compiles what was not compiled yet
        for _ in range(repeats):
            for name, modules in MODULES.items():
                taken[name].append(_probe(Path(folder), modules))
    return Section(
        f"What importing operators and sensors adds to `import airflow.sdk` ({repeats} interpreters each)",
        "Medians, with least and most; compiled files are there already.",
        COMPARED,
        list(compare(MEASURED, *map(spreads, taken.values()))),
    )


def _probe(folder: Path, modules: tuple[str, ...]) -> list[float]:
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, *modules],
        env=isolated_environment(folder) | {"AIRFLOW_HOME": str(folder / "airflow")},
        check=True,
        capture_output=True,
        text=True,
    )
    return list(json.loads(answer.stdout.splitlines()[-1]))
