"""What the emulator's scripted mode bears: many runs at once, and clients that ask for them again and again.

The emulator runs in a process of its own and is asked from this one. Printed are wall time, the server's CPU
time and the slowest answer of each kind of request.

    python tools/emulator_load.py --runs 10000 --lists 2000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

CONFIG = """
account: {token: load, run_slots: 10}
projects: [{name: P}]
environments: [{name: E}]
jobs: [{id: 1000, name: J, steps: [dbt build], script: {seconds: 600, concurrent: true}}]
"""


class Served:
    """An emulator in a process of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "emulator.yaml").write_text(CONFIG)
        port = folder / "port"
        command = [sys.executable, "-m", "airflow_provider_dbtcloud_dlt.emulator", "--port", "0", "--quiet"]
        options = ["--config", folder / "emulator.yaml", "--state", folder / "state", "--port-file", port]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        while not port.exists():
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{port.read_text()}"
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Token load"

    def cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        response = self.session.request(method, f"{self.url}{path}", timeout=30, **options)
        response.raise_for_status()
        return response


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=10_000, help="runs that go on at once (default: %(default)s)"
    )
    parser.add_argument(
        "--lists", type=int, default=2_000, help="requests of each kind (default: %(default)s)"
    )
    options = parser.parse_args()
    table = Table("requests", "count", "seconds", "a minute", "server's CPU, s", "slowest, ms")
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder))
        try:
            ids: list[int] = []

            def trigger(_: int) -> None:
                answer = served.ask("POST", "/api/v2/accounts/1/jobs/1000/run/", json={"cause": "load"})
                ids.append(answer.json()["data"]["id"])

            def pages(number: int) -> None:
                wanted = [ids[(number * 100 + place) % len(ids)] for place in range(100)]
                served.ask("GET", "/api/v2/accounts/1/runs/", params={"pk__in": json.dumps(wanted)})

            def newest(_: int) -> None:
                query = {
                    "order_by": "-id",
                    "job_definition_id": 1000,
                    "limit": 100,
                    "include_related": "trigger",
                }
                served.ask("GET", "/api/v2/accounts/1/runs/", params=query)

            def one(number: int) -> None:
                served.ask("GET", f"/api/v2/accounts/1/runs/{ids[number % len(ids)]}/")

            def ended(_: int) -> None:
                served.ask("POST", "/emulator/clock", json={"advance_seconds": 601})

            kinds = [
                ("trigger a run", trigger, options.runs),
                ("list 100 runs by id", pages, options.lists),
                ("list the newest 100 with their triggers", newest, options.lists),
                ("get one run", one, options.lists),
                ("end all runs at once", ended, 1),
                ("list 100 ended runs by id", pages, options.lists),
            ]
            for name, request, count in kinds:
                begin, cpu, slowest = time.perf_counter(), served.cpu(), 0.0
                for number in range(count):
                    before = time.perf_counter()
                    request(number)
                    slowest = max(slowest, time.perf_counter() - before)
                took = time.perf_counter() - begin
                figures = (f"{took:.1f}", f"{count / took * 60:,.0f}", f"{served.cpu() - cpu:.1f}")
                table.add_row(name, f"{count:,}", *figures, f"{slowest * 1000:.0f}")
        finally:
            served.process.terminate()
            served.process.wait()
    Console().print(table)


if __name__ == "__main__":
    main()
