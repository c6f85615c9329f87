"""Make screenshots of the emulator's pages, of Airflow's form for a connection, and of pictures of runs.

The emulator's show a nightly build with real dbt that failed, among other runs; those of the form what a
person types into a real Airflow, and what testing the connection answers.

Usage: python tools/screenshots.py FOLDER
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import browser
import yaml
from connection_form import connections_page
from fake_airflow import fake_airflow
from local_airflow import LocalAirflow
from local_emulator import LocalEmulator
from picture_runs import five, project
from playwright.sync_api import Browser, expect, sync_playwright

from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, RealClock
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator

NIGHTLY, SOURCES, FINANCE = 1000, 1001, 1002
DBT_SECONDS = 120.0
SIZES = {"": {"width": 1280, "height": 860}, "-phone": {"width": 390, "height": 844}}
PROJECT = {
    "dbt_project.yml": "{name: flights, profile: flights, version: '1.0'}",
    "profiles.yml": "flights: {target: prod, outputs: {prod: {type: duckdb, path: ':memory:', threads: 1}}}",
    "models/stg_airlines.sql": "select unnest(['AA', 'B6', 'DL', 'EV', 'UA']) as carrier",
    "models/stg_flights.sql": """
        select i as flight_id, ['AA', 'B6', 'DL', 'EV', null][1 + i % 5] as carrier, i % 90 as departure_delay
        from range(2000000) as t(i)
    """,
    "models/delays_by_carrier.sql": """
        select carrier, count(*) as flights, avg(flights.departure_dely) as mean_departure_delay
        from {{ ref('stg_flights') }} as flights
        join {{ ref('stg_airlines') }} using (carrier)
        group by carrier
    """,
    "models/daily_summary.sql": "select sum(flights) as flights from {{ ref('delays_by_carrier') }}",
    "models/delays_by_route.sql": """
        select flight_id % 200 as route, avg(departure_delay) as mean_departure_delay
        from {{ ref('stg_flights') }}
        group by route
    """,
    "models/models.yml": """
        models:
          - name: stg_flights
            config: {materialized: table}
            columns:
              - {name: flight_id, data_tests: [unique, not_null]}
              - {name: carrier, data_tests: [{not_null: {config: {severity: warn}}}]}
    """,
}


FORM_SIZE = {"width": 1280, "height": 1040}
ACCOUNT_ID, JOB_ID = 12345, 67890
FORM_CONFIG: Mapping[str, Any] = {
    "account": {"id": ACCOUNT_ID, "name": "Jaffle Shop", "token_env": "DBT_EMULATOR_TOKEN"},
    "projects": [{"id": 10, "name": "Analytics"}],
    "environments": [{"name": "Production"}],
    "jobs": [{"id": JOB_ID, "name": "Nightly build", "steps": ["dbt build"], "script": {}}],
}


class PastClock:
    """The machine's clock, as far behind as it is told: history without waiting for it."""

    def __init__(self, hours: float) -> None:
        self._behind = round(hours * 3600 * SECOND)
        self._real = RealClock()

    def now(self) -> int:
        return self._real.now() - self._behind

    def advance(self, minutes: float) -> None:
        self._behind -= round(minutes * 60 * SECOND)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="takes the images; made if need be")
    folder: Path = parser.parse_args().folder
    found = browser.find()
    if found is None:
        print(browser.MISSING, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as work, sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=found, args=list(browser.OPTIONS)) as running:
            shoot_emulator(running, folder, Path(work))
            shoot_pictures(running, folder)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as work:
        shoot_form(found, folder, Path(work))
    return 0


def shoot_pictures(chromium: Browser, folder: Path) -> None:
    """Take the page with the picture of a run: of a large one, and of a small one in the dark theme."""
    with fake_airflow() as airflow:
        for name, picture, height, theme in (
            ("2000-light", project(2000), 760, "light"),
            ("5-dark", five(), 430, "dark"),
        ):
            airflow.leave(picture)
            size = {"width": 1180, "height": height}
            with chromium.new_context(viewport=size, color_scheme=theme) as context:
                context.add_cookies([{"name": "_token", "value": airflow.token, "url": airflow.base}])
                page = context.new_page()
                page.goto(airflow.page())
                page.get_by_role("heading").wait_for()
                page.wait_for_timeout(200)  # the canvas is drawn with the next frame
                page.screenshot(path=folder / f"run-picture-{name}.png")


