"""The DAGs of the fault matrix: one for each row and provider, whose one task is mapped over the trials."""

import importlib
import json
import os
from datetime import timedelta

from airflow.sdk import DAG, get_parsing_context

wanted = get_parsing_context().dag_id  # a task's process needs its own DAG only, and one provider
for trials in json.loads(os.environ["FAULT_TRIALS"]):
    if wanted not in (None, trials["dag_id"]):
        continue
    module, _, name = trials["operator"].rpartition(".")
    operator = getattr(importlib.import_module(module), name)
    arguments = trials["arguments"]
    if "execution_timeout" in arguments:
        arguments["execution_timeout"] = timedelta(seconds=arguments["execution_timeout"])
    # Both providers send the schema with the trigger: by it a run is known to be of this trial.
    schemas = ["{{ dag_run.conf['batch'] }}_" + str(number) for number in range(trials["size"])]
    with DAG(
        trials["dag_id"],
        schedule=None,
        max_active_tasks=trials["max_active_tasks"],
        default_args={"retries": trials["retries"], "retry_delay": timedelta(seconds=1)},
    ):
        operator.partial(task_id="run", **arguments).expand(schema_override=schemas)
