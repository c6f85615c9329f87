"""The operator: arguments are checked when the DAG file is parsed, and used when the task runs."""

import copy
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import get_args

import dlt
import pytest
from airflow.sdk import DAG
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.pipeline import TRefreshMode
from dlt.common.schema import typing as schema_typing
from dlt.common.schema.exceptions import InvalidSchemaName
from dlt.common.schema.utils import is_valid_schema_name
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.compat import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError
from airflow_provider_dbtcloud_dlt.operators import dlt_checks
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_source import LONGEST_NAME, default_pipeline_name

NAMING = NamingConvention(max_length=63)


def orders(count=1, ds=None, params=None):
    """A source function as users write it."""
    return [{"id": number, "day": ds} for number in range(int(count))]


async def unready():
    """A source function that nobody would await."""


@dlt.resource(name="customers")
def customers(first):
    """A resource that has to be called."""
    yield {"id": first}


@dlt.source(name="shop")
def shop(ds=dlt.config.value):
    """A source whose argument bears the name of a value of Airflow's context."""
    return dlt.resource([{"id": 1, "day": ds}], name="orders")


def _context(**values):
    return {"ti": SimpleNamespace(dag_id="shop.daily", task_id="load"), "ds": "2013-01-01", **values}


def _load(source=orders, **arguments):
    return DltLoadOperator(task_id="load", source=source, **arguments)


def test_a_callable_is_loaded(warehouse, query):
    """The function is called with its arguments and what it asks for of the context."""
    task = _load(source_args={"count": 2}, destination=warehouse, dataset_name="raw")
    assert task.execute(_context(ds="first of January"))["rows"] == {"orders": 2}
    assert query("select distinct day from raw.orders") == [("first of January",)]


def test_a_reference_is_imported_when_the_task_runs(warehouse, tmp_path, monkeypatch):
    """`package.module:function` names the source; the table is named after the function."""
    monkeypatch.syspath_prepend(str(tmp_path))
    task = _load("late_source:invoices", destination=warehouse)
    (tmp_path / "late_source.py").write_text("def invoices():\n    return [{'id': 1}]\n")
    assert task.execute(_context())["rows"] == {"invoices": 1}


def test_a_resource_that_was_not_called_is_a_function(warehouse):
    """A dlt resource with arguments is passed as it is, and called when the task runs."""
    task = _load(customers, source_args={"first": 7}, destination=warehouse)
    assert task.execute(_context())["rows"] == {"customers": 1}


def test_the_pipelines_default_name_is_that_of_the_task(warehouse):
    """Two tasks have two names without anyone giving them: dlt keeps the state under it."""
    name = _load(destination=warehouse).execute(_context())["pipeline_name"]
    assert re.fullmatch("shop_daily_load_[0-9a-f]{8}", name)


def test_two_tasks_whose_names_run_together_are_two_pipelines(warehouse):
    """What one has loaded is neither the other's state nor in its dataset."""

    cursor = dlt.sources.incremental("id", initial_value=0)

    @dlt.resource
    def orders(number=cursor):
        yield [{"id": one} for one in (1, 2) if one > number.last_value]

    tasks = [("shop", "eu_orders"), ("shop_eu", "orders")]
    summaries = [
        _load(lambda: orders, destination=warehouse).execute(
            {"ti": SimpleNamespace(dag_id=dag_id, task_id=task_id)}
        )
        for dag_id, task_id in tasks
    ]
    assert [one["rows"] for one in summaries] == [{"orders": 2}, {"orders": 2}]
    assert len({one["dataset_name"] for one in summaries}) == 2


ids = st.text("abAB_.-0ä", min_size=1, max_size=4) | st.text("a_", min_size=60, max_size=70)


