"""A load reports how it has changed the schema, and a contract makes it fail instead."""

import logging

import pytest

from airflow_provider_dbtcloud_dlt.loads.errors import LoadError

NONE = {"new_tables": [], "new_columns": {}, "changed_types": {}}


def test_a_first_load_makes_tables(load):
    """Their columns are not told singly; dlt's own tables not at all."""
    summary = load(lambda: [{"id": 1, "lines": [{"sku": "a"}]}])
    assert {**summary["schema_changes"], "new_tables": sorted(summary["schema_changes"]["new_tables"])} == {
        **NONE,
        "new_tables": ["orders", "orders__lines"],
    }


def test_a_second_load_of_the_same_changes_nothing(load):
    """Rows alone are no change of schema."""
    load(lambda: [{"id": 1}])
    assert load(lambda: [{"id": 2}])["schema_changes"] == NONE


def test_a_new_column_is_told_with_its_type(load):
    """By the table that has it."""
    load(lambda: [{"id": 1}])
    changes = load(lambda: [{"id": 2, "colour": "red"}])["schema_changes"]
    assert changes == {**NONE, "new_columns": {"orders": {"colour": "text"}}}


def test_a_changed_type_is_told_with_the_column_for_it(load, query):
    """dlt keeps the old column, and puts such values beside it."""
    load(lambda: [{"id": 1}])
    changes = load(lambda: [{"id": "two"}])["schema_changes"]
    assert changes == {**NONE, "changed_types": {"orders": {"id": "id__v_text"}}}
    assert query("select id__v_text from raw.orders where id is null") == [("two",)]


def test_a_table_that_was_dropped_before_is_new(load):
    """`refresh` makes it anew."""
    load(lambda: [{"id": 1}])
    assert load(lambda: [{"id": 2}], refresh="drop_sources")["schema_changes"]["new_tables"] == ["orders"]


def test_the_log_tells_the_changes(load, caplog):
    """A change of type is a warning: it is seldom meant."""
    caplog.set_level(logging.INFO, "a task's log")
    load(lambda: [{"id": 1}])
    load(lambda: [{"id": "two", "colour": "red"}])
    told = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "a task's log"]
    assert ("INFO", "New tables: orders") in told
    assert ("INFO", "New columns in orders: colour (text)") in told
    assert (
        "WARNING",
        "orders.id: there were values of another type, which are in the column id__v_text",
    ) in told


@pytest.mark.parametrize(
    ("contract", "rows", "sentence"),
    [
        ({"columns": "freeze"}, [{"id": 2, "colour": "red"}], "`colour`.*`columns` are frozen"),
        ({"data_type": "freeze"}, [{"id": "two"}], "`id__v_text`.*frozen"),
        ("freeze", [{"id": 2, "lines": [{"sku": "a"}]}], "`orders__lines`.*`tables` are frozen"),
    ],
)
def test_a_frozen_schema_fails_the_load(load, query, contract, rows, sentence):
    """The sentence names what would have changed, and no row has arrived."""
    load(lambda: [{"id": 1}])
    with pytest.raises(LoadError, match=rf"(?s)break the schema contract.*{sentence}"):
        load(lambda: rows, schema_contract=contract)
    assert query("select id from raw.orders") == [(1,)]


def test_frozen_tables_fail_the_first_load(load):
    """All its tables are new: freeze columns and types alone to begin with."""
    with pytest.raises(LoadError, match="`tables` are frozen"):
        load(lambda: [{"id": 1}], schema_contract="freeze")
    assert load(lambda: [{"id": 1}], schema_contract={"columns": "freeze"})["row_count"] == 1
