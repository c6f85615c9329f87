"""Find out which resources a dlt source has, for tasks that load each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.log import mask_secret

from airflow_provider_dbtcloud_dlt.operators.dlt_checks import check_source
from airflow_provider_dbtcloud_dlt.operators.dlt_source import (
    call_source,
    check_source_args,
    data_interval,
    heeding_airflow,
    source_name,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class DltListResourcesOperator(BaseOperator):
    """List the resources of a source, in the parts that can be loaded each by itself.

    The source function is called, but nothing is extracted. A transformer is in one part with the resource
    that feeds it.

    Args:
        source: As for `DltLoadOperator`.
        source_args: As for `DltLoadOperator`. Templated.
        **kwargs: As for every operator.

    Returns:
        By XCom a list of lists of names, such as ``[["orders"], ["users", "user_details"]]``: for
        ``DltLoadOperator.partial(…).expand(resources=…)``.

    Raises:
        LoadError: The source cannot be built, or selects no resources. What it raises for Airflow reaches
            Airflow as it is, as with `DltLoadOperator`.
    """

    template_fields: Sequence[str] = ("source_args",)
    template_fields_renderers = {"source_args": "py"}
    shallow_copy_attrs: Sequence[str] = ("source",)
    ui_color = "#f3fbe9"

    def __init__(
        self,
        *,
        source: Callable[..., Any] | str,
        source_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.source_args = source_args
        self._check()

    def execute(self, context: Context) -> list[list[str]]:
        """Call the source function, and list the resources."""
        self._check()
        from airflow_provider_dbtcloud_dlt.loads.lookup import look_resources_up

        found = heeding_airflow(
            lambda: look_resources_up(
                lambda: call_source(self.source, self.source_args, context),
                source_name(self.source) or "The source",
                interval=data_interval(context),
                hide=mask_secret,
            )
        )
        self.log.info("Loaded each by itself: %s", "; ".join(", ".join(names) for names in found))
        return found

    def _check(self) -> None:
        check_source(self.source)
        check_source_args(self.source, self.source_args)
