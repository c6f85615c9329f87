"""Whether a sensor can live in the triggerer, without any worker, and what the triggerer has to know.

Airflow asks for that when it stores a DAG: by then cluster policies have had their say, and all tasks are
known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import jinja2
import jinja2.meta
import jinja2.nodes
from airflow.sdk import XComArg
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.compat import STARTS_IN_TRIGGERER, has_trigger_queues

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.sensors.dbt_cloud import DbtCloudJobRunSensor
    from airflow_provider_dbtcloud_dlt.triggers.job_run_sensor import Outcome

T = TypeVar("T")

DEFAULT_POOL = "default_pool"

RENDERED_IN_TRIGGERER = frozenset(
    {
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "macros",
        "params",
        "run_id",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "var",
    }
)
"""What a template may name. With the rest of a task's context the triggerer has other values than a worker,
none, or (XComs, unless asked for in the one way that works) waits for ever.
"""


class OfTask(Generic[T]):
    """An attribute that is computed of a task; on the class, which mapped tasks go by, its value is fixed."""

    def __init__(self, compute: Callable[[Any], T], of_class: T) -> None:
        self._compute = compute
        self._of_class = of_class

    def __get__(self, task: Any, owner: type) -> T:
        return self._of_class if task is None else self._compute(task)


def can_start_in_triggerer(sensor: DbtCloudJobRunSensor) -> bool:
    """Whether nothing is lost when a sensor begins in the triggerer."""
    return (
        STARTS_IN_TRIGGERER
        and sensor.deferrable
        and not has_trigger_queues()  # only a worker tells a trigger its queue: maybe nobody would start it
        # Limits of which the triggerer knows nothing.
        and (sensor.pool, sensor.pool_slots) == (DEFAULT_POOL, 1)
        and sensor.max_active_tis_per_dag is None
        and sensor.max_active_tis_per_dagrun is None
        # What only a worker does before and after a task.
        and not sensor.on_execute_callback
        and sensor._pre_execute_hook is None
        and sensor._post_execute_hook is None
        # Airflow checks a task's own params as it builds a context: there, an error would end the triggerer.
        and not _has_own_params(sensor)
        and not sensor.get_needs_expansion()
        and (upstream_of(sensor) is not None or _can_render(sensor, sensor.run_id))
        and _can_render(sensor, sensor.dbt_cloud_conn_id)
        and _can_render(sensor, sensor.account_id)
    )


def outcomes_on_worker(sensor: DbtCloudJobRunSensor) -> list[Outcome]:
    """The outcomes that bring about what Airflow does on a worker only."""
    dag = sensor.get_dag()
    fails_fast = dag is not None and dag.fail_fast
    on_failure = sensor.on_failure_callback or sensor.on_retry_callback or sensor.retry_policy or sensor.email
    needs: dict[Outcome, Any] = {
        "success": sensor.outlets
        or sensor.on_success_callback
        or sensor.returns_dag_result
        or _is_expanded_over(sensor),
        "skip": sensor.on_skipped_callback,
        "timeout": on_failure
        or fails_fast
        or sensor.retries,  # a sensor's time-out is not followed by a retry
        "failure": on_failure or fails_fast,
    }
    return [outcome for outcome, need in needs.items() if need]


def upstream_of(sensor: DbtCloudJobRunSensor) -> tuple[str, str] | None:
    """The task and the key of the XCom that is the run's id; ``None`` when the id is no such thing.

    An XCom must be asked for by itself: one in a template is waited for without end, and Airflow hands an
    ``XComArg`` to the triggerer as it is.
    """
    value: Any = sensor.run_id
    if isinstance(value, PlainXComArg):
        found = (value.operator.task_id, value.key)
    elif isinstance(value, str) and not is_plain(value):
        call = _sole_xcom_pull(value)
        if call is None or call.pop("dag_id", sensor.dag_id) != sensor.dag_id:
            return None
        found = (call.pop("task_ids", None), call.pop("key", BaseXCom.XCOM_RETURN_KEY))
        if call or not all(isinstance(one, str) for one in found):
            return None
    else:
        return None
    dag = sensor.get_dag()
    if dag is None or not dag.has_task(found[0]) or dag.get_task(found[0]).get_needs_expansion():
        return None  # of a mapped task the XCom would be a list
    return found


def _sole_xcom_pull(template: str) -> dict[str, Any] | None:
    """The arguments of ``{{ ti.xcom_pull(…) }}``, if a template is that and nothing else."""
    tree = _parsed(template)
    match tree and tree.body:
        case [
            jinja2.nodes.Output(
                nodes=[
                    jinja2.nodes.Call(
                        node=jinja2.nodes.Getattr(
                            node=jinja2.nodes.Name(name="ti" | "task_instance"), attr="xcom_pull"
                        ),
                        args=args,
                        kwargs=kwargs,
                        dyn_args=None,
                        dyn_kwargs=None,
                    )
                ]
            )
        ] if len(args) <= 1:
            found = dict(zip(["task_ids"], args, strict=False)) | {pair.key: pair.value for pair in kwargs}
            return {name: getattr(node, "value", None) for name, node in found.items()}
    return None


def _can_render(sensor: DbtCloudJobRunSensor, value: object) -> bool:
    """Whether the triggerer makes of a template what a worker would."""
    if is_plain(value):
        return True
    if not isinstance(value, str) or isinstance(value, XComArg):
        return False
    dag = sensor.get_dag()
    # These are not stored with a DAG.
    if dag is None or dag.user_defined_macros or dag.user_defined_filters or dag.jinja_environment_kwargs:
        return False
    if dag.template_undefined is not jinja2.StrictUndefined:
        return False
    names = _names_in(value)
    return names is not None and names <= RENDERED_IN_TRIGGERER


@functools.lru_cache(1024)  # Airflow asks several times, and a DAG's sensors are often alike
def _names_in(template: str) -> set[str] | None:
    """What a template names; ``None`` when it is none."""
    tree = _parsed(template)
    return None if tree is None else jinja2.meta.find_undeclared_variables(tree)


@functools.lru_cache(1024)
def _parsed(template: str) -> jinja2.nodes.Template | None:
    try:
        return _environment().parse(template)
    except jinja2.TemplateError:
        return None  # a worker says what is wrong with it


@functools.cache  # making one takes longer than parsing with it
def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=True)


def _has_own_params(sensor: DbtCloudJobRunSensor) -> bool:
    dag = sensor.get_dag()
    of_dag = _contents(dag.params) if dag else {}
    return any(of_dag.get(name) != content for name, content in _contents(sensor.params).items())


def _contents(params: Any) -> dict[str, Any]:
    """What each of a task's or a DAG's params may be, and is by default."""
    return {name: (param.schema, param.value) for name, param in params.items()}


def _is_expanded_over(sensor: DbtCloudJobRunSensor) -> bool:
    """Whether a mapped task takes the result: it is told its length, which a worker says that it has none."""
    if sensor.get_dag() is None:
        return False
    # All of a DAG is searched for such tasks: only where there can be one.
    may_be = any(task.get_needs_expansion() for task in sensor.downstream_list)
    return may_be and next(sensor.iter_mapped_dependants(), None) is not None
