"""The fixture that users name in their own tests."""

import json
import os
import ssl

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.fixtures import (  # noqa: F401 - fixtures are found by name
    dbt_cloud_emulator,
    dbt_cloud_emulator_options,
)
from airflow_provider_dbtcloud_dlt.helpers import run_dbt_cloud_job


def only_authority(file):
    return ssl.create_default_context(cafile=file).get_ca_certs()[0]


def test_airflows_default_connection_leads_to_it(dbt_cloud_emulator):  # noqa: F811
    """Host, account, token and job are those of the emulator."""
    emu = dbt_cloud_emulator
    connection = json.loads(os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"])

    assert (connection["host"], connection["login"], connection["password"], connection["extra"]) == (
        emu.host,
        str(emu.account_id),
        emu.token,
        {"job_id": emu.job_id},
    )


def test_dlts_settings_lead_to_it(dbt_cloud_emulator):  # noqa: F811
    """For the helpers, which read dlt's configuration."""
    headers = {"Authorization": f"Token {os.environ['DBT_CLOUD__API_TOKEN']}"}
    path = f"/v2/accounts/{os.environ['DBT_CLOUD__ACCOUNT_ID']}/jobs/{os.environ['DBT_CLOUD__JOB_ID']}/"

    answer = requests.get(os.environ["DBT_CLOUD__BASE_API_URL"] + path, headers=headers, timeout=5)

    assert answer.status_code == 200


class TestOptions:
    """A module or a class that overrides what is served."""

    @pytest.fixture
    def dbt_cloud_emulator_options(self):
        return {"tls": True, "clock": "virtual"}

    def test_what_is_served_can_be_overridden(self, dbt_cloud_emulator):  # noqa: F811
        """Over https the connection knows whom to trust."""
        connection = json.loads(os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"])

        assert connection["host"].startswith("https://")
        assert connection["extra"]["verify"] == str(dbt_cloud_emulator.ca_file)

    def test_dlts_settings_are_enough_over_https(self, dbt_cloud_emulator):  # noqa: F811
        """They cannot name an authority: the environment does."""
        assert run_dbt_cloud_job()["status_humanized"] == "Success"
        assert ssl.create_default_context().get_ca_certs()[0] == only_authority(dbt_cloud_emulator.ca_file)
