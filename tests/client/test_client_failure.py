"""Why a run failed, told in the log."""

import logging
from typing import Any

import pytest
import responses

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, Run
from airflow_provider_dbtcloud_dlt.client.failure import report_failure
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

LOG = logging.getLogger("task")
RUN = "https://dbt.test/api/v2/accounts/7/runs/5/"
ENDED = Run.from_api({"id": 5, "status": 20})


def _step(index: int, status: int, logs: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": index, "index": index, "status": status, "name": f"step {index}", "logs": logs, **fields}


def _shows(server: responses.RequestsMock, *steps: dict[str, Any], **fields: Any) -> None:
    server.get(RUN, json={"data": {"id": 5, "status": 20, "run_steps": steps, **fields}})


def test_failing_step_and_the_end_of_its_log_are_told(
    cloud: DBTCloudClientV2, emu: Emulator, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As the emulator, and dbt Cloud, show them."""
    emu.script_job(
        emu.job_id,
        steps=[("dbt seed", "success", "Done."), ("dbt build", "error", "1 of 2\nDatabase Error in model x")],
    )
    run = cloud.wait_for_run(cloud.start_run(emu.job_id).id)
    message = report_failure(cloud, run, LOG, time.sleep)
    (record,) = [record for record in caplog.records if record.name == "task"]
    assert record.levelno == logging.ERROR
    assert (
        "'dbt build', ended as Error. The end of its log:\n1 of 2\nDatabase Error in model x"
        in record.message
    )
    assert message.startswith(f"Job run {run.id} has failed at step ")
    assert message.endswith(f", 'dbt build'. See {run.href}")


def test_only_the_end_of_a_long_log_is_told(
    client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """60 lines."""
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 20, "\n".join(f"line {number}" for number in range(100)) + "\n\n"))
        report_failure(client, ENDED, LOG, time.sleep)
    assert "log:\nline 40\n" in caplog.text
    assert caplog.messages[0].endswith("\nline 99")


def test_colours_are_stripped(client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture) -> None:
    """And other commands to a terminal."""
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 20, "\x1b[31mError\x1b[0m in \x1b[1;32mmodel\x1b[0m\x1b[K"))
        report_failure(client, ENDED, LOG, time.sleep)
    assert caplog.messages[0].endswith("\nError in model")


def test_log_that_comes_late_is_waited_for(
    client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """For some seconds."""
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 20))
        _shows(server, _step(1, 20, "Database Error"))
        report_failure(client, ENDED, LOG, time.sleep)
    assert caplog.messages[0].endswith("\nDatabase Error")
    assert time.slept == [0.0, 2.0]


def test_log_that_never_comes_is_not_waited_for(
    client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """For long."""
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 20))
        report_failure(client, ENDED, LOG, time.sleep)
    assert caplog.messages[0].endswith("\n(it has no log)")
    assert sum(time.slept) == 6.0


def test_steps_that_never_began_are_not_told(
    client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """dbt Cloud shows them as cancelled; there is no log to wait for."""
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 10, "ok"), _step(2, 20, "Error"), _step(3, 30), _step(4, 30, ""))
        message = report_failure(client, ENDED, LOG, time.sleep)
    assert [record.args[0] for record in caplog.records if record.args] == [2]  # type: ignore[index]
    assert message == "Job run 5 has failed at step 2, 'step 2'."
    assert sum(time.slept) == 0


def test_step_that_was_cut_short_is_told(
    client: DBTCloudClientV2, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a cancelled run, with dbt's reason in the sentence."""
    with responses.RequestsMock() as server:
        _shows(
            server,
            _step(1, 30, "1 of 2", started_at="2026-11-01 00:00:00+00:00"),
            status=30,
            status_message="Cancelled by user.",
            href="https://dbt.test/run/5",
        )
        message = report_failure(client, ENDED, LOG, time.sleep)
    assert "ended as Cancelled" in caplog.messages[0]
    assert message == (
        "Job run 5 has been cancelled at step 1, 'step 1': Cancelled by user. See https://dbt.test/run/5"
    )


@pytest.mark.parametrize("status", [401, 404, 500])
def test_steps_that_cannot_be_read_hide_nothing(
    time: Any, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """The run's own result is told all the same."""
    client = DBTCloudClientV2("t", 7, "https://dbt.test/api", retry_budget=0, sleep=time.sleep)
    run = Run.from_api({"id": 5, "status": 20, "status_message": "dbt failed"})
    with responses.RequestsMock() as server:
        server.get(RUN, status=status)
        message = report_failure(client, run, LOG, time.sleep)
    assert message == "Job run 5 has failed: dbt failed."
    assert "The steps of job run 5 could not be read." in caplog.text


def test_steps_seen_before_a_failure_are_told(time: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Though their logs could not be waited for."""
    client = DBTCloudClientV2("t", 7, "https://dbt.test/api", retry_budget=0, sleep=time.sleep)
    with responses.RequestsMock() as server:
        _shows(server, _step(1, 20))
        server.get(RUN, status=502)
        message = report_failure(client, ENDED, LOG, time.sleep)
    assert message == "Job run 5 has failed at step 1, 'step 1'."
