"""A run's results read from the artifacts of its steps, and told in a log."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from dbt_artifacts import manifest, result, run_results

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, Run
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator
from airflow_provider_dbtcloud_dlt.run_results import opened_results, report_results

LOG = logging.getLogger("task")
API = "https://dbt.test/api/v2/accounts/7/runs/5"
LATE_STEPS = [("Invoke dbt with `dbt build`", "success", "")]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "task")


class Cloud:
    """A run of dbt steps, by number; each has the artifacts that are given."""

    def __init__(self, server: responses.RequestsMock, **steps: dict[str, str]) -> None:
        self.server = server
        known = [
            {"id": int(one[1:]), "index": int(one[1:]), "status": 10, "name": "dbt build"} for one in steps
        ]
        self.run = Run.from_api({"id": 5, "status": 10, "run_steps": known})
        self.client = DBTCloudClientV2("t", 7, "https://dbt.test/api", retry_budget=0)
        for name, files in steps.items():
            query = [responses.matchers.query_param_matcher({"step": name[1:]})]
            server.get(f"{API}/artifacts/", json={"data": [*files]}, match=query)
            for path, content in files.items():
                server.get(f"{API}/artifacts/{path}", body=content, match=query)

    def asked(self, path: str) -> list[str]:
        """Which steps were asked for an artifact."""
        calls = [call.request.url or "" for call in self.server.calls]
        return [url.rpartition("=")[2] for url in calls if f"/{path}?" in url]

    def outcome(self) -> Any:
        with opened_results(self.client, self.run, LOG) as (_, outcome):
            return outcome


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_results_of_all_steps(server: responses.RequestsMock) -> None:
    """The last step's manifest says what there is to say of them: it is the only one read."""
    whole = manifest(a={}, b={})
    cloud = Cloud(
        server,
        s3={"run_results.json": run_results(result("model.shop.a")), "manifest.json": whole},
        s4={"run_results.json": run_results(result("model.shop.b")), "manifest.json": whole},
    )
    outcome = cloud.outcome()
    assert {one.unique_id: one.step for one in outcome.results.values()} == {
        "model.shop.a": 3,
        "model.shop.b": 4,
    }
    assert outcome.nodes.keys() == outcome.results.keys()
    assert cloud.asked("manifest.json") == ["4"]


def test_relation_of_another_target(server: responses.RequestsMock) -> None:
    """A step that has built into another schema has its own manifest read."""
    own = manifest(a={"schema": "dev", "relation_name": '"wh"."dev"."a"'})
    built = run_results(result("model.shop.a", relation_name='"wh"."dev"."a"'))
    cloud = Cloud(
        server,
        s3={"run_results.json": built, "manifest.json": own},
        s4={"run_results.json": run_results(result("model.shop.b")), "manifest.json": manifest(a={}, b={})},
    )
    assert cloud.outcome().nodes["model.shop.a"].schema == "dev"


def test_results_that_are_shown_again(server: responses.RequestsMock) -> None:
    """A step that writes none may show those of the step before: they are that one's."""
    same = {"run_results.json": run_results(result("model.shop.a"))}
    assert Cloud(server, s3=same, s4=same).outcome().results["model.shop.a"].step == 3


def test_run_without_manifest(server: responses.RequestsMock) -> None:
    """The results are told all the same."""
    cloud = Cloud(server, s3={"run_results.json": run_results(result("model.shop.a", "error", message="no"))})
    assert report_results(cloud.client, cloud.run, LOG) == "1 of 1 node failed: model.shop.a (no)"


@pytest.mark.parametrize("content", ["", "{}", "<html>", '{"results": ['])
def test_results_that_cannot_be_read(
    server: responses.RequestsMock, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    """One line says so; other steps' are told."""
    cloud = Cloud(
        server,
        s3={"run_results.json": content},
        s4={"run_results.json": run_results(result("model.shop.a")), "manifest.json": content},
    )
    assert report_results(cloud.client, cloud.run, LOG) == ""
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith("run_results.json of step 3 can't be read")
    assert "1 node: 1 success" in caplog.text


def test_artifacts_that_cannot_be_listed(
    server: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    """The run's result stands; one line says what is missing."""
    client = DBTCloudClientV2("t", 7, "https://dbt.test/api", retry_budget=0)
    server.get(f"{API}/", status=502)
    assert report_results(client, Run.from_api({"id": 5, "status": 10}), LOG) == ""
    (record,) = caplog.records
    assert (record.levelno, record.message[:42]) == (
        logging.WARNING,
        "The results of job run 5 can't be told: Se",
    )


def test_use_that_fails_hinders_no_other(
    server: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one warning."""
    cloud = Cloud(server, s3={"run_results.json": run_results(result("model.shop.a"))})
    seen: list[int] = []

    def fail(*_: Any) -> None:
        raise OSError("bucket is\ngone")

    report_results(cloud.client, cloud.run, LOG, [fail, lambda _, outcome: seen.append(len(outcome.results))])
    assert seen == [1]
    assert caplog.messages[-1].endswith("could be used: OSError: bucket is gone")


def test_file_that_is_too_large_here(
    server: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the triggerer, where decoding it would hold others up."""
    cloud = Cloud(server, s3={"run_results.json": run_results(result("model.shop.a"))})
    report_results(cloud.client, cloud.run, LOG, max_bytes=10)
    assert "run_results.json of step 3 is not read here" in caplog.text


def _late(steps: Any, **artifacts: str) -> tuple[list[float], str]:
    """Report a run that has just ended, whose artifacts come after five seconds; return the waits."""
    with emulator(clock="virtual", lag=5) as late:
        late.script_job(late.job_id, steps=steps, artifacts=artifacts)
        client = DBTCloudClientV2(late.token, late.account_id, f"{late.url}/api")
        run = client.get_run(late.trigger(), include_related=["run_steps"])
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            late.clock.advance(seconds)

        return slept, report_results(client, run, LOG, sleep=sleep)


def test_artifacts_that_come_late_are_waited_for() -> None:
    """For some seconds."""
    failed = {"run_results.json": run_results(result("model.shop.a", "error", message="no"))}
    assert _late(LATE_STEPS, **failed) == ([1.0, 2.0, 4.0], "1 of 1 node failed: model.shop.a (no)")


def test_artifacts_that_never_come_are_not_waited_for_long() -> None:
    """A run that crashed early has none."""
    slept, told = _late(LATE_STEPS)
    assert (sum(slept), told) == (15.0, "")


def test_emulators_results_are_told(emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """By a client of a run that ended in the emulator."""
    emu.script_job(emu.job_id, artifacts={"run_results.json": run_results(result("model.shop.a"))})
    client = DBTCloudClientV2(emu.token, emu.account_id, f"{emu.url}/api")
    assert report_results(client, client.get_run(emu.trigger()), LOG) == ""
    assert (
        "1 node: 1 success\nkind   name  status   seconds  rows\nmodel  a     success      1.0" in caplog.text
    )
