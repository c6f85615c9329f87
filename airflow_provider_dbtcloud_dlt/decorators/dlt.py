"""``@task.dlt_load``: load what a function returns, with dlt."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.bases.decorator import DecoratedOperator, _TaskDecorator

from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_sealed import with_sealed

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator


class _DltLoadDecoratedOperator(DecoratedOperator, DltLoadOperator):
    """A `DltLoadOperator` whose source is the decorated function, called with the arguments of TaskFlow."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in DltLoadOperator.template_fields if name != "source_args"),
    )
    template_fields_renderers = {
        **DltLoadOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
    }
    shallow_copy_attrs: Sequence[str] = (
        *DecoratedOperator.shallow_copy_attrs,
        *DltLoadOperator.shallow_copy_attrs,
    )
    custom_operator_name = "@task.dlt_load"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Sequence[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        resource_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            resources=resource_names,
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            kwargs_to_upstream={"source": python_callable},
            **kwargs,
        )

    def _call_source(self, context: Context) -> Any:
        """Call the function as TaskFlow does, with the values of the context that it names."""
        parameters = inspect.signature(self.python_callable).parameters
        takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        by_position = list(parameters)[: len(self.op_args)]
        values: dict[str, Any] = {**context, **self.op_kwargs}
        named = {
            name: value
            for name, value in values.items()
            if name not in by_position and (takes_all or name in parameters)
        }
        return self.python_callable(*self.op_args, **named)

    def _check_source_args(self) -> None:
        """The arguments are those of the call, which TaskFlow has bound to the function already."""


class _DltLoadTask(_TaskDecorator):  # type: ignore[type-arg]
    """A decorated function, with the arguments of its task as a mapped one can have them."""

    def __attrs_post_init__(self) -> None:
        # Airflow makes another instance, and calls this again, for .override() and .partial().
        self.kwargs = with_sealed(self.kwargs)
        if "resources" in self.kwargs:
            # When the function is mapped, Airflow takes this word for a setting of its own.
            self.kwargs["resource_names"] = self.kwargs.pop("resources")
        super().__attrs_post_init__()  # type: ignore[no-untyped-call]


def dlt_load_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool = False,
    **kwargs: Any,
) -> TaskDecorator:
    """Make a task of a function: what it returns is loaded with dlt when the task runs.

    The function gets its arguments and the values of Airflow's context that it names as every TaskFlow
    function does, and returns a dlt source, a resource, a list of them, or rows: a list of dicts, a
    generator, a DataFrame, an Arrow table. Import dlt inside of it: then parsing the DAG file does not.

    Example::

        @task.dlt_load(pipeline_name="shop", destination="postgres", dataset_name="raw_shop")
        def orders(params=None):
            from my_sources.shop import shop

            return shop(country=params["country"])

    Args:
        python_callable: The function.
        multiple_outputs: Push each entry of the summary as an XCom of its own. Default: one XCom, the dict.
        **kwargs: As for `DltLoadOperator`, without ``source`` and ``source_args``.

    Returns:
        The decorated function; calling it in a DAG makes the task and gives its result, the summary.
    """
    if python_callable is None:
        return cast("TaskDecorator", partial(dlt_load_task, multiple_outputs=multiple_outputs, **kwargs))
    if not callable(python_callable):
        raise TypeError("@task.dlt_load takes its arguments by name: @task.dlt_load(destination=…).")
    made = _DltLoadTask(
        function=python_callable,
        multiple_outputs=multiple_outputs,
        operator_class=_DltLoadDecoratedOperator,
        kwargs=kwargs,
    )
    return cast("TaskDecorator", made)
