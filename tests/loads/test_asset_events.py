"""Which asset events a load emits, by Airflow's own accessors for them."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dlt
import pytest
import structlog
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_source import default_pipeline_name

PATTERN = "x-shop://warehouse/{database}/{schema}/{table}"
ORDERS = [{"id": 1, "lines": [{"sku": "a"}]}, {"id": 2}]


def orders():
    """A source function as users write it."""
    return ORDERS


@dlt.resource(name="orders", write_disposition="replace", columns={"id": {"data_type": "bigint"}})
def replaced(rows):
    """A table that is made anew by each load."""
    yield rows


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[str]]]:
    """What was told in the task's log at a level."""
    with structlog.testing.capture_logs(processors=[structlog.stdlib.PositionalArgumentsFormatter()]) as logs:
        yield lambda level: [log["event"] for log in logs if log["log_level"] == level]


@pytest.fixture
def run(warehouse):
    """Run a task, and return what it told Airflow: each event's alias, asset and extra."""

    def go(source=orders, destination=warehouse, **arguments: Any):
        context: Any = {
            "ti": SimpleNamespace(dag_id="shop", task_id="load"),
            "outlet_events": OutletEventAccessors(),
        }
        task = DltLoadOperator(
            task_id="load",
            source=source,
            destination=destination,
            dataset_name="raw",
            **{"pipeline_name": "shop", **arguments},
        )
        summary = task.execute(context)
        events = [
            event
            for accessor in context["outlet_events"]._dict.values()
            for event in accessor.asset_alias_events
        ]
        return SimpleNamespace(
            summary=summary,
            events=events,
            rows={event.dest_asset_key.uri: event.extra["rows"] for event in events},
        )

    return go


def test_each_loaded_table_is_an_event_with_its_rows(run):
    """Child tables too; dlt's own are none."""
    assert run(asset_uri=PATTERN).rows == {
        "x-shop://warehouse/warehouse/raw/orders": 2,
        "x-shop://warehouse/warehouse/raw/orders__lines": 1,
    }


def test_an_event_says_which_load_it_was(run):
    """Whoever is started by it can look its rows up: `_dlt_load_id` in each."""
    ran = run(asset_uri=PATTERN)
    event = ran.events[0]
    assert event.extra == {
        "table": "orders",
        "rows": 2,
        "bytes": ran.summary["bytes"]["orders"],
        "load_ids": ran.summary["load_ids"],
        "pipeline_name": "shop",
        "dataset_name": "raw",
    }


def test_the_asset_is_the_one_that_a_schedule_names(run):
    """Airflow tells assets apart by name and URI: both are those of an `Asset(uri)`."""
    key = run(asset_uri=PATTERN).events[0].dest_asset_key
    asset = Asset("x-shop://warehouse/warehouse/raw/orders")
    assert (key.name, key.uri) == (asset.name, asset.uri)


def test_by_default_the_destination_says_how_its_tables_are_called(run, database):
    """For DuckDB by the file."""
    event = run().events[0]
    assert event.dest_asset_key.name == f"duckdb://{database}/raw/orders"


def test_a_table_without_new_rows_is_no_event(run):
    """What is unchanged starts nobody."""
    run(asset_uri=PATTERN)
    assert run(list, table_name="orders", asset_uri=PATTERN).rows == {}


def test_a_table_that_was_emptied_is_an_event(run, query):
    """Replaced by no rows, it has other contents than before; so have the tables nested in it."""
    run(lambda: replaced(ORDERS), asset_uri=PATTERN)
    assert set(run(lambda: replaced([]), asset_uri=PATTERN).rows.values()) == {0}
    assert query("select count(*) from raw.orders__lines") == [(0,)]


def test_the_task_has_an_alias_for_its_events():
    """Another DAG may be scheduled by it, whatever the tables are."""
    task = DltLoadOperator(task_id="load", source=orders, pipeline_name="shop")
    assert task.outlets == [AssetAlias("dlt:shop")]


