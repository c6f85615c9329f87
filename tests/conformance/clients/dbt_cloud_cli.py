"""dbt-cloud-cli, as people use it: the command `dbt-cloud`, told who it is by the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, run, same

COMMAND = Path(sys.executable).with_name("dbt-cloud")
SETTINGS = {
    "DBT_CLOUD_HOST": cloud.host,
    "DBT_CLOUD_API_TOKEN": cloud.token,
    "DBT_CLOUD_ACCOUNT_ID": str(cloud.account),
}


def dbt_cloud(*words: object, code: int = 0, **settings: str) -> Any:
    """Run the command and return the JSON that it prints."""
    done = subprocess.run(
        [COMMAND, *map(str, words)],
        env={**os.environ, **SETTINGS, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    if done.returncode != code:
        raise AssertionError(f"status {done.returncode}: {' '.join((done.stdout + done.stderr).split())}")
    return json.loads(done.stdout)


def drive() -> None:
    """Make each call."""
    with cell("trigger"):
        started = dbt_cloud("job", "run", "--job-id", cloud.good, "--cause", "Conformance")["data"]
        same(started["job_definition_id"], cloud.good)
    with cell("wait for the end"):
        ended = dbt_cloud("job", "run", "--job-id", cloud.good, "--steps-override", "['dbt run']", "--wait")
        same(ended["data"]["status"], 10)
    with cell("a failed run"):
        failed = dbt_cloud("job", "run", "--job-id", cloud.bad, "--wait", code=1)["data"]
        same(failed["status"], 20)
    with cell("list jobs"):
        jobs = dbt_cloud("job", "list", "--project-id", cloud.project, "--limit", 2)["data"]
        same([one["id"] for one in jobs], [cloud.good, cloud.bad])
    with cell("list runs, filtered"):
        filters = ("--job-id", cloud.good, "--project-id", cloud.project, "--status", "Succeeded")
        runs = dbt_cloud("run", "list", *filters, "--order-by", "-id", "--paginate")
        same([one["id"] for one in runs["data"]], [ended["data"]["id"], started["id"]])
    with cell("cancel"):
        slow = dbt_cloud("job", "run", "--job-id", cloud.slow)["data"]["id"]
        same(dbt_cloud("run", "cancel", "--run-id", slow)["data"]["id"], slow)
        with_steps = dbt_cloud("run", "get", "--run-id", slow, "--include-related", "run_steps")["data"]
        same((with_steps["status"], bool(with_steps["run_steps"])), (30, True))
    with cell("list artifacts"):
        listed = dbt_cloud("run", "list-artifacts", "--run-id", ended["data"]["id"])["data"]
        same("run_results.json" in listed, True)
    with cell("one artifact"):
        path = ("--run-id", ended["data"]["id"], "--path", "run_results.json")
        same(dbt_cloud("run", "get-artifact", *path)["results"][0]["status"], "success")
    with cell("error: unknown run"):
        same(dbt_cloud("run", "get", "--run-id", UNKNOWN_RUN, code=1)["status"]["code"], 404)
    with cell("error: wrong token"):
        refused = dbt_cloud("job", "run", "--job-id", cloud.good, code=1, DBT_CLOUD_API_TOKEN=WRONG_TOKEN)
        same(refused["status"]["code"], 401)


if __name__ == "__main__":
    run(drive, "dbt-cloud-cli")
