"""Task groups for common chains; each part of one can be written out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from airflow.sdk import AssetAlias, TaskGroup, XComArg

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.operators.assets import event_aliases
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_resources import DltListResourcesOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_source import default_pipeline_name, source_name

__all__ = ["DltLoadGroup", "dlt_to_dbt_cloud"]

Split = Literal["resource", "none"]

_LOAD_ARGUMENTS = inspect.signature(DltLoadOperator.__init__).parameters.keys() - {"self", "kwargs"}


class DltLoadGroup(TaskGroup):
    """Load a dlt source by several tasks in parallel, one for each of its resources.

    The tasks load into one dataset, each under a pipeline name, with a schema and a state of its own, made of
    the resources' names: ``shop__orders``. A transformer is loaded by one task with the resource that feeds
    it. Where no names are given, a first task calls the source function, which extracts nothing, to learn
    them.

    Example::

        DltLoadGroup(
            "my_sources.shop:shop",
            resources=["orders", ["users", "user_details"]],
            pipeline_name="shop",
            destination_conn_id="warehouse",
            dataset_name="raw_shop",
        )

    Args:
        source: A function, or ``"package.module:function"``, that returns a dlt source, a resource or a list
            of them; as for `DltLoadOperator`.
        split: ``"resource"``: a task for each resource; ``"none"``: one task for all.
        resources: The names of the resources, a list within the list for those that one task loads. None:
            those that the source selects; with a split the task ``list_resources`` asks it for them. May be
            the output of a task that returns such names: a list of lists.
        group_id: The group's name. None: the source function's.
        **kwargs: Arguments of `DltLoadOperator`, and of every operator, for the tasks that load; those of
            every operator, but for ``outlets``, are also for the task that asks for the names. Without
            ``pipeline_name`` that is ``<DAG id>_<group id>``, to which the resources are added.

    Attributes:
        output: The summaries of the loads, for `DbtCloudRunJobOperator` and ``dlt_to_dbt_cloud``.

    Raises:
        ValueError: ``split``, or an argument of the load, has a value that cannot be right.
        TypeError: ``source`` or ``resources`` is of a wrong kind.
    """

    def __init__(
        self,
        source: Callable[..., Any] | str,
        *,
        split: Split = "resource",
        resources: Sequence[str | Sequence[str]] | XComArg | None = None,
        group_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_group(source, split, resources, kwargs)
        super().__init__(group_id=group_id or source_name(source) or "dlt_load")
        load = {**kwargs, "source": source}
        if load.get("pipeline_name") is None:
            load["pipeline_name"] = default_pipeline_name(self.dag.dag_id, str(self.group_id))
        with self:
            self.output = self._one(load, resources) if split == "none" else self._split(load, resources)

    @staticmethod
    def _one(load: dict[str, Any], resources: Any) -> Any:
        names = None if resources is None else [name for part in resources for name in _part(part)]
        return DltLoadOperator(**{"task_id": "load", "resources": names, **load}).output

    @staticmethod
    def _split(load: dict[str, Any], resources: Any) -> Any:
        if resources is not None and not isinstance(resources, XComArg):
            return [
                DltLoadOperator(**{**load, "task_id": _task_id(part), "resources": _part(part)}).output
                for part in resources
            ]
        if resources is None:
            own = {"source", "source_args"}
            asking = {k: v for k, v in load.items() if k in own or k not in _LOAD_ARGUMENTS | {"outlets"}}
            resources = DltListResourcesOperator(**{**asking, "task_id": "list_resources"}).output
        # Beside an instance Airflow shows what it loads in place of its number.
        names = "{{ task.resource_names | join(', ') }}"
        # Airflow wants to know a mapped task's outlets before there are instances of it.
        outlets = list(load.get("outlets", []))
        if (
            load.get("asset_uri") is not False
            and is_plain(load["pipeline_name"])
            and not event_aliases(outlets)
        ):
            load["outlets"] = [*outlets, AssetAlias(f"dlt:{load['pipeline_name']}")]
        mapped = DltLoadOperator.partial(**{"task_id": "load", "map_index_template": names, **load})
        return mapped.expand(resources=resources).output


def _check_group(source: Any, split: Any, resources: Any, load: dict[str, Any]) -> None:
    if hasattr(source, "operator_class"):
        raise TypeError(
            "DltLoadGroup makes the tasks itself: give it the function without the decorator @task.dlt_load, "
            "and the decorator's arguments to the group."
        )
    if split not in get_args(Split):
        raise ValueError(f"split={split!r} is neither 'resource' nor 'none'.")
    if split == "resource" and load.get("dev_mode"):
        raise ValueError(
            "dev_mode names a dataset after the time, so that each task of a split load would have another: "
            "leave it out, or give split='none'."
        )
    if resources is None or isinstance(resources, XComArg):
        if split == "none" and resources is not None:
            raise TypeError("With split='none' resources is a list of names, not another task's output.")
        return
    if not _are_names(resources, str | list | tuple) or not all(_are_names(_part(p), str) for p in resources):
        raise TypeError(
            f"resources={resources!r} is no list of names: write ['orders', 'customers'], with a list within "
            "it for those that one task loads, ['orders', ['users', 'user_details']]."
        )
    names = [name for part in resources for name in _part(part)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"resources names {', '.join(map(repr, twice))} more than once: two tasks would load it."
        )


def _are_names(value: Any, kind: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, kind) for one in value)


def _part(part: str | Sequence[str]) -> list[str]:
    return [part] if isinstance(part, str) else list(part)


def _task_id(part: str | Sequence[str]) -> str:
    return re.sub(r"[^\w.-]+", "_", "__".join(_part(part)))[:200]


def dlt_to_dbt_cloud(load: Any, *, group_id: str = "dlt_to_dbt_cloud", **transform: Any) -> TaskGroup:
    """Load with dlt, then run a dbt Cloud job that knows what was loaded.

    Example::

        @task.dlt_load(destination="postgres", dataset_name="raw_shop")
        def orders(): ...


        dlt_to_dbt_cloud(orders, job_id=67890, select_loaded=True)

    is the same as::

        with TaskGroup("dlt_to_dbt_cloud"):
            DbtCloudRunJobOperator(task_id="transform", loaded=orders(), job_id=67890, select_loaded=True)

    Args:
        load: what loads, or a list of them: a function with the decorator ``@task.dlt_load``, which is called
            without arguments within the group; what such a call returned; a `DltLoadOperator`; or a
            `DltLoadGroup`. Tasks that are there already stay where they are, before the group.
        group_id: the group's name.
        **transform: the arguments of `DbtCloudRunJobOperator`; its ``task_id`` is ``transform`` unless given.

    Returns:
        The group.
    """
    with TaskGroup(group_id) as group:
        loaded = [_output(one) for one in load] if isinstance(load, list | tuple) else _output(load)
        DbtCloudRunJobOperator(**{"task_id": "transform", "loaded": loaded, **transform})
    return group


def _output(load: Any) -> Any:
    """What a load returns when it runs."""
    if isinstance(load, DltLoadGroup):
        return load.output
    output = load() if callable(load) and hasattr(load, "operator_class") else load
    output = getattr(output, "output", output)
    if not isinstance(output, XComArg):
        raise TypeError(
            f"dlt_to_dbt_cloud({load!r}, …) has no load: give a function with the decorator @task.dlt_load, "
            "what a call of it returned, a DltLoadOperator or a DltLoadGroup."
        )
    return output
