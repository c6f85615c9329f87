"""The example DAGs in a real Airflow, with real dlt and, behind the emulator, real dbt."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import duckdb
import pytest
from flights_stack import FlightsStack
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.airflow

JANUARY, FEBRUARY = (dt.datetime(2013, month, 1, tzinfo=dt.UTC) for month in (1, 2))
RUN_SECONDS = 180.0


@dataclass
class DagRun:
    """A DAG run that has ended, and what was seen while it ran."""

    stack: FlightsStack
    dag_id: str
    run_id: str
    state: str = ""
    seen: set[tuple[str, str]] = field(default_factory=set)
    """Each state that a task was seen in, as (task, state)."""
    processes_while_deferred: list[int] = field(default_factory=list)

    def watch(self) -> "DagRun":
        api = self.stack.airflow.api
        self.state = api.wait_for_run(
            self.dag_id, self.run_id, timeout=RUN_SECONDS, on_poll=self._look, interval=0.3
        )
        return self

    def _look(self, tasks: list[dict[str, Any]]) -> None:
        self.seen |= {(task["task_id"], task["state"]) for task in tasks}
        if any(task["state"] == "deferred" for task in tasks):
            self.processes_while_deferred.append(len(self.stack.airflow.task_processes()))

    def log(self, task_id: str) -> str:
        return self.stack.airflow.api.log(self.dag_id, self.run_id, task_id)

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self.stack.airflow.api.xcom(self.dag_id, self.run_id, task_id, key)

    def failures(self) -> str:
        """The logs of the tasks that failed, for a test's message."""
        tasks = self.stack.airflow.api.task_instances(self.dag_id, self.run_id)
        return "\n".join(self.log(task["task_id"]) for task in tasks if task["state"] == "failed")


def run_dag(stack: FlightsStack, dag_id: str, **when: Any) -> DagRun:
    api = stack.airflow.api
    api.wait_for_dag(dag_id)
    api.unpause(dag_id)
    return DagRun(stack, dag_id, api.trigger(dag_id, **when)).watch()


def query(stack: FlightsStack, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(stack.database), read_only=True) as connection:
        return connection.sql(sql).fetchall()


def flights_by_month(stack: FlightsStack) -> dict[int, int]:
    months = "select month(flight_date), sum(flights)::int from analytics.daily_summary group by all"
    return dict(query(stack, months))


@pytest.fixture(scope="module")
def january(stack: FlightsStack) -> DagRun:
    """The main job: load, transform, for January."""
    run = run_dag(stack, "flights_elt", logical_date=JANUARY, data_interval=(JANUARY, FEBRUARY))
    assert run.state == "success", run.failures()
    return run


@pytest.fixture(scope="module")
def broken(stack: FlightsStack, january: DagRun) -> DagRun:
    return run_dag(stack, "broken_job")


@pytest.fixture(scope="module")
def waited(stack: FlightsStack, january: DagRun) -> DagRun:
    return run_dag(stack, "wait_for_run")


@pytest.fixture(scope="module")
def weather(stack: FlightsStack, january: DagRun) -> DagRun:
    """January's weather alone, once more."""
    run = run_dag(stack, "weather_elt", logical_date=JANUARY, data_interval=(JANUARY, FEBRUARY))
    assert run.state == "success", run.failures()
    return run


@pytest.fixture(scope="module")
def no_weather(stack: FlightsStack, weather: DagRun) -> DagRun:
    """The last day of the year, of which there are no observations."""
    day = dt.datetime(2013, 12, 31, tzinfo=dt.UTC)
    run = run_dag(stack, "weather_elt", logical_date=day, data_interval=(day, day + dt.timedelta(1)))
    assert run.state == "success", run.failures()
    return run


@pytest.fixture(scope="module")
def planes(stack: FlightsStack, january: DagRun) -> tuple[DagRun, DagRun]:
    """A load, and the run of the second DAG that its asset has started."""
    api = stack.airflow.api
    for dag_id in ("planes_transform", "carriers_report"):
        api.wait_for_dag(dag_id)
        api.unpause(dag_id)
    load = run_dag(stack, "planes_load")
    assert load.state == "success", load.failures()
    return load, started_by_asset(stack, "planes_transform")


@pytest.fixture(scope="module")
def report(stack: FlightsStack, planes: tuple[DagRun, DagRun]) -> DagRun:
    """The run of the third DAG, which a model's asset has started."""
    return started_by_asset(stack, "carriers_report")


