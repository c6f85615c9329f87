"""Which sensors begin in the triggerer, what Airflow stores for that, and what is left to a worker."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator, Param, TaskGroup, task, task_group
from airflow.serialization import serialized_objects
from pytest_mock import MockerFixture

from airflow_provider_dbtcloud_dlt.compat import (
    STARTS_IN_TRIGGERER,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor
from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import DbtCloudRunSensorTrigger

MakeContext = Callable[..., Any]

pytestmark = pytest.mark.skipif(not STARTS_IN_TRIGGERER, reason="here, sensors begin on a worker")


def do_nothing(*_: Any) -> None: ...


def sensor(run_id: Any = 7, **arguments: Any) -> DbtCloudJobRunSensor:
    return DbtCloudJobRunSensor(**{"task_id": "wait", "run_id": run_id, **arguments})


def arguments_of(one: DbtCloudJobRunSensor) -> dict[str, Any]:
    """What a sensor gives to its trigger."""
    assert one.start_from_trigger is True
    assert one.start_trigger_args is not None
    return one.start_trigger_args.trigger_kwargs


@pytest.fixture
def dag() -> DAG:
    """A DAG with a task that starts a run, and one param."""
    with DAG("elt", schedule=None, params={"run": 7}) as made:
        BaseOperator(task_id="start")
    return made


def test_sensor_begins_in_the_triggerer() -> None:
    """By default, where nothing is lost."""
    assert sensor().start_from_trigger is True


def test_argument_turns_it_off() -> None:
    """With start_in_triggerer=False it begins on a worker."""
    one = sensor(start_in_triggerer=False)
    assert (one.start_from_trigger, one.start_trigger_args) == (False, None)


def test_older_airflow(mocker: MockerFixture) -> None:
    """An Airflow that can't do it is not asked to."""
    mocker.patch("airflow_provider_dbtcloud_dlt.sensors.starting.STARTS_IN_TRIGGERER", False)
    assert sensor().start_from_trigger is False


def test_triggerers_with_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger that no worker made has no queue, and perhaps no triggerer."""
    monkeypatch.setenv("AIRFLOW__TRIGGERER__QUEUES_ENABLED", "True")
    assert sensor().start_from_trigger is False


@pytest.mark.parametrize(
    "arguments",
    [
        {"deferrable": False},
        {"pool": "dbt"},
        {"pool_slots": 2},
        {"max_active_tis_per_dag": 1},
        {"max_active_tis_per_dagrun": 1},
        {"on_execute_callback": do_nothing},
        {"pre_execute": do_nothing},
        {"post_execute": do_nothing},
        {"params": {"more": Param(type="integer")}},
        {"params": {"run": Param(type="string")}},
    ],
    # The processes that share the tests have to name them alike, which an object's address does not.
    ids=lambda arguments: f"{[*arguments]}",
)
def test_what_needs_a_worker_first(dag: DAG, arguments: dict[str, Any]) -> None:
    """Limits and hooks of which the triggerer knows nothing."""
    assert sensor(dag=dag, **arguments).start_from_trigger is False


def test_cluster_policy_counts() -> None:
    """What is set after the sensor was made is heeded, for Airflow asks when it stores the DAG."""
    one = sensor()
    one.pool = "dbt"
    assert one.start_from_trigger is False


def test_subclass() -> None:
    """The triggerer does not know what a subclass does."""

    class Own(DbtCloudJobRunSensor):
        def poke(self, context: Any) -> Any:
            return super().poke(context)

    assert Own(task_id="wait", run_id=7).start_from_trigger is False


def test_mapped_sensor(dag: DAG) -> None:
    """Airflow would give each of its instances the same arguments."""
    mapped = DbtCloudJobRunSensor.partial(task_id="wait", dag=dag).expand(run_id=[1, 2])
    assert (mapped.start_from_trigger, mapped.start_trigger_args) == (False, None)


def test_sensor_in_a_mapped_group(dag: DAG) -> None:
    """Likewise."""
    found = []

    @task_group
    def each(run_id: int) -> None:
        found.append(sensor(task_id="wait"))

    with dag:
        each.expand(run_id=[1, 2])
    assert found[0].start_from_trigger is False


def test_sensor_in_a_group(dag: DAG) -> None:
    """A plain group is nothing special."""
    with dag, TaskGroup("group"):
        assert sensor().start_from_trigger is True


# --- which run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_id", "key"),
    [
        ("{{ ti.xcom_pull(task_ids='start') }}", "return_value"),
        ("{{ti.xcom_pull('start')}}", "return_value"),
        ("{{ task_instance.xcom_pull(task_ids='start', key='job_run_id') }}", "job_run_id"),
        ("{{ ti.xcom_pull(task_ids='start', dag_id='elt', key='return_value') }}", "return_value"),
    ],
)
def test_xcom_by_template(dag: DAG, run_id: str, key: str) -> None:
    """The XCom is asked for by itself: the template would be waited for without end."""
    arguments = arguments_of(sensor(run_id, dag=dag))
    assert (arguments["upstream"], arguments["run_id"]) == (("start", key), None)


@pytest.mark.parametrize("key", ["return_value", "job_run_id"])
def test_xcom_by_output(dag: DAG, key: str) -> None:
    """So is another task's output."""
    arguments = arguments_of(sensor(dag.get_task("start").output[key], dag=dag))
    assert (arguments["upstream"], arguments["run_id"]) == (("start", key), None)


