"""What the flights example needs: the emulator with the dbt project, and an Airflow connected to it."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local_airflow import LocalAirflow
from local_emulator import LocalEmulator
from processes import Startable

REPOSITORY = Path(__file__).resolve().parent.parent
DAGS = REPOSITORY / "dags_examples"
EMULATOR_CONFIG = DAGS / "flights" / "emulator.yaml"
ACCOUNT_ID = 2013
CONNECTION_ID = "dbt_cloud_default"


class FlightsStack(Startable):
    """The emulator and Airflow, which share a DuckDB file: dlt loads into it, dbt transforms it.

    Attributes:
        database: the DuckDB file.
        airflow: Airflow, with the connection to the emulator.
        emulator: the emulator.

    Args:
        folder: takes everything that is written; made if need be.
        dags: the folder with the DAG files.
        emulator_config: the emulator's configuration; its token must come from ``DBT_EMULATOR_TOKEN``.
        env: further environment variables, for Airflow and for the emulator's dbt.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dags: Path = DAGS,
        emulator_config: Path = EMULATOR_CONFIG,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.database = self.folder / "flights.duckdb"
        shared = dict(env or {})
        self.emulator = LocalEmulator(
            self.folder, emulator_config, ACCOUNT_ID, env={"DBT_DUCKDB_PATH": str(self.database), **shared}
        )
        self.airflow = LocalAirflow(
            self.folder,
            dags,
            env={
                # This is all that dlt has to be told.
                "DESTINATION__DUCKDB__CREDENTIALS": str(self.database),
                # DAG files are parsed again and again: leave no compiled files beside them.
                "PYTHONDONTWRITEBYTECODE": "1",
                **shared,
            },
        )

    def start(self) -> None:
        """Start the emulator and Airflow, and make the connection between them."""
        self.emulator.start()
        self.airflow.start()
        self.airflow.api.create_connection(
            CONNECTION_ID,
            "dbt_cloud_dlt",
            # Airflow 3.3.1 and 3.3.2 refuse to test a connection that has no port of its own.
            host="http://127.0.0.1",
            port=urlsplit(self.emulator.url).port,
            login=str(ACCOUNT_ID),
            password=self.emulator.token,
            description="The local emulator",
        )

    def check(self) -> None:
        """Raise ServiceError if a process has ended of itself; the message holds its log's tail."""
        self.emulator.check()
        self.airflow.check()

    def stop(self) -> None:
        """Stop all processes; harmless when nothing runs."""
        self.airflow.stop()
        self.emulator.stop()
