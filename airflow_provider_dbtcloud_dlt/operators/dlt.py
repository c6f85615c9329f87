"""Load data with dlt in an Airflow task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import AssetAlias, BaseHook, BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.log import mask_secret

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.compat import (
    AirflowNotFoundException,
)
from airflow_provider_dbtcloud_dlt.operators.assets import check_asset_uri, event_aliases
from airflow_provider_dbtcloud_dlt.operators.dlt_assets import emit_asset_events
from airflow_provider_dbtcloud_dlt.operators.dlt_checks import (
    REFRESH_MODES,
    check_choice,
    check_connection_id,
    check_pipeline_name,
    check_rendered,
    check_resources,
    check_schema_contract,
    check_source,
    check_write_disposition,
)
from airflow_provider_dbtcloud_dlt.operators.dlt_sealed import sealed, unsealed, with_sealed
from airflow_provider_dbtcloud_dlt.operators.dlt_source import (
    call_source,
    check_source_args,
    data_interval,
    default_pipeline_name,
    heeding_airflow,
    source_name,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields


_NAMES = (
    "pipeline_name",
    "destination",
    "destination_conn_id",
    "staging",
    "staging_conn_id",
    "dataset_name",
    "table_name",
    "loader_file_format",
    "table_format",
    "import_schema_path",
    "export_schema_path",
    "pipelines_dir",
)
"""The arguments that name something."""


class DltLoadOperator(BaseOperator):
    """Load what a source function returns into a destination, with dlt.

    Nothing of the source is built while the DAG file is parsed: ``source`` is called when the task runs.
    The task works in a private folder that is removed afterwards; dlt restores the pipeline's state from
    the destination, so that incremental loading goes on where it ended, on whichever worker. Credentials
    come from an Airflow connection (``destination_conn_id``), or from dlt's configuration:
    https://dlthub.com/docs/general-usage/credentials/. An incremental cursor with
    ``allow_external_schedulers=True`` loads the DAG run's data interval, whatever was loaded before.

    Arguments that ``dlt.pipeline()`` and ``pipeline.run()`` know bear dlt's names and mean the same; None
    leaves the choice to dlt's configuration and defaults: https://dlthub.com/docs/general-usage/pipeline.

    Example::

        DltLoadOperator(
            task_id="load_orders",
            source="my_sources.shop:orders",
            source_args={"country": "{{ params.country }}"},
            pipeline_name="shop",
            destination_conn_id="warehouse",
            dataset_name="raw_shop",
            write_disposition="merge",
            primary_key="id",
        )

    Args:
        source: A function, or ``"package.module:function"``, that returns a dlt source, a resource, a list
            of them, or rows (a list of dicts, a generator, a DataFrame, an Arrow table). A parameter that
            bears the name of a value of Airflow's context (``data_interval_start``, ``params``, ``ti``, …)
            and has no default, or None, gets that value. Not templated.
        source_args: Keyword arguments for ``source``. Templated, as all arguments below unless said
            otherwise.
        resources: The names of the source's resources that are loaded. The pipeline's name gets them added
            (``shop__orders``), so that parts of one source can be loaded in parallel, also by
            ``.expand(resources=[["orders"], ["customers"]])``. None: what the source itself selects.
        pipeline_name: The name under which dlt keeps the state at the destination; two tasks that load in
            parallel need different names. Letters, digits and underscores, 64 at most. None:
            ``<DAG id>_<task id>``, with a digest behind it unless both ids are of small letters and digits
            only: else other ids could make the same name.
        destination: A destination's name (``"postgres"``), a destination object, or, so that dlt need not
            be imported in the DAG file, a function that returns one, called when the task runs. With a
            connection also a bucket's address, such as ``"s3://lake/raw"``. None: what the connection's
            type says, else dlt's configuration.
        destination_conn_id: An Airflow connection whose credentials the destination gets; nothing of dlt's
            configuration is mixed into them. docs/destinations.md lists the types of connections. None:
            dlt's configuration.
        dataset_name: The dataset (schema) at the destination. None: ``<pipeline name>_dataset``.
        write_disposition: ``"append"``, ``"replace"``, ``"merge"`` or ``"skip"``, or a dict with
            ``disposition`` and dlt's further choices. None: what each resource says, else ``"append"``.
        schema_contract: ``"evolve"``, ``"freeze"``, ``"discard_row"`` or ``"discard_value"``, or a dict of
            them by ``tables``, ``columns``, ``data_type``. With ``"freeze"`` a change of schema fails the
            task; so does the first load when tables are frozen, for they are new.
        table_name: The table for rows. None: the function's name. For dlt's sources and resources it
            replaces their own tables' names.
        primary_key: A column, or a list of columns.
        columns: Hints by column, as dlt takes them. Not templated.
        staging: Where files are staged on their way; as ``destination``.
        staging_conn_id: An Airflow connection for ``staging``: of a bucket.
        loader_file_format: ``"parquet"``, ``"jsonl"``, ``"insert_values"``, ``"csv"``, …
        table_format: ``"delta"`` or ``"iceberg"``, where the destination knows it.
        refresh: ``"drop_sources"``, ``"drop_resources"`` or ``"drop_data"``: start these anew.
        dev_mode: Load into a dataset of its own, named after the time, from scratch. Not templated.
        import_schema_path: A folder from which dlt reads schemas.
        export_schema_path: A folder into which dlt writes schemas.
        pipelines_dir: Where to make the private working folder. None: the system's folder for temporary
            files.
        asset_uri: How the tables are called as assets: a URI with ``{table}``, and ``{database}`` and
            ``{schema}`` as need be, such as ``"postgres://db.example.com:5432/{database}/{schema}/{table}"``.
            For each table whose contents it touches the task emits an event with rows and load ids, through
            each ``AssetAlias`` among ``outlets``; if there is none, the task gets one that is called
            ``dlt:<pipeline name>``. None: what the destination's configuration says. False: no events.
        log_interval: Seconds between two lines of progress within a stage. Not templated.
        lock_timeout: Seconds to wait for a DuckDB or SQLite database that another process writes into. Not
            templated.
        max_active_tis_per_dag: Airflow's limit of the task's instances that run at the same time, in all DAG
            runs. 1 since two loads into the same tables, of two months for instance, lose or double rows:
            dlt brings them there by way of tables that both use. None: no limit, as it is for mapped tasks.
        **kwargs: As for every operator.

    Returns:
        By XCom a dict: ``pipeline_name``, ``dataset_name``, ``destination``, ``destination_type``,
        ``database``, ``table_uri`` (with ``{table}``), ``load_ids``, ``rows``, ``bytes`` and
        ``table_load_ids`` (by table), ``row_count``, ``schema_changes`` (``new_tables``, ``new_columns``,
        ``changed_types``), ``first_run``, ``nothing_loaded``, ``started_at``, ``finished_at``, ``seconds``.

    Raises:
        ValueError: An argument has a value that cannot be right, or there is no such connection.
        TypeError: ``source`` is no function, or ``source_args`` do not fit it.
        LoadError: The load failed; the message says why. What the source raises for Airflow,
            ``AirflowSkipException`` and ``AirflowFailException``, reaches Airflow as it is.
    """

    template_fields: Sequence[str] = (
        "source_args",
        "resource_names",
        "pipeline_name",
        "destination",
        "destination_conn_id",
        "staging",
        "staging_conn_id",
        "dataset_name",
        "table_name",
        "write_disposition",
        "primary_key",
        "schema_contract",
        "loader_file_format",
        "table_format",
        "refresh",
        "import_schema_path",
        "export_schema_path",
        "pipelines_dir",
        "asset_uri",
    )
    template_fields_renderers = {"source_args": "py", "write_disposition": "py", "schema_contract": "py"}
    shallow_copy_attrs: Sequence[str] = ("source",)
    ui_color = "#e8f7d4"
    _is_loading = False

    def __init__(
        self,
        *,
        source: Callable[..., Any] | str,
        source_args: Mapping[str, Any] | None = None,
        resources: Sequence[str] | None = None,
        pipeline_name: str | None = None,
        destination: Any = None,
        destination_conn_id: str | None = None,
        dataset_name: str | None = None,
        write_disposition: Any = None,
        schema_contract: Any = None,
        table_name: str | None = None,
        primary_key: str | Sequence[str] | None = None,
        columns: Any = None,
        staging: Any = None,
        staging_conn_id: str | None = None,
        loader_file_format: str | None = None,
        table_format: str | None = None,
        refresh: str | None = None,
        dev_mode: bool = False,
        import_schema_path: str | None = None,
        export_schema_path: str | None = None,
        pipelines_dir: str | None = None,
        asset_uri: str | Literal[False] | None = None,
        log_interval: float = 10.0,
        lock_timeout: float = 3600.0,
        max_active_tis_per_dag: int | None = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_active_tis_per_dag=max_active_tis_per_dag, **kwargs)
        self.source = source
        self.source_args = source_args
        self.resource_names = resources  # Airflow's operators have resources too: what a task needs of CPUs
        self.pipeline_name = pipeline_name
        self.destination = sealed(destination)
        self.destination_conn_id = destination_conn_id
        self.dataset_name = dataset_name
        self.write_disposition = write_disposition
        self.schema_contract = schema_contract
        self.table_name = table_name
        self.primary_key = primary_key
        self.columns = columns
        self.staging = sealed(staging)
        self.staging_conn_id = staging_conn_id
        self.loader_file_format = loader_file_format
        self.table_format = table_format
        self.refresh = refresh
        self.dev_mode = dev_mode
        self.import_schema_path = import_schema_path
        self.export_schema_path = export_schema_path
        self.pipelines_dir = pipelines_dir
        self.asset_uri = asset_uri
        self.log_interval = log_interval
        self.lock_timeout = lock_timeout
        self._given = frozenset(name for name in _NAMES if getattr(self, name) is not None)
        self._check()
        if asset_uri is not False and not event_aliases(self.outlets):
            name = pipeline_name if is_plain(pipeline_name) else None
            alias = AssetAlias(f"dlt:{name or default_pipeline_name(self.dag_id, self.task_id)}")
            self.outlets = [*self.outlets, alias]

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """What mapped instances of the task have in common, as for every operator.

        Raises:
            TypeError: ``resources`` is among it, which Airflow would take for a setting of its own.
        """
        if "resources" in kwargs:
            raise TypeError(
                "resources can't be in .partial(), since Airflow's operators have an argument of that name. "
                "Map it, .expand(resources=[['orders'], ['customers']]), or give it with the others to "
                ".expand_kwargs([{'resources': ['orders'], …}, …])."
            )
        return super().partial(**with_sealed(kwargs))

    def execute(self, context: Context) -> dict[str, Any]:
        """Load, and return the summary."""
        self._check()
        from airflow_provider_dbtcloud_dlt.loads.load import run_load
        from airflow_provider_dbtcloud_dlt.loads.plan import LoadPlan

        ti = context["ti"]
        self._warn_of_one_name(context)
        plan = LoadPlan(
            pipeline_name=self.pipeline_name or default_pipeline_name(ti.dag_id, ti.task_id),
            resources=self.resource_names,
            destination=unsealed(self.destination),
            staging=unsealed(self.staging),
            destination_connection=_connection("destination_conn_id", self.destination_conn_id),
            staging_connection=_connection("staging_conn_id", self.staging_conn_id),
            dataset_name=self.dataset_name,
            import_schema_path=self.import_schema_path,
            export_schema_path=self.export_schema_path,
            dev_mode=self.dev_mode,
            pipelines_dir=self.pipelines_dir,
            table_name=self.table_name,
            write_disposition=self.write_disposition,
            columns=self.columns,
            primary_key=self.primary_key,
            schema_contract=self.schema_contract,
            loader_file_format=self.loader_file_format,
            table_format=self.table_format,
            refresh=self.refresh,
            default_table_name=source_name(self.source),
            log_interval=self.log_interval,
            lock_timeout=self.lock_timeout,
            interval=data_interval(context),
            is_retry=getattr(ti, "try_number", 1) > 1,
            run_start=getattr(context.get("dag_run"), "start_date", None),
        )
        self._is_loading = True
        try:
            summary = heeding_airflow(
                lambda: run_load(lambda: self._call_source(context), plan, log=self.log, hide=mask_secret)
            )
        finally:
            self._is_loading = False
        result = summary.as_dict()
        if self.asset_uri is not False:
            emit_asset_events(context, event_aliases(self.outlets), result, self.asset_uri, self.log)
        return result

    def on_kill(self) -> None:
        """Break the load off, so that its working folder is removed: Airflow itself lets it go on.

        Within the steps that normalize and load, dlt sees to the signal itself.

        Raises:
            SignalReceivedException: A load was broken off, which fails with a sentence.
        """
        if self._is_loading:
            self._is_loading = False  # a second signal must not break off the cleaning up
            from airflow_provider_dbtcloud_dlt.loads.load import break_off

            break_off()

    def _call_source(self, context: Context) -> Any:
        return call_source(self.source, self.source_args, context)

    def _check(self) -> None:
        """Refuse what cannot be right; what a template hides is looked at when the task runs."""
        check_source(self.source)
        self._check_source_args()
        check_resources(self.resource_names)
        for name in _NAMES:
            check_rendered(name, getattr(self, name), name in self._given)
        check_pipeline_name(self.pipeline_name)
        check_connection_id("destination_conn_id", self.destination_conn_id)
        check_connection_id("staging_conn_id", self.staging_conn_id)
        check_write_disposition(self.write_disposition)
        check_schema_contract(self.schema_contract)
        check_choice("refresh", self.refresh, REFRESH_MODES)
        check_asset_uri(self.asset_uri)
        if self.log_interval < 0:
            raise ValueError(f"log_interval is a number of seconds, not {self.log_interval!r}.")
        if self.lock_timeout < 0:
            raise ValueError(f"lock_timeout is a number of seconds, not {self.lock_timeout!r}.")

    def _warn_of_one_name(self, context: Context) -> None:
        """Warn of instances of a mapped task, or of a mapped group's, that share dlt's state."""
        ti = context["ti"]
        if getattr(ti, "map_index", -1) >= 0 and not self._has_name_of_its_own():
            self.log.warning(
                "All instances of this mapped task load under the pipeline name %s. They share its state, "
                "such as an incremental cursor, and those that run at the same time can lose it: give each a "
                "name of its own, by .expand_kwargs([{'pipeline_name': …, …}, …]) or a template.",
                self.pipeline_name or default_pipeline_name(ti.dag_id, ti.task_id),
            )

    def _has_name_of_its_own(self) -> bool:
        """Whether what makes this instance's pipeline name is not the same in all instances."""
        # The DAG has the task as it was written: mapped, or with its templates.
        in_dag = self.has_dag()  # type: ignore[no-untyped-call]
        written = self.dag.get_task(self.task_id) if in_dag else self
        common = written.partial_kwargs if isinstance(written, MappedOperator) else vars(written)
        for name in ("pipeline_name", "resource_names"):
            if name not in common and getattr(self, name) is not None:
                return True  # it is mapped over
            value = common.get(name)
            if not all(is_plain(one) for one in (value, *(value if isinstance(value, list | tuple) else ()))):
                return True
        return False

    def _check_source_args(self) -> None:
        check_source_args(self.source, self.source_args)


def _connection(argument: str, conn_id: str | None) -> ConnectionFields | None:
    """Look a connection up, as the plain fields that a load takes."""
    if conn_id is None:
        return None
    from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields

    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ValueError(
            f"There is no Airflow connection {conn_id!r} ({argument}): create it, or correct the id."
        ) from None
    names = ("conn_type", "host", "login", "password", "schema", "port", "extra")
    return ConnectionFields(conn_id, **{name: getattr(found, name) for name in names}, argument=argument)
