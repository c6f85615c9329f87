"""The bench's DAGs: sensors beside each other, each of which waits for a dbt run of its own."""

import importlib
import json
import os
from pathlib import Path

from airflow.sdk import DAG, get_parsing_context

context = get_parsing_context()
if context.task_id is not None:  # this is the process of a task: each reads the DAG file once
    with Path(os.environ["BENCH_STARTS"]).open("a") as starts:
        starts.write(f"{context.dag_id}\n")
for waits in json.loads(Path(os.environ["BENCH_DAGS"]).read_text()):
    if context.dag_id not in (None, waits["dag_id"]):
        continue
    module, _, name = waits["sensor"].rpartition(".")
    sensor = getattr(importlib.import_module(module), name)
    with DAG(waits["dag_id"], schedule=None):
        for run_id in waits["run_ids"]:
            sensor(task_id=f"run_{run_id}", run_id=run_id, **waits["arguments"])
