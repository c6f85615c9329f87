"""The token lives in the connection and goes into one header: it is nowhere else that anybody looks."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from processes import isolated_environment

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

PROGRAM = Path(__file__).with_name("run_with_a_secret.py")


@pytest.fixture(scope="module")
def in_airflow(tmp_path_factory) -> dict[str, Any]:
    """What tasks of all kinds have left in a real Airflow's database, and have said at debug level.

    Airflow's own masking of secrets is off.
    """
    folder = tmp_path_factory.mktemp("secret")
    answer = folder / "answer.json"
    shutil.copytree(PROGRAM.parent / "dags", folder / "airflow" / "dags")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(answer)],
        cwd=folder,
        env=isolated_environment(folder)
        | {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.exists(), done.stdout[-5000:]
    logs = [done.stdout, *(path.read_text() for path in folder.rglob("*.log"))]
    return {**json.loads(answer.read_text()), "logs": "\n".join(logs)}


@pytest.mark.slow
def test_the_tasks_have_run(in_airflow):
    """The tests below look at what six tasks that succeeded have left, and two that failed."""
    states = in_airflow["states"]
    assert {task for task, state in states.items() if state == "failed"} == {"failed", "lost"}
    assert len([state for state in states.values() if state == "success"]) == 6


@pytest.mark.slow
def test_a_default_is_no_template(in_airflow):
    """A cause of the connection's that looks like one reaches dbt Cloud as it stands."""
    assert any(cause.endswith("{{ conn.dbt_cloud_default.password }}") for cause in in_airflow["causes"])
    assert in_airflow["token"] not in "".join(in_airflow["causes"])


@pytest.mark.slow
def test_no_row_of_the_database_has_it(in_airflow):
    """XComs, rendered templates, serialized DAGs, triggers, logs: all tables, though much is in them."""
    assert "job_run_url" in in_airflow["database"]
    assert "rendered_task_instance_fields" in in_airflow["database"]
    assert in_airflow["token"] not in in_airflow["database"]


@pytest.mark.slow
def test_no_stored_trigger_has_it(in_airflow):
    """What Airflow encrypts of a trigger holds the connection's id."""
    assert len(in_airflow["triggers"]) >= 3
    assert all("dbt_cloud_default" in row for row in in_airflow["triggers"])
    assert in_airflow["token"] not in "".join(in_airflow["triggers"])


@pytest.mark.slow
def test_no_log_has_it_at_debug_level(in_airflow):
    """Neither our lines nor those of what we call, though the HTTP library tells of each request.

    Airflow itself, whose masking is off, tells of the message by which it asks for the masking of the secret.
    """
    lines = in_airflow["logs"].splitlines()
    assert any("It broke." in line for line in lines)
    assert any("GET /api/v2/accounts/" in line.replace('"', "") for line in lines)
    shown = [line for line in lines if in_airflow["token"] in line]
    assert [line for line in shown if "type='MaskSecret'" not in line] == []


def test_no_url_has_it():
    """It is in the header of each request and nowhere else of it."""
    token = "dbtu_a-token-of-this-test"
    client = DBTCloudClientV2(token, 7, "https://dbt.test/api", retry_budget=0)
    with responses.RequestsMock() as server:
        run = {"data": {"id": 5, "status": 10, "job_definition_id": 3}, "extra": {}}
        server.get("https://dbt.test/api/v2/accounts/7/runs/5/", json=run)
        server.post("https://dbt.test/api/v2/accounts/7/jobs/3/run/", json=run)
        server.get("https://dbt.test/api/v2/accounts/7/runs/5/artifacts/manifest.json", body=b"{}")
        client.get_run(5)
        client.start_run(3, {"cause": "Why"})
        client.get_artifact(5, "manifest.json")
        asked = [call.request for call in server.calls]
    assert [request.headers["Authorization"] for request in asked] == [f"Token {token}"] * 3
    for request in asked:
        others = {name: value for name, value in request.headers.items() if name != "Authorization"}
        assert token not in f"{request.url} {request.body} {others}"


@pytest.mark.parametrize("host", ["dbt.test", "127.0.0.1:1"])
def test_no_exception_has_it(host, caplog):
    """Neither its words nor what it was raised from, whether there is an answer or none."""
    caplog.set_level(logging.DEBUG)
    token = "dbtu_a-token-of-this-test"
    client = DBTCloudClientV2(token, 7, f"https://{host}/api", retry_budget=0, timeout=5)
    with pytest.raises(DbtCloudError) as raised:
        client.get_run(5)
    chain: BaseException | None = raised.value
    while chain is not None:
        assert token not in f"{chain!r} {chain} {vars(chain)}"
        chain = chain.__cause__ or chain.__context__
    assert token not in caplog.text


def test_no_page_of_the_emulator_has_it():
    """Lists, runs, logs, artifacts, and the pages of what is not there."""
    with emulator(lag=0) as emu:
        step = ("Invoke dbt with `dbt build`", "error", "It broke.")
        emu.script_job(emu.job_id, steps=[step], artifacts={"run_results.json": '{"results": []}'})
        run_id = emu.trigger()
        top = requests.get(emu.url, timeout=5).text
        address = f"/deploy/{emu.account_id}/projects/1/runs/{run_id}/"
        paths = {"/", "/nothing/", *(part.split('"')[0] for part in top.split('href="')[1:])} | {address}
        pages = {path: requests.get(emu.url + path, timeout=5).text for path in paths if path.startswith("/")}
        assert any(str(run_id) in path for path in pages)
        assert {path for path, text in pages.items() if emu.token in text} == set()
