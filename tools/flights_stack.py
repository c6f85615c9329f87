"""What the flights example needs: the emulator with the dbt project, and an Airflow connected to it."""

import secrets
import sys
from pathlib import Path
from types import TracebackType

from local_airflow import LocalAirflow
from processes import Service, isolated_environment, stop, wait_for_file

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2

REPOSITORY = Path(__file__).resolve().parent.parent
DAGS = REPOSITORY / "dags_examples"
EMULATOR_CONFIG = DAGS / "flights" / "emulator.yaml"
ACCOUNT_ID = 2013
CONNECTION_ID = "dbt_cloud_default"
EMULATOR_SECONDS = 60.0


class FlightsStack:
    """The emulator and Airflow, which share a DuckDB file: dlt loads into it, dbt transforms it.

    Attributes:
        database: the DuckDB file.
        token: the emulator's API token, random.
        airflow: Airflow, with the connection to the emulator.
        dbt_cloud: a client of the emulator.
        emulator: the emulator's process.
        emulator_url: its address, which shows its runs in a browser.

    Args:
        folder: takes everything that is written; made if need be.
        dags: the folder with the DAG files.
        emulator_config: the emulator's configuration; its token must come from ``DBT_EMULATOR_TOKEN``.
    """

    emulator: Service
    emulator_url: str
    dbt_cloud: DBTCloudClientV2

    def __init__(self, folder: Path, *, dags: Path = DAGS, emulator_config: Path = EMULATOR_CONFIG) -> None:
        self.folder = folder.resolve()
        self.database = self.folder / "flights.duckdb"
        self._config = emulator_config
        self.token = secrets.token_urlsafe(24)
        self.airflow = LocalAirflow(
            self.folder,
            dags,
            env={
                # This is all that dlt has to be told.
                "DESTINATION__DUCKDB__CREDENTIALS": str(self.database),
                # DAG files are parsed again and again: leave no compiled files beside them.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )

    def __enter__(self) -> "FlightsStack":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the emulator and Airflow, and make the connection between them."""
        self._start_emulator()
        self.airflow.start()
        self.airflow.api.create_connection(
            CONNECTION_ID,
            "dbt_cloud_dlt",
            host=self.emulator_url,
            login=str(ACCOUNT_ID),
            password=self.token,
            description="The local emulator",
        )

    def stop(self) -> None:
        """Stop all processes; harmless when nothing runs."""
        self.airflow.stop()
        if hasattr(self, "emulator"):
            stop([self.emulator])

    def _start_emulator(self) -> None:
        port_file = self.folder / "emulator" / "port"
        port_file.parent.mkdir(parents=True, exist_ok=True)
        port_file.unlink(missing_ok=True)
        module = "airflow_provider_dbtcloud_dlt.emulator"
        self.emulator = Service(
            "emulator",
            [sys.executable, "-m", module, "--config", str(self._config), "--state", str(port_file.parent)]
            + ["--host", "127.0.0.1", "--port", "0", "--port-file", str(port_file)],
            env=isolated_environment(self.folder)
            | {"DBT_DUCKDB_PATH": str(self.database), "DBT_EMULATOR_TOKEN": self.token},
            log=self.folder / "logs" / "emulator.log",
            cwd=self.folder,
        )
        self.emulator_url = f"http://127.0.0.1:{wait_for_file(port_file, self.emulator, EMULATOR_SECONDS)}"
        no_proxy = {"http": ""}  # it is on this machine
        self.dbt_cloud = DBTCloudClientV2(
            self.token, ACCOUNT_ID, f"{self.emulator_url}/api", proxies=no_proxy
        )
