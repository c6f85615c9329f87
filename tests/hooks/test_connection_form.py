"""The form that Airflow 3.1 makes of the hook's methods; what newer ones show is tried in a browser."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS, CONNECTION_FORM


@pytest.fixture
def widgets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The fields, of what Airflow's API server puts in the place of wtforms."""

    def stand_in(kind: str) -> Any:
        return lambda label, **about: {"kind": kind, "label": label, **about}

    names = ("BooleanField", "IntegerField", "StringField")
    monkeypatch.setitem(sys.modules, "wtforms", SimpleNamespace(**{name: stand_in(name) for name in names}))
    return DbtCloudHook.get_connection_form_widgets()


def test_every_field_is_there(widgets: dict[str, Any]) -> None:
    """With its label, its help text and its default."""
    assert {key: (one["label"], one["description"], one["default"]) for key, one in widgets.items()} == {
        key: (field["label"], field["description"], field["schema"].get("default"))
        for key, field in CONNECTION_FIELDS.items()
    }


def test_kinds_of_fields(widgets: dict[str, Any]) -> None:
    """Ids are texts: the mouse's wheel changes numbers."""
    kinds = {key: widgets[key]["kind"] for key in ("job_id", "cause", "timeout", "allow_http")}
    assert kinds == {
        "job_id": "StringField",
        "cause": "StringField",
        "timeout": "IntegerField",
        "allow_http": "BooleanField",
    }


def test_standard_fields() -> None:
    """Named with underscores, as that Airflow wants them."""
    assert DbtCloudHook.get_ui_field_behaviour() == {
        "hidden_fields": ["schema"],
        "relabeling": CONNECTION_FORM["relabeling"],
        "placeholders": CONNECTION_FORM["placeholders"],
    }


def test_one_part_has_no_name() -> None:
    """Airflow's form shows nothing at all where every field is in a part with a name."""
    assert any("section" not in field["schema"] for field in CONNECTION_FIELDS.values())