def started_by_asset(stack: FlightsStack, dag_id: str) -> DagRun:
    api = stack.airflow.api
    runs = api.until(
        lambda: api.dag_runs(dag_id), lambda: f"The asset has started no run of {dag_id}", RUN_SECONDS
    )
    run = DagRun(stack, dag_id, runs[0]["dag_run_id"]).watch()
    assert run.state == "success", run.failures()
    return run


def test_a_month_is_loaded_and_transformed(january):
    """The mart holds January's flights, each once."""
    counts = query(january.stack, "select sum(flights)::int from analytics.delays_by_carrier")
    assert counts == [(27004,)]


@pytest.fixture
def signed_in(stack: FlightsStack, browser: Browser) -> Iterator[Page]:
    """A tab of Airflow's web interface, after the visitor has signed in there."""
    airflow = stack.airflow
    with browser.new_context(viewport={"width": 1600, "height": 1000}) as context:
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(airflow.url)
        page.get_by_label("Username").fill(airflow.username)
        page.get_by_label("Password").fill(airflow.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/auth/" not in url)
        yield page


@pytest.mark.slow
def test_the_picture_of_the_run_is_beside_the_task(january, signed_in):
    """A tab of Airflow's web interface shows what dbt has run, with the visitor's session alone."""
    at = f"{january.stack.airflow.url}/dags/{january.dag_id}/runs/{quote(january.run_id)}/tasks/transform"
    signed_in.goto(at)
    signed_in.get_by_role("link", name="dbt run").click()
    page = signed_in.frame_locator("iframe[title='dbt run']")
    expect(page.get_by_role("heading")).to_contain_text("Success", timeout=60_000)
    expect(page.locator("#facts")).to_contain_text("The critical path, ")
    page.get_by_role("tab", name="Slowest").click()
    expect(page.get_by_role("button", name="model.flights.stg_flights")).to_be_visible()
    signed_in.screenshot(path=january.stack.folder / "run-picture.png")

    address = signed_in.locator("iframe[title='dbt run']").get_attribute("src")
    signed_in.context.clear_cookies()
    signed_in.goto(f"{january.stack.airflow.url}/{address}")
    expect(signed_in.get_by_role("status")).to_contain_text("You are signed out.")


def test_the_load_tells_what_it_did(january):
    """The load's result says how many rows went into which table."""
    summary = january.xcom("load")
    assert (summary["rows"]["flights"], summary["dataset_name"]) == (27004, "flights_raw")


def test_the_loads_log_holds_no_warning(january):
    """What dlt and Airflow have to settle between them, such as deprecated names, is nothing for the user."""
    records = january.stack.airflow.api.log_records(january.dag_id, january.run_id, "load")
    assert {record.get("level", "info") for record in records} == {"info"}, january.log("load")


def test_the_task_was_deferred(january):
    """While dbt worked the task was deferred: the triggerer waited for it."""
    assert ("transform", "deferred") in january.seen


def test_no_process_waits_for_dbt(january):
    """Once the worker has left, no task has a process until dbt is done."""
    looks = january.processes_while_deferred
    after_leaving = looks[looks.index(0) :]
    assert len(after_leaving) >= 5
    assert set(after_leaving) == {0}


def test_the_run_is_dbt_clouds(january):
    """What the task returns is the id of a run that dbt Cloud tells as successful."""
    run = january.stack.emulator.client.get_run(january.xcom("transform"))
    assert (run.status.humanized, run.job_definition_id) == ("Success", 1000)


def test_the_link_leads_to_the_run(january):
    """The address in the task's XCom is that of the run's page."""
    url = january.xcom("transform", "job_run_url")
    assert f"/runs/{january.xcom('transform')}" in url


@pytest.mark.slow
def test_a_sensor_waits_for_another_tasks_run(waited):
    """The sensor ends when the run does, and the next task reads the run's artifacts."""
    assert waited.state == "success", waited.failures()
    assert len(waited.xcom("slowest_tests")) == 3


@pytest.mark.slow
def test_the_sensor_was_deferred(waited):
    """The sensor holds no worker either."""
    assert ("wait", "deferred") in waited.seen


@pytest.mark.slow
def test_both_tasks_mean_the_same_run(waited):
    """The run that was waited for is the one that the first task started, of the job that tests."""
    run = waited.stack.emulator.client.get_run(waited.xcom("start"))
    assert (run.status.humanized, run.job_definition_id) == ("Success", 1001)


@pytest.mark.slow
def test_only_what_depends_on_the_loaded_table_is_built(weather):
    """Of the project's eight models those two that depend on the weather ran."""
    client = weather.stack.emulator.client
    run = client.get_run(weather.xcom("weather.transform"), ["trigger"])
    results = json.loads(client.get_artifact(run.id, "run_results.json", step=3))["results"]
    assert run.trigger.steps_override == ("dbt build --select source:flights_raw.weather+",)
    assert {
        node["unique_id"].split(".")[2] for node in results if node["unique_id"].startswith("model.")
    } == {
        "stg_weather",
        "daily_summary",
    }


@pytest.mark.slow
def test_without_new_rows_there_is_no_dbt_run(no_weather):
    """The load has nothing, the dbt task is skipped and says so, and dbt Cloud is asked for no run."""
    assert no_weather.xcom("weather.load")["nothing_loaded"] is True
    assert ("weather.transform", "skipped") in no_weather.seen
    assert no_weather.xcom("weather.transform", "job_run_id") is None
    records = no_weather.stack.airflow.api.log_records("weather_elt", no_weather.run_id, "weather.transform")
    reasons = [record["reason"] for record in records if "reason" in record]
    assert reasons == ["Nothing was loaded by weather: no dbt run is started."]


@pytest.mark.slow
def test_an_asset_starts_the_second_dag(planes):
    """The load's event is what the second DAG's run is due to, and it is the only run."""
    load, transform = planes
    api = transform.stack.airflow.api
    (run,) = api.dag_runs("planes_transform")
    events = api.upstream_asset_events("planes_transform", run["dag_run_id"])
    assert run["run_type"] == "asset_triggered"
    assert [(event["source_run_id"], event["uri"]) for event in events] == [
        (load.run_id, "duckdb://flights/flights_raw/planes")
    ]


@pytest.mark.slow
def test_the_event_tells_the_second_dag_what_was_loaded(planes):
    """Rows and load ids are those of the load's summary; a template of the second DAG has read the rows."""
    load, transform = planes
    summary = load.xcom("load")
    (event,) = transform.stack.airflow.api.upstream_asset_events("planes_transform", transform.run_id)
    run = transform.stack.emulator.client.get_run(transform.xcom("transform"), ["trigger"])
    assert event["extra"]["rows"] == summary["rows"]["planes"] == 3322
    assert event["extra"]["load_ids"] == summary["load_ids"]
    assert run.trigger.cause.endswith("] Planes loaded: 3322")


@pytest.mark.slow
def test_a_models_asset_starts_the_third_dag(planes, report):
    """The event is of the second DAG's run, and tells which dbt run has built which node."""
    _, transform = planes
    (event,) = report.stack.airflow.api.upstream_asset_events("carriers_report", report.run_id)
    assert event["uri"] == "duckdb://flights/analytics/delays_by_carrier"
    assert event["source_run_id"] == transform.run_id
    assert event["extra"]["node"] == "model.flights.delays_by_carrier"
    assert event["extra"]["run_id"] == transform.xcom("transform")


def test_dbts_results_are_in_the_log(january):
    """Models and tests, with the summary in an XCom."""
    told = january.xcom("transform", "dbt_cloud_run_results")
    assert told["status"] == "Success"
    assert f"{told['nodes']} nodes: " in january.log("transform")
    assert "model  daily_summary " in january.log("transform")


def test_the_log_names_the_failed_tests(broken):
    """And so does the summary, of a task that has failed."""
    told = broken.xcom("transform", "dbt_cloud_run_results")
    assert told["failed_count"] == len(told["failed"]) > 0
    assert f"{told['failed_count']} of {told['nodes']} nodes failed: test.flights." in broken.log("transform")


def test_a_failed_dbt_run_fails_the_task(broken):
    """The task fails when its dbt run does."""
    assert broken.state == "failed"


def test_the_log_names_the_failing_step(broken):
    """The task's log says which step failed, with the end of dbt's own log."""
    log = broken.log("transform")
    assert "dbt test --select daily_summary" in log
    assert "not_null_daily_summary_flight_date" in log


def test_no_token_is_in_a_log(january, broken):
    """Neither a good nor a failed run's log holds the token."""
    token = january.stack.emulator.token
    assert token not in january.log("load") + january.log("transform") + broken.log("transform")


@pytest.mark.slow
def test_a_backfill_adds_its_month(january):
    """Airflow's backfill of February adds February's flights to January's, and changes nothing else."""
    stack, api = january.stack, january.stack.airflow.api
    before = flights_by_month(stack)
    api.backfill("flights_elt", FEBRUARY, FEBRUARY)
    run_id = next(run["dag_run_id"] for run in api.dag_runs("flights_elt") if run["run_type"] == "backfill")
    run = DagRun(stack, "flights_elt", run_id).watch()
    assert run.state == "success", run.failures()
    assert (before, flights_by_month(stack)) == ({1: 27004}, {1: 27004, 2: 24951})
