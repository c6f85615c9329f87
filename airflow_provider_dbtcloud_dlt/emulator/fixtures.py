"""A fixture for tests of your own DAGs. It is no automatic plug-in: name it in your ``conftest.py``::

pytest_plugins = ["airflow_provider_dbtcloud_dlt.emulator.fixtures"]

"""

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator


@pytest.fixture
def dbt_cloud_emulator_options() -> dict[str, Any]:
    """What `testing.emulator` is called with: override it to serve your own configuration.

    Returns:
        Keyword arguments; by default none, which serves one account with one job that pretends to succeed.
    """
    return {}


@pytest.fixture
def dbt_cloud_emulator(
    dbt_cloud_emulator_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    """An emulator of this test's own, to which Airflow's default connection and dlt's settings lead.

    With ``tls`` its authority is the one that requests and Python's ssl trust during the test.

    Yields:
        The emulator.
    """
    with emulator(**dbt_cloud_emulator_options) as running:
        extra: dict[str, Any] = {"job_id": running.job_id}
        if running.ca_file is not None:
            extra["verify"] = str(running.ca_file)
            # dlt's settings cannot say whom to trust; these are what requests and Python's ssl look at.
            for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
                monkeypatch.setenv(name, str(running.ca_file))
        monkeypatch.setenv("AIRFLOW_CONN_DBT_CLOUD_DEFAULT", running.airflow_connection(**extra))
        for name, value in running.settings.items():
            monkeypatch.setenv(name, value)
        yield running
