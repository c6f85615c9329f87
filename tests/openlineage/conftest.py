"""OpenLineage, switched on with its file transport, and tasks that the provider's listener would tell of."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openlineage_events import read_events

from airflow_provider_dbtcloud_dlt.compat import TaskDeferred
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudJobRunException


@pytest.fixture
def switched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the events go."""
    if not os.environ.get("CI"):
        pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage is not installed")
    from airflow.providers.openlineage.plugins.listener import get_openlineage_listener

    path = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "airflow")
    get_openlineage_listener.cache_clear()
    return path


@pytest.fixture
def told(context: Callable[..., Any], triggerer: Any) -> Callable[..., Any]:
    """Live a task's whole life, then ask it for its lineage as the listener does.

    Returns the error with which it failed, if it did, and what the listener was given.
    """

    def live(make: Callable[[], Any], task_id: str = "transform") -> Any:
        its_context = context(task_id=task_id)
        ti = its_context["ti"]
        ti.dag_run = its_context["dag_run"]
        ti.dag_run.conf, ti.dag_run.clear_number, ti.dag_run.logical_date = {}, 0, None
        ti.get_template_context = lambda: its_context
        made: list[Any] = []

        def operator() -> Any:
            ti.task = make()
            made.append(ti.task)
            return ti.task

        error = None
        try:
            try:
                operator().execute(its_context)
            except TaskDeferred as deferred:
                event = triggerer.event(deferred.trigger)
                triggerer.resume(operator(), deferred, its_context, event)
        except DbtCloudJobRunException as raised:
            error = str(raised)
        task = made[-1]
        ask = task.get_openlineage_facets_on_failure if error else task.get_openlineage_facets_on_complete
        return SimpleNamespace(error=error, given=ask(ti), ti=ti, task=task)

    return live


@pytest.fixture
def events(switched_on: Path) -> Callable[[], list[dict[str, Any]]]:
    """What has arrived so far; each valid by OpenLineage's schema."""
    return lambda: read_events(switched_on)
