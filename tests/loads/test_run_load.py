"""What a load does: rows arrive, state survives, nothing is left behind."""

import json
import logging
import os
import re
from datetime import datetime

import dlt
import pytest
from dlt.common import logger as dlt_logger
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext

ROWS = [{"id": 1, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"id": 2}]


def test_rows_arrive_in_the_table_named_after_the_function(load, query):
    """Plain rows need no table name of their own."""
    load(lambda: ROWS)
    assert query("select id from raw.orders order by id") == [(1,), (2,)]


def test_the_summary_is_plain_json(load):
    """XCom takes plain JSON: nothing in the summary needs dlt to be read."""
    summary = load(lambda: ROWS)
    assert json.loads(json.dumps(summary)) == summary


def test_the_summary_says_what_was_loaded(load, query):
    """Rows are counted per table, child tables too, and dlt's own tables are left out."""
    summary = load(lambda: ROWS)
    assert summary["rows"] == {"orders": 2, "orders__lines": 2}
    assert summary["row_count"] == 4
    assert (summary["pipeline_name"], summary["dataset_name"]) == ("shop", "raw")
    assert (summary["destination"], summary["destination_type"]) == ("duckdb", "duckdb")
    assert summary["first_run"] is True
    assert summary["nothing_loaded"] is False
    assert query("select load_id from raw._dlt_loads") == [(summary["load_ids"][0],)]


def test_the_summary_says_how_much_was_sent(load):
    """Bytes are counted per table, and more rows are more of them."""
    few, many = (load(lambda n=n: [{"id": i} for i in range(n)])["bytes"] for n in (10, 1000))
    assert few.keys() == many.keys() == {"orders"}
    assert 0 < few["orders"] < many["orders"] / 50


def test_the_summary_says_in_which_package_a_tables_rows_are(load, query):
    """Each row has that id: of two sources the one that the table comes from."""

    def two():
        return [dlt.source(_resource, name=name)(name) for name in ("customers", "invoices")]

    ids = load(two)["table_load_ids"]
    assert ids["customers"] != ids["invoices"]
    for table, (load_id,) in ids.items():
        assert query(f"select distinct _dlt_load_id from raw.{table}") == [(load_id,)]


def test_the_summary_says_where_the_tables_are(load, database):
    """The destination's address, free of secrets, up to the tables' names."""
    summary = load(lambda: ROWS)
    assert summary["table_uri"] == f"duckdb://{database}/raw/{{table}}"
    assert summary["database"] == "warehouse"


def test_the_summary_tells_the_time(load):
    """The seconds are those between start and end, which carry a time zone."""
    summary = load(lambda: ROWS)
    started, finished = (datetime.fromisoformat(summary[key]) for key in ("started_at", "finished_at"))
    assert started.tzinfo is not None
    assert summary["seconds"] == pytest.approx((finished - started).total_seconds(), abs=0.001)
    assert summary["seconds"] > 0


def test_the_summary_names_the_dataset_as_the_destination_does(load, query):
    """A template such as a schema for dbt needs the name that really exists there."""
    summary = load(lambda: ROWS, dataset_name="Raw Shop")
    assert query(f"select count(*) from {summary['dataset_name']}.orders") == [(2,)]


def test_nothing_loaded_when_no_rows_come(load):
    """No new rows for an appended table: whoever comes after may be skipped."""
    load(lambda: ROWS)
    summary = load(list)
    assert (summary["nothing_loaded"], summary["row_count"], summary["load_ids"]) == (True, 0, [])


def test_emptying_a_table_is_not_nothing(load, query):
    """Replacing by no rows changes the table, although no row was loaded."""

    @dlt.resource(name="orders", write_disposition="replace", columns={"id": {"data_type": "bigint"}})
    def orders(rows):
        yield rows

    load(lambda: orders([{"id": 1}]))
    summary = load(lambda: orders([]))
    assert query("select count(*) from raw.orders") == [(0,)]
    assert (summary["nothing_loaded"], summary["rows"]) == (False, {"orders": 0})


def test_what_was_nested_in_an_emptied_table_is_emptied_too(load, query):
    """Whoever reads the child table must learn of it."""

    @dlt.resource(name="orders", write_disposition="replace", columns={"id": {"data_type": "bigint"}})
    def orders(rows):
        yield rows

    load(lambda: orders(ROWS))
    summary = load(lambda: orders([]))
    assert query("select count(*) from raw.orders__lines") == [(0,)]
    assert summary["rows"] == {"orders": 0, "orders__lines": 0}


def test_incremental_loading_survives_a_lost_folder(load, query):
    """The cursor comes back from the destination: each load has a fresh folder, and loads only new rows."""

    @dlt.resource(name="events", primary_key="id")
    def events(upto, seq=dlt.sources.incremental("seq", initial_value=0)):  # noqa: B008
        yield [{"id": n, "seq": n} for n in range(1, upto + 1) if n >= seq.start_value]

    assert load(lambda: events(3))["rows"] == {"events": 3}
    second = load(lambda: events(5))
    assert (second["rows"], second["first_run"]) == ({"events": 2}, False)
    assert query("select count(*), max(seq) from raw.events") == [(5, 5)]


