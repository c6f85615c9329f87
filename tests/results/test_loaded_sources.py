"""Which sources of a manifest are the loaded tables."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.loads.address import address
from airflow_provider_dbtcloud_dlt.results.manifest import Manifest, Source
from airflow_provider_dbtcloud_dlt.results.selection import Table, select

ORDERS = Source(source_name="raw", name="orders", schema="raw_shop", identifier="orders")


def manifest(**sections: Any) -> bytes:
    """A manifest with a source, and what else is given."""
    source = {
        "resource_type": "source",
        "source_name": "raw",
        "name": "orders",
        "schema": "raw_shop",
        "identifier": "orders",
    }
    whole = {"nodes": {}, "sources": {"source.shop.raw.orders": source}, "macros": {}, **sections}
    return json.dumps({"metadata": {"project_name": "shop"}, **whole}).encode()


def test_sources_are_read() -> None:
    """Of each source what tells where it is."""
    assert Manifest.read(manifest()) == Manifest((ORDERS,))


def test_project_without_sources() -> None:
    """No sources are something else than no manifest."""
    assert Manifest.read(manifest(sources={})) == Manifest(())


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b'{"sources": {', b'{"sources": []}', b"\xff"])
def test_what_is_no_manifest(content: bytes) -> None:
    """Something else than a manifest is refused."""
    with pytest.raises(ValueError, match=r"it is no manifest \("):
        Manifest.read(content)


def test_the_word_sources_elsewhere() -> None:
    """A model may have the word in its SQL, its references and its meta."""
    model = {
        "raw_code": 'select \'{"sources": {"a": {"resource_type": "source"}}}\'',
        "sources": [["raw", "orders"]],
        "meta": {"sources": {"crm": {"owner": "x"}}, "selectors": {"s": {"default": True}}},
    }
    assert Manifest.read(manifest(nodes={"model.shop.a": model})) == Manifest((ORDERS,))


def test_default_selector_is_read() -> None:
    """The one of the selectors that is the default."""
    selectors = {
        "nightly": {"name": "nightly", "definition": {"method": "tag", "value": "nightly"}},
        "usual": {"name": "usual", "default": True, "definition": {"method": "fqn", "value": "*"}},
    }
    assert Manifest.read(manifest(selectors=selectors)).default_selector == "usual"


def test_source_of_schema_and_identifier() -> None:
    """A table is found by where it is, and selected by dbt's names for it."""
    renamed = Source("shop", "sales", schema="raw_shop", identifier="orders")
    other = Source("crm", "orders", schema="raw_crm", identifier="orders")
    found = select([renamed, other], [Table("raw_shop", "orders")])
    assert (found.selectors, found.unknown) == (("source:shop.sales+",), ())


def test_case_says_nothing() -> None:
    """Snowflake's capitals and dlt's small letters name one table."""
    source = Source("shop", "orders", schema="RAW_SHOP", identifier="ORDERS")
    assert select([source], [Table("raw_shop", "orders")]).selectors == ("source:shop.orders+",)


def test_source_that_is_given() -> None:
    """With `dbt_source` the schema says nothing; table name or identifier do."""
    elsewhere = Source("shop", "sales", schema="prod", identifier="orders")
    other = Source("crm", "orders", schema="raw_shop", identifier="orders")
    found = select([elsewhere, other], [Table("raw_shop", "orders"), Table("raw_shop", "sales")], "shop")
    assert (found.selectors, found.unknown) == (("source:shop.sales+",), ())


def test_table_that_is_no_source() -> None:
    """It is told, and the others are selected all the same."""
    found = select([ORDERS], [Table("raw_shop", "orders"), Table("raw_shop", "orders__items")])
    assert (found.selectors, found.unknown) == (
        ("source:raw.orders+",),
        (Table("raw_shop", "orders__items"),),
    )


def test_dlts_own_tables_are_left_out() -> None:
    """They are neither selected nor told, even if the project has them as sources."""
    loads = Source("raw", "_dlt_loads", schema="raw_shop", identifier="_dlt_loads")
    found = select([ORDERS, loads], [Table("raw_shop", "_dlt_loads")])
    assert (found.selectors, found.unknown) == ((), ())


def test_table_of_two_loads_is_selected_once() -> None:
    """A table that two loads loaded is one."""
    assert select([ORDERS], [Table("raw_shop", "orders")] * 2).selectors == ("source:raw.orders+",)


def test_two_sources_of_one_table() -> None:
    """What depends on either of them is selected."""
    again = Source("legacy", "orders", schema="raw_shop", identifier="orders")
    found = select([ORDERS, again], [Table("raw_shop", "orders")])
    assert found.selectors == ("source:raw.orders+", "source:legacy.orders+")


def test_name_that_would_mean_something_in_a_selector() -> None:
    """What has a meaning in a selector is written as dbt's sign for any character."""
    source = Source("raw.v2", "all orders,new+", schema="raw_shop", identifier="orders")
    found = select([source], [Table("raw_shop", "orders")])
    assert found.selectors == ("source:raw?v2.all?orders?new?+",)


@pytest.mark.parametrize("dbt_source", [None, "raw"])
@pytest.mark.parametrize(("database", "dataset"), [("default", "raw_shop"), ("the shop", "räw")])
def test_clickhouse_has_the_dataset_in_the_tables_name(database, dataset, dbt_source) -> None:
    """dbt finds the table by its database and its whole name; the summary's URI has both."""
    config = SimpleNamespace(
        destination_type="dlt.destinations.clickhouse",
        dataset_table_separator="___",
        credentials=SimpleNamespace(host="db.example.com", port=9000, database=database),
    )
    load = {
        "dataset_name": dataset,
        "destination_type": "clickhouse",
        "table_uri": address(config, dataset).table_uri,
    }
    source = Source("raw", "sales", database, f"{dataset}___orders")
    table = Table.of(load, "orders")
    assert select([source], [table], dbt_source).selectors == ("source:raw.sales+",)
    assert str(table) == f"{database}.{dataset}___orders"


def test_a_source_by_its_name_for_a_table_in_clickhouse() -> None:
    """With dbt_source the name that dlt gave the table is enough, wherever the source says that it is."""
    load = {
        "dataset_name": "raw",
        "destination_type": "clickhouse",
        "table_uri": "clickhouse://h/d/raw___{table}",
    }
    assert select([ORDERS], [Table.of(load, "orders")], "raw").selectors == ("source:raw.orders+",)


@pytest.mark.parametrize("uri", [None, "postgres://db.example.com:5432/shop/elsewhere/{table}"])
def test_other_destinations_have_the_dataset_as_the_schema(uri) -> None:
    """There the summary's dataset is what dbt calls the schema."""
    load = {"dataset_name": "raw_shop", "destination_type": "postgres", "table_uri": uri}
    assert Table.of(load, "orders") == Table("raw_shop", "orders")
