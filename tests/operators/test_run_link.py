"""The button on a task's page that leads to its run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.links.dbt_cloud import DbtCloudRunLink
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.provider_info import get_provider_info
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor


@pytest.mark.parametrize("make", [DbtCloudRunJobOperator, DbtCloudJobRunSensor])
def test_operator_and_sensor_have_the_link(make: Callable[..., Any]) -> None:
    """Both show the official provider's button."""
    task = make(task_id="transform")
    assert [link.name for link in task.operator_extra_links] == ["Monitor Job Run"]


def test_link_has_an_xcom_of_its_own() -> None:
    """Airflow writes a link's XCom at a task's end, an empty one too: job_run_url must stay as it is."""
    assert DbtCloudRunLink().xcom_key == "_link_DbtCloudRunLink"


@pytest.mark.parametrize(("stored", "link"), [("https://ab123/run/7", "https://ab123/run/7"), (None, "")])
def test_link_leads_to_the_run(mocker: MockerFixture, stored: str | None, link: str) -> None:
    """The link is what the task pushed; empty as long as there is no run."""
    mocker.patch.object(XCom, "get_value", return_value=stored)
    assert DbtCloudRunLink().get_link(SimpleNamespace(), ti_key=SimpleNamespace()) == link


def test_airflow_knows_the_link() -> None:
    """The provider's metadata names it: links of unknown classes are not shown."""
    path = f"{DbtCloudRunLink.__module__}.{DbtCloudRunLink.__qualname__}"
    assert path in get_provider_info()["extra-links"]
