"""Sensors that wait for runs which other tasks start: those that need no worker, and those that do."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task

from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor

WITH_A_RETRY: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=1)}


def started(task_id: str, job_name: str) -> Any:
    return DbtCloudRunJobOperator(task_id=task_id, job_name=job_name, wait_for_termination=False).output


def sensor(task_id: str, run_id: Any, **arguments: Any) -> DbtCloudJobRunSensor:
    return DbtCloudJobRunSensor(task_id=task_id, run_id=run_id, poke_interval=2, **arguments)


@dag(schedule=None)
def sensors():
    good, bad, endless = (
        started(f"start_{name}", name.capitalize()) for name in ("quick", "failing", "endless")
    )
    by_output = sensor("by_output", good)
    by_template = sensor("by_template", "{{ ti.xcom_pull(task_ids='start_quick', key='job_run_id') }}")
    good.operator >> by_template
    sensor("by_conf", "{{ dag_run.conf['run_id'] }}", hook_params={"timeout": (5, 20)})
    sensor("fails", bad, **WITH_A_RETRY)
    sensor("skips", bad, soft_fail=True)
    sensor("late", endless, timeout=4)
    sensor("late_with_a_retry", endless, timeout=4, **WITH_A_RETRY)
    sensor("cut_off", endless, execution_timeout=timedelta(seconds=4), **WITH_A_RETRY)

    @task(trigger_rule="all_done")
    def nothing() -> None:
        """Leaves no XCom."""

    sensor("of_nothing", nothing())
    sensor("in_a_pool", good, pool="sensors")
    sensor("with_an_outlet", good, outlets=[Asset("quick_tables")])
    DbtCloudJobRunSensor.partial(task_id="mapped", poke_interval=2).expand(run_id=[good, good])

    @task
    def kind(value: object) -> str:
        return type(value).__name__

    kind.expand(value=[by_output.output, by_template.output])


@dag(schedule=None)
def patient_sensor():
    sensor("wait", "{{ dag_run.conf['run_id'] }}", timeout=60)


sensors()
patient_sensor()
