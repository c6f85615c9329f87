"""How a table's URI is made of a pattern: no Airflow, no dlt, no network."""

import pytest

from airflow_provider_dbtcloud_dlt.lineage import check_pattern, table_uri

POSTGRES = "postgres://db.example.com:5432/{database}/{schema}/{table}"


def test_the_places_are_filled():
    """Each place gets its name."""
    uri = table_uri(POSTGRES, database="shop", schema="raw", table="orders")
    assert uri == "postgres://db.example.com:5432/shop/raw/orders"


def test_a_name_with_a_slash_stays_one_part():
    """A provider counts the parts of a path."""
    uri = table_uri(POSTGRES, database="shop", schema="raw/2013", table="my orders")
    assert uri.endswith("/shop/raw%2F2013/my%20orders")


def test_a_place_whose_name_is_not_known():
    """Half a URI would be another table's."""
    with pytest.raises(ValueError, match=r"not known what \{database\} is"):
        table_uri(POSTGRES, database=None, schema="raw", table="orders")


def test_a_place_that_is_not_asked_for_need_not_be_known():
    """MySQL has no schemas."""
    uri = table_uri("mysql://db:3306/{schema}/{table}", database=None, schema="raw", table="orders")
    assert uri == "mysql://db:3306/raw/orders"


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("postgres://db/{db}/{schema}/{table}", r"has \{db\}, which is none of \{database\}"),
        ("postgres://db/shop/raw/orders", r"has no \{table\}"),
        ("postgres://me:pa55word@db/shop/raw/{table}", "holds a password"),
    ],
)
def test_a_pattern_that_cannot_be_meant(pattern, sentence):
    """Each mistake gets a sentence, and none tells a password."""
    with pytest.raises(ValueError, match=sentence) as caught:
        check_pattern(pattern)
    assert "pa55word" not in str(caught.value)
