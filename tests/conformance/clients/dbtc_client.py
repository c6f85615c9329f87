"""dbtc's client, its part of the API v2."""

from typing import Any

from dbtc import dbtCloudClient
from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, run, same

CAUSE = {"cause": "Conformance"}


def connect(token: str) -> Any:
    """Return the part of dbtc that speaks to the administrative API.

    With an `api_key` alone it sends ``Bearer None``: its three parts share one session, which the last one
    sets up.
    """
    return dbtCloudClient(service_token=token, host=cloud.host).cloud


def drive() -> None:
    """Make each call."""
    client = connect(cloud.token)

    with cell("trigger"):
        started = client.trigger_job(cloud.account, cloud.good, CAUSE, should_poll=False)["data"]
        same(started["job_definition_id"], cloud.good)
    with cell("wait for the end"):
        ended = client.trigger_job(cloud.account, cloud.good, CAUSE, poll_interval=1)["data"]
        same(ended["status"], 10)
    with cell("a failed run"):
        failed = client.trigger_job(cloud.account, cloud.bad, CAUSE, poll_interval=1)["data"]
        same(failed["status"], 20)
    with cell("retry from the failure"):
        again = client.trigger_job_from_failure(cloud.account, cloud.bad, poll_interval=1)["data"]
        same((again["status"], again["retrying_run_id"]), (20, failed["id"]))
    with cell("list jobs"):
        jobs = client.list_jobs(cloud.account, project_id=[cloud.project], order_by="-id")["data"]
        same([one["id"] for one in jobs], [cloud.slow, cloud.bad, cloud.good])
    with cell("list runs, filtered"):
        filters = {"project_id": cloud.project, "status": ["success", "running"], "order_by": "-id"}
        runs = client.list_runs(cloud.account, include_related=["trigger", "job"], limit=1, **filters)
        same([one["id"] for one in runs["data"]], [ended["id"]])
        same(runs["extra"]["pagination"], {"count": 1, "total_count": 2})
    with cell("cancel"):
        slow = client.trigger_job(cloud.account, cloud.slow, CAUSE, should_poll=False)["data"]
        same(client.cancel_run(cloud.account, slow["id"])["data"]["id"], slow["id"])
        same(client.get_run(cloud.account, slow["id"])["data"]["status"], 30)
    with cell("list artifacts"):
        listed = client.list_run_artifacts(cloud.account, ended["id"])["data"]
        same("run_results.json" in listed, True)
    with cell("one artifact"):
        results = client.get_most_recent_run_artifact(
            cloud.account, "run_results.json", job_definition_id=cloud.good
        )
        same(results["results"][0]["status"], "success")
    with cell("error: unknown run"):
        same(client.get_run(cloud.account, UNKNOWN_RUN)["status"]["code"], 404)
    with cell("error: wrong token"):
        refused = connect(WRONG_TOKEN).trigger_job(cloud.account, cloud.good, CAUSE)
        same((refused["status"]["code"], refused["status"]["is_success"]), (401, False))


if __name__ == "__main__":
    run(drive, "dbtc")