@given(st.tuples(ids, ids), st.tuples(ids, ids))
def test_default_names_tell_tasks_apart(one, other):
    """Pipelines and, in dlt's spelling, datasets: whatever the ids, and however long."""
    names = [default_pipeline_name(*one), default_pipeline_name(*other)]
    spelled = [NAMING.normalize_table_identifier(f"{name}_dataset") for name in names]
    assert (names[0] == names[1]) == (spelled[0] == spelled[1]) == (one == other)


@given(ids, ids)
def test_dlt_takes_default_names(dag_id, task_id):
    """They are valid names of schemas."""
    assert is_valid_schema_name(default_pipeline_name(dag_id, task_id))


def test_the_longest_name_is_dlts():
    """The operator has a copy, since a DAG file must not import dlt."""
    assert LONGEST_NAME == InvalidSchemaName.MAXIMUM_SCHEMA_NAME_LENGTH


def test_a_parameter_that_dlt_fills_in_is_left_to_dlt(warehouse, query, monkeypatch):
    """`dlt.config.value` is the author's own default: Airflow's value of that name does not replace it."""
    monkeypatch.setenv("SOURCES__DS", "from dlt")
    _load(shop, destination=warehouse, dataset_name="raw").execute(_context())
    assert query("select day from raw.orders") == [("from dlt",)]


def test_arguments_are_templated(warehouse):
    """Names and arguments may come from Airflow; a destination that is a function is not called for it."""
    with DAG("shop", schedule=None):
        task = _load(
            source_args={"count": "{{ params.count }}"},
            pipeline_name="shop_{{ ds_nodash }}",
            dataset_name="{{ params.schema }}",
            write_disposition="{{ params.how }}",
            destination=warehouse,
        )
    params = {"count": 3, "schema": "raw_2013", "how": "replace"}
    context = _context(params=params, ds_nodash="20130101")
    task.render_template_fields(context)
    summary = task.execute(context)
    assert (summary["pipeline_name"], summary["dataset_name"]) == ("shop_20130101", "raw_2013")
    assert summary["rows"] == {"orders": 3}


def test_a_template_that_renders_to_a_wrong_value_is_refused(warehouse):
    """What a template hid from the parser is looked at when the task runs."""
    task = _load(write_disposition="{{ params.how }}", destination=warehouse)
    context = _context(params={"how": "upsert"})
    task.render_template_fields(context)
    with pytest.raises(ValueError, match="write_disposition='upsert'"):
        task.execute(context)


NAMES = ("pipeline_name", "destination", "staging", "dataset_name", "table_name", "destination_conn_id")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["", " ", None], ids=["empty", "blank", "None"])
def test_a_template_that_renders_to_nothing_is_refused(name, value):
    """Else dlt would load into its default's place; for a None Airflow writes a word."""
    task = _load(**{name: "{{ params.there }}"})
    context = _context(params={"there": value})
    task.render_template_fields(context)
    with pytest.raises(ValueError, match=f"^{name}=.* is empty: a template"):
        task.execute(context)


@pytest.mark.parametrize("name", NAMES)
def test_another_tasks_output_that_is_nothing_is_refused(name):
    """It is None then, as an argument is that was not given."""
    with DAG("shop", schedule=None, render_template_as_native_obj=True):
        task = _load(**{name: "{{ params.there }}"})
    context = _context(params={"there": None})
    task.render_template_fields(context)
    with pytest.raises(ValueError, match=f"^{name}=None is empty"):
        task.execute(context)


def test_the_tasks_page_does_not_show_a_destinations_credentials():
    """Airflow shows template fields in the task's page: of a destination only what kind it is."""
    destination = dlt.destinations.postgres("postgresql://me:pa55word@db/shop")
    assert repr(_load(destination=destination).destination) == "postgres"


