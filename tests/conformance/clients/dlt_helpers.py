"""dlt's `DBTCloudClientV2` and the functions around it."""

from dlt.helpers.dbt_cloud import get_dbt_cloud_run_status, run_dbt_cloud_job
from dlt.helpers.dbt_cloud.client import DBTCloudClientV2
from dlt.helpers.dbt_cloud.configuration import DBTCloudConfiguration
from report import UNKNOWN_RUN, WRONG_TOKEN, cell, cloud, fails, run, same
from requests import HTTPError

API = f"https://{cloud.host}/api"


def drive() -> None:
    """Make each call."""
    client = DBTCloudClientV2(cloud.token, cloud.account, API)
    account = f"accounts/{cloud.account}"
    # The functions take no address: what they make a client of speaks to the public dbt Cloud only.
    DBTCloudClientV2.__init__.__defaults__ = (None, API)

    def credentials() -> DBTCloudConfiguration:
        # Made for each call: they keep the ids of the first one, which later calls then cannot change.
        return DBTCloudConfiguration(api_token=cloud.token, account_id=str(cloud.account))

    with cell("trigger"):
        run_id = client.trigger_job_run(cloud.good, data={"cause": "Conformance"})
        same(client.get_run_status(run_id)["job_definition_id"], cloud.good)
    with cell("wait for the end", "with the client's address replaced"):
        status = get_dbt_cloud_run_status(credentials(), run_id=run_id, wait_seconds=0.2)
        same((status["in_progress"], status["is_success"]), (False, True))
    with cell("trigger and wait", "with the client's address replaced"):
        same(run_dbt_cloud_job(credentials(), job_id=cloud.good, wait_seconds=0.2)["is_success"], True)
    with cell("a failed run", "with the client's address replaced"):
        same(run_dbt_cloud_job(credentials(), job_id=cloud.bad, wait_seconds=0.2)["is_error"], True)
    with cell("list runs, filtered", "by `get_endpoint`"):
        listed = client.get_endpoint(f"{account}/runs?job_definition_id={cloud.bad}&status__in=[20]&limit=5")
        same({one["job_definition_id"] for one in listed["data"]}, {cloud.bad})
    with cell("cancel", "by `post_endpoint`"):
        slow = client.trigger_job_run(cloud.slow, data={"cause": "Conformance"})
        same(client.post_endpoint(f"{account}/runs/{slow}/cancel")["data"]["id"], slow)
        same(client.get_run_status(slow)["is_cancelled"], True)
    with cell("list artifacts", "by `get_endpoint`"):
        listed = client.get_endpoint(f"{account}/runs/{run_id}/artifacts")
        same("run_results.json" in listed["data"], True)
    with cell("one artifact", "by `get_endpoint`"):
        results = client.get_endpoint(f"{account}/runs/{run_id}/artifacts/run_results.json")
        same(results["results"][0]["status"], "success")
    with cell("error: unknown run"):
        fails(lambda: client.get_run_status(UNKNOWN_RUN), HTTPError, "404")
    with cell("error: wrong token"):
        wrong = DBTCloudClientV2(WRONG_TOKEN, cloud.account, API)
        fails(lambda: wrong.trigger_job_run(cloud.good, data={"cause": "Conformance"}), HTTPError, "401")


if __name__ == "__main__":
    run(drive, "dlt")