def test_output_in_a_text(dag: DAG) -> None:
    """An output that was put into a text is a template again."""
    assert arguments_of(sensor(f"{dag.get_task('start').output}", dag=dag))["upstream"][0] == "start"


@pytest.mark.parametrize(
    "run_id",
    [
        "{{ params.run }}",
        "{{ dag_run.conf['run_id'] }}",
        "{{ var.value.run }}",
        "{% if params.run %}{{ params.run }}{% endif %}",
    ],
)
def test_template_that_the_triggerer_renders(dag: DAG, run_id: str) -> None:
    """It is handed over as it is."""
    assert arguments_of(sensor(run_id, dag=dag))["run_id"] == run_id


@pytest.mark.parametrize(
    "run_id",
    [
        "{{ ti.xcom_pull(task_ids='start') + 1 }}",
        "{{ ti.xcom_pull(task_ids='start', include_prior_dates=True) }}",
        "{{ ti.xcom_pull(task_ids='start', dag_id='other') }}",
        "{{ ti.xcom_pull(task_ids=['start']) }}",
        "{{ ti.xcom_pull(task_ids=params.run) }}",
        "{{ ti.xcom_pull(task_ids='nobody') }}",
        "{{ ti.xcom_pull() }}",
        "{{ triggering_asset_events }}",
        "{{ prev_start_date_success }}",
        "{{ inlet_events }}",
        "{{ our_macro() }}",
        "{{ broken",
    ],
)
def test_template_that_only_a_worker_renders(dag: DAG, run_id: str) -> None:
    """Of what it names the triggerer has nothing, or something else."""
    assert sensor(run_id, dag=dag).start_from_trigger is False


@pytest.mark.parametrize(
    "settings",
    [{"user_defined_macros": {"params": 1}}, {"user_defined_filters": {"int": int}}],
    ids=["macros", "filters"],
)
def test_dag_with_its_own_ways_of_rendering(settings: dict[str, Any]) -> None:
    """They are not stored with the DAG."""
    with DAG("elt", schedule=None, **settings):
        assert sensor("{{ params.run }}").start_from_trigger is False


@pytest.mark.parametrize("field", ["dbt_cloud_conn_id", "account_id"])
def test_xcom_elsewhere(dag: DAG, field: str) -> None:
    """Connection and account are rendered in the triggerer, but may be no XCom."""
    value = dag.get_task("start").output
    assert sensor(dag=dag, **{field: value}).start_from_trigger is False
    assert sensor(dag=dag, task_id="b", **{field: "{{ params.run }}"}).start_from_trigger is True


def test_output_of_a_mapped_task(dag: DAG) -> None:
    """It would be a list."""
    mapped = DbtCloudJobRunSensor.partial(task_id="many", dag=dag).expand(run_id=[1, 2])
    assert sensor(mapped.output, dag=dag).start_from_trigger is False