def shoot_emulator(chromium: Browser, folder: Path, work: Path) -> None:
    """Take the list of runs and the run that failed."""
    clock: Any = PastClock(hours=9)
    with emulator(emulator_config(work), state_dir=work / "state", clock=clock) as running:
        failed = make_history(running)
        for name, path in (
            ("emulator-runs", "/"),
            ("emulator-run", f"/deploy/1/projects/10/runs/{failed}/"),
        ):
            for suffix, size in SIZES.items():
                with chromium.new_context(viewport=size, color_scheme="light") as context:
                    page = context.new_page()
                    page.goto(running.url + path)
                    page.screenshot(path=folder / f"{name}{suffix}.png")


def shoot_form(executable: str, folder: Path, work: Path) -> None:
    """Take the form as it is filled, and the answer of testing the connection."""
    token = f"dbtc_{secrets.token_urlsafe(24)}"
    config, dags = work / "emulator.yaml", work / "dags"
    config.write_text(yaml.safe_dump({**FORM_CONFIG, "tokens": [{"name": "Airflow", "token": token}]}))
    dags.mkdir()
    with LocalEmulator(work, config, ACCOUNT_ID) as cloud, LocalAirflow(work, dags) as airflow:
        with connections_page(airflow, executable, viewport=FORM_SIZE, color_scheme="light") as opened:
            host, _, port = cloud.url.rpartition(":")
            opened.open_new("dbt_cloud_default")
            opened.fill({"host": host, "port": port, "login": ACCOUNT_ID, "password": token})
            opened.form.get_by_role("heading").click()  # nothing has the focus
            opened.form.screenshot(path=folder / "connection-form.png")
            opened.section("Extra Fields")
            opened.fill({"extra.job_id": JOB_ID})
            opened.save()
            good, said = opened.test("dbt_cloud_default")
            if not good:
                raise RuntimeError(said)
            expect(opened.page.get_by_text(said)).to_be_visible()
            opened.page.set_viewport_size({"width": 1280, "height": 420})
            opened.page.wait_for_timeout(500)  # it slides in
            opened.page.screenshot(path=folder / "connection-test.png")


def emulator_config(work: Path) -> Mapping[str, Any]:
    """Write the dbt project, and return what serves it."""
    for name, content in PROJECT.items():
        path = work / "dbt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {
        "account": {"name": "Flights", "token": "secret"},
        "projects": [{"name": "Flights", "dir": str(work / "dbt")}],
        "environments": [{"name": "Production"}],
        "jobs": [
            {"id": NIGHTLY, "name": "Nightly build", "steps": ["dbt build", "dbt docs generate"]},
            {"id": SOURCES, "name": "Check sources", "steps": ["dbt source freshness"], "script": {}},
            {"id": FINANCE, "name": "Finance marts", "steps": ["dbt build -s finance"], "script": {}},
        ],
    }


def make_history(running: Emulator) -> int:
    """Let a night pass; return the id of the nightly build's run, which failed."""
    for hour, seconds in enumerate((41, 44, 39, 45, 58, 43, 40)):
        running.script_job(SOURCES, seconds)
        running.trigger(SOURCES, cause=f"Airflow: sources, {hour:02}:00")
        running.clock.advance(minutes=10)
        if hour == 2:
            failed = running.trigger(NIGHTLY, cause="Airflow: flights_elt.transform, try 1")
            wait_for(running, failed)
        if hour in (3, 5):
            running.script_job(FINANCE, 312 if hour == 3 else 240, "success" if hour == 3 else "cancelled")
            running.trigger(FINANCE, cause="Airflow: finance.marts, try 1")
        running.clock.advance(minutes=50)
    running.script_job(FINANCE, 3600)
    running.trigger(FINANCE, cause="Airflow: finance.marts, try 2")
    running.clock.advance(minutes=2)
    return failed


def wait_for(running: Emulator, run_id: int) -> None:
    """Wait until dbt has ended."""
    patience = time.monotonic() + DBT_SECONDS
    while not running.engine.run(run_id).status.is_final:
        if time.monotonic() > patience:
            raise TimeoutError(f"dbt has not ended after {DBT_SECONDS:.0f} seconds.")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
