"""The connection's form as Airflow 3.1 wants it, of the metadata that newer ones read themselves."""

from __future__ import annotations

from typing import Any

from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS, CONNECTION_FORM


def field_behaviour() -> dict[str, Any]:
    """Return how the standard fields are called, which are hidden, and what empty ones show."""
    return {key.replace("-", "_"): value for key, value in CONNECTION_FORM.items()}


def widgets() -> dict[str, Any]:
    """Return the fields of the extra, by their keys.

    Airflow's API server puts stand-ins in the place of wtforms, which need not be installed.
    """
    from wtforms import BooleanField, IntegerField, StringField  # type: ignore[import-untyped]

    kinds = {"string": StringField, "boolean": BooleanField, "number": IntegerField}
    return {
        key: kinds[field["schema"]["type"][0]](
            field["label"], description=field["description"], default=field["schema"].get("default")
        )
        for key, field in CONNECTION_FIELDS.items()
    }
