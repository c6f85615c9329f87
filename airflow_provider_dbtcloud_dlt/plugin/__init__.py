"""What Airflow's web interface shows of a dbt run: a page beside the task's logs, with a picture of it.

The page is made of files alone. It asks Airflow's REST API for what it shows, as the visitor: so it is for
Airflow to say who may see it. All of Airflow's processes load plug-ins, but only the API server serves them:
nothing else is imported here until somebody opens the page.

See https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from airflow_provider_dbtcloud_dlt.compat import AirflowPlugin

FOLDER = Path(__file__).parent / "page"
PREFIX = "dbt-cloud-run"
"""Where the page is, below Airflow's address."""

PLACE = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
"""What Airflow fills in; of a task that is not mapped it leaves the last as it is."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # After an upgrade all of its files are to be of one version.
    (b"cache-control", b"no-cache"),
)


class Page:
    """The page's files as an ASGI application."""

    @cached_property
    def _files(self) -> Any:
        from starlette.staticfiles import StaticFiles  # only the API server needs it, and has it

        return StaticFiles(directory=FOLDER, html=True)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            await send(message)

        await self._files(scope, receive, send_with_headers)


class DbtCloudRunPicture(AirflowPlugin):
    """Puts the page beside each task instance: which operator a task has, a plug-in is not asked."""

    name = "dbt_cloud_run_picture"
    fastapi_apps = [{"app": Page(), "url_prefix": f"/{PREFIX}", "name": "dbt Cloud run"}]
    external_views = [
        {
            "name": "dbt run",
            # Without a slash before: Airflow may have an address that is not its host's root.
            "href": f"{PREFIX}/?{PLACE}",
            "icon": f"{PREFIX}/icon.svg",
            "destination": "task_instance",
            "url_route": PREFIX,
        }
    ]