def test_output_that_is_changed_on_the_way(dag: DAG) -> None:
    """The function is not stored."""
    assert sensor(dag.get_task("start").output.map(str), dag=dag).start_from_trigger is False


# --- what is stored -----------------------------------------------------------------------------------------


def stored(made: DAG, task_id: str) -> Any:
    """A task as the scheduler reads it."""
    serialization = serialized_objects.DagSerialization
    return serialization.from_dict(json.loads(json.dumps(serialization.to_dict(made)))).get_task(task_id)


def test_stored_arguments_build_the_trigger(dag: DAG) -> None:
    """They survive Airflow's tables of DAGs and of triggers."""
    from airflow.models.trigger import Trigger
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    hook_params = {
        "timeout": (3, 4),
        "proxies": {"https": "http://proxy:3128"},
        "retry_args": {"stop": object()},
    }
    one = sensor(dag.get_task("start").output, dag=dag, hook_params=hook_params, soft_fail=True, retries=2)
    start = stored(dag, "wait").start_trigger_args
    row = Trigger(classpath=start.trigger_cls, kwargs=start.trigger_kwargs)
    kwargs = Trigger._decrypt_kwargs(row.encrypted_kwargs)
    built = DbtCloudRunSensorTrigger(
        **{name: smart_decode_trigger_kwargs(value) for name, value in kwargs.items()}
    )
    assert built.serialize()[1] == arguments_of(one)
    assert built.hook_params == {name: hook_params[name] for name in ("timeout", "proxies")}


def test_stored_sensor_begins_in_the_triggerer(dag: DAG) -> None:
    """The scheduler sees it."""
    sensor(dag=dag)
    assert stored(dag, "wait").start_from_trigger is True


def test_stored_mapped_sensor_does_not(dag: DAG) -> None:
    """Nor does a mapped one after it was stored."""
    DbtCloudJobRunSensor.partial(task_id="wait", dag=dag).expand(run_id=[1, 2])
    assert not stored(dag, "wait").start_from_trigger


@pytest.mark.parametrize(("given", "stored_interval"), [({}, None), ({"poke_interval": 7}, 7)])
def test_interval(given: dict[str, Any], stored_interval: float | None) -> None:
    """Where none is given the poller finds its own."""
    assert arguments_of(sensor(**given))["poll_interval"] == stored_interval


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"timeout": 100}, 700),
        ({"timeout": 100, "execution_timeout": timedelta(seconds=30)}, 30),
        ({"timeout": 100, "execution_timeout": timedelta(hours=1)}, 700),
    ],
)
def test_airflows_own_limit(limits: dict[str, Any], seconds: float) -> None:
    """It is the execution_timeout, or well after the sensor's time-out, should no triggerer keep that."""
    start = sensor(**limits).start_trigger_args
    assert start is not None
    assert start.timeout == timedelta(seconds=seconds)


# --- what a worker ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        ({}, set()),
        ({"retries": 1}, {"timeout"}),
        ({"outlets": [Asset("tables")]}, {"success"}),
        ({"on_success_callback": do_nothing}, {"success"}),
        ({"on_skipped_callback": do_nothing}, {"skip"}),
        ({"on_failure_callback": do_nothing}, {"failure", "timeout"}),
        ({"on_retry_callback": do_nothing}, {"failure", "timeout"}),
    ],
)
def test_outcomes_on_a_worker(arguments: dict[str, Any], outcomes: set[str]) -> None:
    """Assets, callbacks, and a time-out that must not be followed by a retry."""
    assert set(arguments_of(sensor(**{"retries": 0, **arguments}))["on_worker"]) == outcomes


def test_dag_that_fails_fast() -> None:
    """Airflow ends the DAG's other tasks when a worker's fails."""
    with DAG("elt", schedule=None, fail_fast=True):
        assert set(arguments_of(sensor())["on_worker"]) == {"failure", "timeout"}