def test_the_state_is_there_when_the_source_is_built(load):
    """A source function that reads the state reads what the last load left, not an empty folder's."""
    seen = []

    @dlt.source(name="counter")
    def counter():
        state = dlt.current.source_state()
        seen.append(state.get("loads", 0))

        @dlt.resource(name="ticks")
        def ticks():
            state = dlt.current.source_state()
            state["loads"] = state.get("loads", 0) + 1
            yield {"n": state["loads"]}

        return ticks

    load(lambda: counter())
    load(lambda: counter())
    assert seen == [0, 1]


def test_merging_twice_changes_nothing(load, query):
    """The plan's hints reach dlt: merge by primary key."""
    for _ in range(2):
        load(lambda: [{"id": 1, "v": "x"}, {"id": 2, "v": "y"}], write_disposition="merge", primary_key="id")
    assert query("select count(*) from raw.orders") == [(2,)]


def _resource(name):
    return dlt.resource([{"id": 1}], name=name)


@dlt.source(name="both")
def _both():
    return _resource("customers"), _resource("invoices")


@pytest.mark.parametrize(
    ("build", "tables"),
    [
        (_both, {"customers", "invoices"}),
        (lambda: [_both()], {"customers", "invoices"}),
        (lambda: _resource("customers"), {"customers"}),
        (lambda: [_resource("customers"), _resource("invoices")], {"customers", "invoices"}),
        (lambda: (_resource("customers"), _resource("invoices")), {"customers", "invoices"}),
        (lambda: ({"id": n} for n in range(3)), {"orders"}),
        (lambda: iter([{"id": 1}]), {"orders"}),
    ],
    ids=["source", "sources", "resource", "resources", "tuple", "generator", "iterator"],
)
def test_whatever_dlt_can_load_is_loaded(load, build, tables):
    """A source, a resource, several of them, rows: dlt's objects keep the names of their tables."""
    assert set(load(build)["rows"]) == tables


def test_an_explicit_table_name_wins(load):
    """`table_name` replaces the default made of the function's name."""
    assert load(lambda: [{"id": 1}], table_name="sales")["rows"] == {"sales": 1}


def test_the_working_folder_is_used_and_removed(load, tmp_path):
    """While the load runs it has a folder of its own; afterwards nothing of it is left."""
    seen = []

    def build():
        seen.extend((tmp_path / "tmp").iterdir())
        return ROWS

    load(build)
    assert [folder.name.startswith("dlt-shop-") for folder in seen] == [True]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_working_folder_is_removed_after_a_failure(load, tmp_path):
    """A failed try leaves no folder behind either."""
    with pytest.raises(Exception, match="division by zero"):
        load(lambda: (1 / 0 for _ in range(1)))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_pipelines_dir_says_where_the_folder_is_made(load, tmp_path):
    """The folder is made in `pipelines_dir`, which is made if need be and itself stays."""
    parent = tmp_path / "scratch" / "dlt"
    seen = []
    load(lambda: seen.extend(parent.iterdir()) or ROWS, pipelines_dir=str(parent))
    assert len(seen) == 1
    assert list(parent.iterdir()) == []


def test_a_load_leaves_the_process_as_it_was(load):
    """No environment variable, no active pipeline and no changed logger stays behind."""
    load(lambda: ROWS)
    before = dict(os.environ), list(dlt_logger.LOGGER.handlers), dlt_logger.LOGGER.propagate
    load(lambda: ROWS)
    after = dict(os.environ), list(dlt_logger.LOGGER.handlers), dlt_logger.LOGGER.propagate
    assert after == before
    assert not Container()[PipelineContext].is_active()


def test_the_log_tells_what_each_table_got(load, caplog):
    """Rows, bytes and the destination's seconds, after those that the source took."""
    caplog.set_level(logging.INFO, "a task's log")
    load(lambda: ROWS)
    told = "\n".join(r.getMessage() for r in caplog.records)
    assert re.search(
        r"^Extract shop: done after [\d.]+ s \(.*orders: 2 rows after [\d.]+ s", told, re.MULTILINE
    )
    assert re.search(r"^Loaded orders: 2 rows, \d+ bytes in \d+\.\d s$", told, re.MULTILINE)


def test_the_log_has_dlts_own_summary(load, caplog, database):
    """As whoever knows dlt is used to it, with the address of the destination."""
    caplog.set_level(logging.INFO, "a task's log")
    summary = load(lambda: ROWS)
    told = [r.getMessage() for r in caplog.records]
    assert "1 load package(s) were loaded to destination duckdb and into dataset raw" in told
    assert f"Load package {summary['load_ids'][0]} is LOADED and contains no failed jobs" in told


def test_dlts_own_warnings_reach_the_root_logger(load, caplog):
    """dlt writes to stderr by itself, which Airflow would show as errors."""

    def build():
        dlt_logger.warning("a word from dlt")
        return ROWS

    load(build)
    assert [(r.levelname, r.name) for r in caplog.records if r.getMessage() == "a word from dlt"] == [
        ("WARNING", "dlt")
    ]
