"""Airflow's REST API as far as the page of a dbt run asks it, with the page beside it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from airflow_provider_dbtcloud_dlt.plugin import PREFIX, Page
from airflow_provider_dbtcloud_dlt.run_results import PICTURE_KEY

DAG, RUN, TASK = "shop", "manual__2026-11-27T04:00:00+00:00", "transform"
INSTANCE = "/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}"


@dataclass
class FakeAirflow:
    """One task instance of one DAG run, with what is known of it.

    Attributes:
        base: Where Airflow is, a path such as ``/team-a`` included.
        xcoms: Its XComs, by key and map index.
        task: What the REST API tells of it.
        token: The session's; a request that bears another, or none, is refused.
        refusal: With which status all requests are answered, if any.
        asked: The paths of the requests to the REST API.
    """

    base: str = ""
    xcoms: dict[tuple[str, int], Any] = field(default_factory=dict)
    task: dict[str, Any] = field(
        default_factory=lambda: {"state": "success", "operator_name": "DbtCloudRunJobOperator"}
    )
    token: str = "session"
    refusal: int | None = None
    asked: list[str] = field(default_factory=list)

    def page(self, run_id: str = quote(RUN), map_index: str = "{MAP_INDEX}") -> str:
        """The address that Airflow's web interface makes of the plug-in's."""
        return f"{self.base}/{PREFIX}/?dag_id={DAG}&run_id={run_id}&task_id={TASK}&map_index={map_index}"

    def leave(self, picture: dict[str, Any], map_index: int = -1) -> None:
        """Let the task leave a picture, and nothing else."""
        self.xcoms = {(PICTURE_KEY, map_index): picture}

    def _check(self, request: Request) -> None:
        self.asked.append(request.url.path)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (bearer or request.cookies.get("_token")) != self.token:
            raise HTTPException(HTTPStatus.UNAUTHORIZED)
        if self.refusal:
            raise HTTPException(self.refusal)
        if [request.path_params[name] for name in ("dag", "run", "task")] != [DAG, RUN, TASK]:
            raise HTTPException(HTTPStatus.NOT_FOUND)

    def _xcom(self, request: Request) -> JSONResponse:
        self._check(request)
        place = request.path_params["key"], int(request.query_params["map_index"])
        if place not in self.xcoms:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        value = self.xcoms[place]
        # As it is stored.
        return JSONResponse(
            {"key": place[0], "value": value if isinstance(value, str) else json.dumps(value)}
        )

    def _instance(self, request: Request) -> JSONResponse:
        self._check(request)
        return JSONResponse({"task_id": TASK, **self.task})


@contextmanager
def fake_airflow(below: str = "") -> Iterator[FakeAirflow]:
    """Serve one, below a path if need be."""
    airflow = FakeAirflow()
    inner = Starlette(
        routes=[
            Route(f"{INSTANCE}/xcomEntries/{{key}}", airflow._xcom),
            Route(INSTANCE, airflow._instance),
            Route(f"{INSTANCE}/{{index:int}}", airflow._instance),
            Mount(f"/{PREFIX}", Page()),
        ]
    )
    app = Starlette(routes=[Mount(below or "/", inner)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        airflow.base = f"http://127.0.0.1:{bound.getsockname()[1]}{below}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield airflow  # whoever connects waits until the server has started
        finally:
            server.should_exit = True
            thread.join()