def test_result_that_a_task_is_expanded_over(dag: DAG) -> None:
    """A worker says that a number can't be expanded over: without its word the DAG would wait for ever."""

    @task
    def each(value: int) -> None: ...

    with dag:
        one, other = sensor(task_id="one"), sensor(task_id="other")
        each.expand(value=one.output)
        each.expand(value=[other.output])
    assert arguments_of(one)["on_worker"] == ["success"]
    assert arguments_of(other)["on_worker"] == []


def ended(status: str, run_id: int, **limits: Any) -> dict[str, Any]:
    """The event with which the trigger hands over to a worker."""
    limits = {"end_time": time.time() + 60, "execution_deadline": None, **limits}
    return {"status": status, "run_id": run_id, "message": "so it was", **limits}


def resumed(run_id: int, context: Any, event: Any, **arguments: Any) -> Any:
    # The scripted runs leave no results, which would be waited for.
    waiting = sensor(run_id, **{"log_results": False, **arguments})
    return waiting.resume_execution("resume_from_triggerer", {"event": event}, context)


def test_worker_ends_a_success(emu: Emulator, context: MakeContext) -> None:
    """It reads the run again, and returns its id."""
    run_id = emu.trigger()
    assert resumed(run_id, context(), ended("success", run_id)) == run_id


def test_worker_ends_a_failure(emu: Emulator, context: MakeContext) -> None:
    """With the failing step in its error."""
    emu.script_job(emu.job_id, outcome="error")
    run_id = emu.trigger()
    with pytest.raises(DbtCloudJobRunException, match="has failed at step"):
        resumed(run_id, context(), ended("error", run_id))


def test_worker_ends_a_skip(emu: Emulator, context: MakeContext) -> None:
    """With soft_fail."""
    emu.script_job(emu.job_id, outcome="error")
    run_id = emu.trigger()
    with pytest.raises(AirflowSkipException):
        resumed(run_id, context(), ended("error", run_id), soft_fail=True)


def test_worker_ends_a_time_out(emu: Emulator, context: MakeContext) -> None:
    """Its kind of time-out is not followed by a retry."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    with pytest.raises(AirflowSensorTimeout, match="so it was"):
        resumed(run_id, context(), ended("timeout", run_id))


def test_worker_begins_anew(emu: Emulator, context: MakeContext) -> None:
    """Where the triggerer could not do its part, the worker does the whole, and defers as ever."""
    emu.script_job(emu.job_id, seconds=60)
    run_id = emu.trigger()
    with pytest.raises(TaskDeferred) as deferred:
        resumed(run_id, context(), None)
    assert deferred.value.trigger.run_id == run_id


def test_worker_that_takes_over_has_what_is_left_of_the_time(emu: Emulator, context: MakeContext) -> None:
    """The sensor's time began in the triggerer."""
    emu.script_job(emu.job_id, seconds=60)
    begun = time.time() - 100
    with pytest.raises(TaskDeferred) as deferred:
        resumed(emu.trigger(), context(), {"begun": begun}, timeout=3600)
    assert deferred.value.trigger.end_time == begun + 3600


# --- Airflow's own limit, should it strike first ------------------------------------------------------------


def cut_off(run_id: int, context: Any, **arguments: Any) -> Any:
    return sensor(run_id, **arguments).resume_execution("__fail__", {"error": "Trigger timeout"}, context)


def test_execution_timeout_is_an_ordinary_failure(emu: Emulator, context: MakeContext) -> None:
    """With its retries, unlike a sensor's time-out."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(DbtCloudJobRunException, match="has not ended within the execution_timeout"):
        cut_off(emu.trigger(), context(), execution_timeout=timedelta(seconds=9))


@pytest.mark.parametrize("limits", [{}, {"timeout": 5, "execution_timeout": timedelta(seconds=9)}])
def test_time_out_is_the_sensors(emu: Emulator, context: MakeContext, limits: dict[str, Any]) -> None:
    """No triggerer has kept it."""
    emu.script_job(emu.job_id, seconds=60)
    with pytest.raises(AirflowSensorTimeout, match="has not ended within the timeout"):
        cut_off(emu.trigger(), context(), **limits)


def test_run_that_has_ended_by_then(emu: Emulator, context: MakeContext) -> None:
    """It is the result."""
    run_id = emu.trigger()
    assert cut_off(run_id, context(), log_results=False) == run_id