@pytest.mark.parametrize("asked", [AirflowSkipException, AirflowFailException, TaskDeferred])
@pytest.mark.parametrize("in_resource", [False, True], ids=["in the function", "in a resource"])
def test_what_a_source_raises_for_airflow_reaches_it(warehouse, asked, in_resource):
    """A source may skip its task, or fail it for good: a LoadError would fail it, and be retried."""
    error = asked(trigger=None, method_name="resume") if asked is TaskDeferred else asked("nothing today")

    def closed():
        raise error
        yield

    task = _load((lambda: closed()) if in_resource else (lambda: next(closed())), destination=warehouse)
    with pytest.raises(asked) as caught:
        task.execute(_context())
    assert caught.value is error


def test_another_error_of_a_source_is_a_failed_load(warehouse):
    """That a skip was handled on the way there does not skip the task."""

    def closed():
        try:
            raise AirflowSkipException
        except AirflowSkipException:
            raise OSError("the shop is closed")  # noqa: B904

    with pytest.raises(LoadError):
        _load(closed, destination=warehouse).execute(_context())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"source": shop(ds="2013-01-01")}, "DltSource that was built while the DAG file was parsed"),
        ({"source": customers(1)}, "DltResource that was built while the DAG file was parsed"),
        ({"source": [{"id": 1}]}, "source is a list. Pass a function"),
        ({"source": orders()}, "source is a list. Pass a function"),
        ({"source": "my_sources.shop"}, "'my_sources.shop' does not name a function"),
        ({"source": "sources/shop.py"}, "does not name a function: write 'package.module:function'"),
        ({"source_args": ["2013"]}, "source_args is a list: pass a dict"),
        ({"source_args": {"cuont": 2}}, "source_args do not fit source 'orders'.*cuont"),
        ({"source": lambda needed: needed}, "do not fit source '<lambda>'.*needed"),
        ({"source": unready}, "source 'unready' is an async function"),
        ({"write_disposition": "upsert"}, "write_disposition='upsert' is not one that dlt knows: 'append'"),
        ({"write_disposition": {"strategy": "scd2"}}, "without the key 'disposition'"),
        ({"write_disposition": {"disposition": "mrege"}}, "write_disposition='mrege'"),
        ({"schema_contract": "strict"}, "schema_contract='strict'.*'freeze'"),
        ({"schema_contract": {"column": "freeze"}}, "has the key 'column'; dlt knows 'tables', 'columns'"),
        ({"schema_contract": {"columns": "strict"}}, r"schema_contract\['columns'\]='strict'"),
        ({"refresh": "all"}, "refresh='all'.*'drop_sources'"),
        ({"pipeline_name": "shop/orders"}, "pipeline_name='shop/orders' cannot be a pipeline's name: write"),
        ({"pipeline_name": "2024_orders"}, "with no digit in front"),
        ({"pipeline_name": "o" * 65}, "64 at most"),
        ({"log_interval": -1}, "log_interval is a number of seconds, not -1"),
    ],
)
def test_bad_arguments_are_refused_when_the_dag_is_parsed(arguments, sentence):
    """Each mistake gets a sentence that names the argument."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        _load(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"write_disposition": {"disposition": "merge", "strategy": "scd2"}},
        {"schema_contract": {"tables": "evolve", "data_type": "freeze"}},
        {"source": customers, "source_args": {"first": 1}},
        {"source_args": {"count": "{{ params.count }}"}, "refresh": "{{ params.refresh }}"},
    ],
)
def test_good_arguments_are_accepted(arguments):
    """dlt's forms with more than a word, and templates, pass."""
    assert _load(**arguments).task_id == "load"


def test_the_lists_of_words_are_dlts():
    """The operator has copies, since a DAG file must not import dlt: they hold what dlt's own lists hold."""
    assert set(dlt_checks.WRITE_DISPOSITIONS) == set(get_args(schema_typing.TWriteDisposition))
    assert set(dlt_checks.CONTRACT_MODES) == set(get_args(schema_typing.TSchemaEvolutionMode))
    assert set(dlt_checks.CONTRACT_ENTITIES) == set(get_args(schema_typing.TSchemaContractEntities))
    assert set(dlt_checks.REFRESH_MODES) == set(get_args(TRefreshMode))


