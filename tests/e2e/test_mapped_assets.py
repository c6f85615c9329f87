"""Asset events of a mapped dbt job, in a real Airflow."""

import pytest
from flights_stack import FlightsStack

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def test_each_mapped_task_emits_its_models_events(stack: FlightsStack) -> None:
    """Through the alias that the task names, each with the run that has written the model."""
    api = stack.airflow.api
    api.wait_for_dag("mapped_assets")
    api.unpause("mapped_assets")
    dag_run = api.trigger("mapped_assets")
    assert api.wait_for_run("mapped_assets", dag_run, timeout=180.0) == "success"
    events = api.asset_events("mapped_assets")
    assert sorted(event["source_map_index"] for event in events) == [0, 1]
    assert {event["uri"] for event in events} == {"dbt://main/orders"}
    assert len({event["extra"]["run_id"] for event in events}) == 2