def test_the_alias_is_called_as_the_pipeline_is_by_default():
    """A template's result is not known yet when the DAG is parsed."""
    with DAG("shop.daily", schedule=None):
        tasks = [
            DltLoadOperator(task_id=f"load_{number}", source=orders, pipeline_name=name)
            for number, name in enumerate([None, "shop_{{ ds_nodash }}"])
        ]
    assert [task.outlets[0].name for task in tasks] == [
        f"dlt:{default_pipeline_name('shop.daily', f'load_{number}')}" for number in (0, 1)
    ]


def test_an_own_alias_is_used_instead(run):
    """The DAG's author may choose it."""
    events = run(outlets=[AssetAlias("shop tables")], asset_uri=PATTERN).events
    assert {event.source_alias_name for event in events} == {"shop tables"}


def test_other_outlets_stay():
    """The alias comes beside them."""
    asset = Asset("x-shop://report")
    task = DltLoadOperator(task_id="load", source=orders, pipeline_name="shop", outlets=[asset])
    assert task.outlets == [asset, AssetAlias("dlt:shop")]


def test_no_events_are_wanted(run):
    """With False there is no alias either."""
    assert run(asset_uri=False).events == []
    assert DltLoadOperator(task_id="load", source=orders, asset_uri=False).outlets == []


def test_the_decorator_has_the_alias_too():
    """`@task.dlt_load` makes the same task."""
    with DAG("shop", schedule=None):
        operator = dlt_load_task(pipeline_name="shop")(orders)().operator
    assert operator.outlets == [AssetAlias("dlt:shop")]


def test_a_destination_that_does_not_say_where_its_tables_are(run, logged):
    """The load succeeds, and the log says what would help."""
    seen = []

    @dlt.destination(name="sink")
    def sink(items, table):
        seen.extend(items)

    ran = run(destination=sink)
    assert (len(seen), ran.events) == (2, [])
    assert any(line.endswith("; asset_uri can say it.") for line in logged("info"))


def test_a_place_that_the_destination_does_not_have(run, tmp_path, logged):
    """A folder is in no database: the load has succeeded nevertheless, and the log warns."""
    destination = dlt.destinations.filesystem(str(tmp_path / "lake"))
    ran = run(destination=destination, asset_uri=PATTERN)
    assert (ran.summary["row_count"], ran.events) == (3, [])
    assert "No asset event for table orders: it is not known what {database} is." in logged("warning")


def test_a_name_that_airflow_refuses(run, logged):
    """It is known only after the load, which has succeeded: a warning."""
    ran = run(table_name="o" * 60, asset_uri="x-shop://" + "w" * 1450 + "/{table}")
    assert (ran.summary["row_count"], ran.events) == (3, [])
    assert any(line.endswith("cannot exceed 1500 characters") for line in logged("warning"))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("postgres://db/{db}/{schema}/{table}", r"asset_uri has \{db\}"),
        ("postgres://me:pa55word@db/{database}/{schema}/{table}", "asset_uri holds a password"),
        ("airflow://{table}", "asset_uri .*reserved"),
        (True, "asset_uri is a bool"),
    ],
)
def test_a_wrong_uri_is_refused_when_the_dag_is_parsed(value, sentence):
    """Each mistake gets a sentence, which does not tell the password."""
    with pytest.raises((TypeError, ValueError), match=sentence) as caught:
        DltLoadOperator(task_id="load", source=orders, asset_uri=value)
    assert "pa55word" not in str(caught.value)


def test_a_wrong_uri_that_a_template_hid_fails_before_the_load(run, database):
    """Nothing was loaded yet, so that the mistake may well fail the task."""
    task = DltLoadOperator(task_id="load", source=orders, asset_uri="{{ params.uri }}")
    context: Any = {"params": {"uri": "postgres://db/shop"}}
    task.render_template_fields(context)
    with pytest.raises(ValueError, match=r"asset_uri has no \{table\}"):
        task.execute(context)
    assert not database.exists()