def _instance(task):
    """Run the second instance of a mapped task, or of a task in a mapped group, as far as a warning goes."""
    if task.is_mapped:
        task = task.unmap({name: values[1] for name, values in task.expand_input.value.items()})
    context = _context(ti=SimpleNamespace(dag_id="shop", task_id="load", map_index=1), params={"table": "a"})
    task = copy.copy(task)  # as Airflow does: the DAG keeps the templates
    task.render_template_fields(context)
    with pytest.raises(LoadError, match="closed"):
        task.execute(context)


def closed(day=None):
    """A source that fails, so that nothing is loaded."""
    raise OSError("closed")


@pytest.mark.parametrize(
    ("common", "mapped", "name"),
    [
        ({"pipeline_name": "shop"}, {"source_args": [{"day": 1}, {"day": 2}]}, "shop"),
        ({}, {"source_args": [{"day": 1}, {"day": 2}]}, "shop_load"),
        ({"pipeline_name": "shop"}, {"resources": [["a"], ["b"]]}, None),
        ({}, {"pipeline_name": ["one", "two"]}, None),
        ({"pipeline_name": "shop_{{ ti.map_index }}"}, {"source_args": [{"day": 1}, {"day": 2}]}, None),
    ],
)
def test_mapped_instances_that_share_a_name_warn(warehouse, capsys, common, mapped, name):
    """A name given to all is shared as the default one is; resources, or a template, tell them apart."""
    with DAG("shop", schedule=None):
        task = DltLoadOperator.partial(task_id="load", source=closed, destination=warehouse, **common).expand(
            **mapped
        )
    _instance(task)
    told = capsys.readouterr().out
    assert ("under the pipeline name" in told) == (name is not None)
    assert name is None or f"under the pipeline name {name}." in told


@pytest.mark.parametrize(("resources", "warns"), [(["a"], True), (["{{ params.table }}"], False)])
def test_instances_of_a_mapped_group_warn(warehouse, capsys, resources, warns):
    """Resources that are the same in all of them tell none apart."""
    with DAG("shop", schedule=None):
        task = _load(closed, destination=warehouse, pipeline_name="shop", resources=resources)
    _instance(task)
    assert ("under the pipeline name" in capsys.readouterr().out) == warns


DAG_FILE = """
import sys
from airflow.sdk import DAG
from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

with DAG("shop", schedule=None):
    @dlt_load_task(pipeline_name="shop", destination="duckdb")
    def orders(): ...
    orders() >> DltLoadOperator(task_id="load", source="shop:invoices", destination="duckdb")

assert not [name for name in sys.modules if name.split(".")[0] == "dlt"]
assert not [name for name in sys.modules if name.startswith("airflow_provider_dbtcloud_dlt.loads")]
"""


def test_a_dag_file_does_not_import_dlt():
    """A DAG with both kinds of tasks is built without dlt: DAG files are parsed every few seconds."""
    ended = subprocess.run([sys.executable, "-c", DAG_FILE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_load_runs_once_at_a_time():
    """Two DAG runs of one DAG load after one another: into the same tables they would lose rows."""
    assert _load().max_active_tis_per_dag == 1


def test_a_dag_can_let_loads_run_in_parallel():
    """Its default arguments count, and so does the task's own argument."""
    with DAG("shop", schedule=None, default_args={"max_active_tis_per_dag": 4}):
        task = _load()
        own = DltLoadOperator(task_id="own", source=orders, max_active_tis_per_dag=None)
    assert (task.max_active_tis_per_dag, own.max_active_tis_per_dag) == (4, None)


def test_mapped_loads_run_in_parallel():
    """The limit would hold for all instances of a mapped task, those of one DAG run too."""
    with DAG("shop", schedule=None):
        mapped = DltLoadOperator.partial(task_id="load", source=orders).expand(resources=[["a"], ["b"]])
    assert mapped.max_active_tis_per_dag is None
