"""The connection's form in a real browser and a real Airflow: made, changed, tested, and used by a task."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import browser
import pytest
from connection_form import ConnectionsPage, connections_page
from flights_stack import ACCOUNT_ID, FlightsStack
from playwright.sync_api import expect

from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS, CONNECTION_FORM, REACHING

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.slow]

CONNECTION, DAG = "dbt_of_the_form", "form_connection"
RUN_SECONDS = 180.0
EXTRA = "Extra Fields"
"""The part of the form with the fields that are in none of their own; Airflow 3.1 knows no other."""


@pytest.fixture(scope="module")
def connections(stack: FlightsStack) -> Iterator[ConnectionsPage]:
    """The page with the list of connections."""
    found = browser.find()
    if found is None:
        if os.environ.get("EXPECT_BROWSER"):
            pytest.fail(browser.MISSING)
        pytest.skip(browser.MISSING)
    with connections_page(stack.airflow, found, viewport={"width": 1280, "height": 1400}) as opened:
        yield opened


def job_id(stack: FlightsStack, name: str) -> str:
    """The number of one of the emulator's jobs."""
    (job,) = stack.emulator.client.list_jobs(name__icontains=name)
    return str(job.id)


@pytest.fixture(scope="module")
def form(stack: FlightsStack, connections: ConnectionsPage) -> ConnectionsPage:
    """The page, with a connection that was made in the form."""
    address = urlsplit(stack.emulator.url)
    connections.open_new(CONNECTION)
    connections.fill(
        {
            "host": f"{address.scheme}://{address.hostname}",
            "port": address.port,
            "login": ACCOUNT_ID,
            "password": stack.emulator.token,
        }
    )
    connections.section(EXTRA)
    connections.fill({"extra.job_id": job_id(stack, "Quick"), "extra.cause": "Of the form"})
    connections.save()
    return connections


def stored(stack: FlightsStack) -> dict[str, Any]:
    """The connection as Airflow's API shows it."""
    return dict(stack.airflow.api.request("GET", f"connections/{CONNECTION}"))


def test_fields_are_called_as_in_dbt_cloud(connections: ConnectionsPage) -> None:
    """Labels, what empty fields show, and the help texts; fields without a meaning are hidden."""
    connections.open_new("not_saved")
    form = connections.form
    for name, label in CONNECTION_FORM["relabeling"].items():
        expect(form.get_by_text(label, exact=True)).to_be_visible()
        expect(connections.field(name)).to_have_attribute(
            "placeholder", CONNECTION_FORM["placeholders"][name]
        )
    expect(connections.field("schema")).to_have_count(0)
    expect(connections.field("password")).to_have_attribute("type", "password")
    has_parts = REACHING in [part.inner_text() for part in form.get_by_role("button").all()]
    for key, field in CONNECTION_FIELDS.items():
        part = field["schema"].get("section", EXTRA) if has_parts else EXTRA
        if not connections.field(f"extra.{key}").is_visible():
            connections.section(part)
        for text in (field["label"], field["description"]):
            expect(form.get_by_text(text, exact=True)).to_be_visible()
    form.get_by_role("button", name="Close").click()


def test_token_is_masked(stack: FlightsStack, form: ConnectionsPage) -> None:
    """Neither the form nor the list nor Airflow's API show it again."""
    form.open_stored(CONNECTION)
    expect(form.field("password")).to_have_value("***")
    form.form.get_by_role("button", name="Close").click()
    assert stack.emulator.token not in form.page.content()
    assert stored(stack)["password"] == "***"


def test_ids_are_kept_as_they_were_typed(stack: FlightsStack, form: ConnectionsPage) -> None:
    """The mouse's wheel, turned over a field that was just filled, changes nothing."""
    form.open_stored(CONNECTION)
    form.section(EXTRA)
    field = form.field("extra.job_id")
    typed = field.input_value()
    field.click()
    field.hover()
    form.page.mouse.wheel(0, 200)
    expect(field).to_have_value(typed)
    form.form.get_by_role("button", name="Close").click()


def test_token_outlives_an_edit(stack: FlightsStack, form: ConnectionsPage) -> None:
    """Saved without typing the token again, the connection still opens the account."""
    form.open_stored(CONNECTION)
    form.section(EXTRA)
    form.fill({"extra.cause": "Of its edit"})
    form.save()
    assert json.loads(stored(stack)["extra"])["cause"] == "Of its edit"
    good, said = form.test(CONNECTION)
    assert good, said


def test_answer_of_the_button(stack: FlightsStack, form: ConnectionsPage) -> None:
    """It names account, token, job and project."""
    good, said = form.test(CONNECTION)
    assert good
    assert said.startswith("Connected to account 'Flights of New York City' (2013) at 127.0.0.1:")
    assert f"the default job is 'Quick' ({job_id(stack, 'Quick')}) in project 'Flights'" in said


def test_task_uses_the_connection(stack: FlightsStack, form: ConnectionsPage) -> None:
    """A task runs the connection's default job, for its reason."""
    api = stack.airflow.api
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    dag_run = api.trigger(DAG)
    state = api.wait_for_run(DAG, dag_run, timeout=RUN_SECONDS)
    assert state == "success", api.log(DAG, dag_run, "run")
    run = stack.emulator.client.get_run(api.xcom(DAG, dag_run, "run"), ["trigger"])
    assert str(run.job_definition_id) == job_id(stack, "Quick")
    assert run.trigger is not None
    assert str(run.trigger.cause).endswith(json.loads(stored(stack)["extra"])["cause"])


def test_answer_of_a_button_that_fails(stack: FlightsStack, form: ConnectionsPage) -> None:
    """The sentence says what is wrong and what to do; and Airflow shows it."""
    other = "dbt_of_nobody"
    form.open_new(other)
    address = urlsplit(stack.emulator.url)
    form.fill(
        {
            "host": f"{address.scheme}://{address.hostname}",
            "port": address.port,
            "login": "2031",
            "password": stack.emulator.token,
        }
    )
    form.save()
    good, said = form.test(other)
    assert not good
    assert "opens account 'Flights of New York City' (2013), not 2031: is 2013 the Account ID?" in said
    expect(form.page.get_by_text(said)).to_be_visible()
