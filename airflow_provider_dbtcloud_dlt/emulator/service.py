"""The emulator but for its socket: state, tokens, faults and the web application, put together."""

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.types import Scope

from airflow_provider_dbtcloud_dlt.emulator import admin
from airflow_provider_dbtcloud_dlt.emulator.access import Keyring
from airflow_provider_dbtcloud_dlt.emulator.api import app as api
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock
from airflow_provider_dbtcloud_dlt.emulator.config import ConfigError
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.faults import Faults, Request
from airflow_provider_dbtcloud_dlt.emulator.history import History, NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.hosts import KnownHosts
from airflow_provider_dbtcloud_dlt.emulator.pages import routes as pages
from airflow_provider_dbtcloud_dlt.emulator.served import Config
from airflow_provider_dbtcloud_dlt.emulator.store import Run
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire

_RUN_ID = re.compile(r"/runs/(\d{1,18})/")


class Service:
    """An emulator that only lacks a `server.Server` around its `wire`.

    Args:
        config: What is served.
        state_dir: Where runs, logs and artifacts are kept.
        clock: The time; the machine's if left out.
        public_url: Where browsers reach it; whatever a request was sent to if left out.
        on_finished: Called with each run that ends and what it left behind.
        hosts: Under which names the pages are shown, beside those of this machine itself; None for all names.
        record: Whether to keep a list of the requests.

    Raises:
        ConfigError: If a fault of the configuration is for an endpoint that does not exist.
        StoreInUseError: If another emulator uses the same folder.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        clock: Clock | None = None,
        *,
        public_url: str | None = None,
        on_finished: Callable[[Run, History], None] | None = None,
        hosts: Collection[str] | None = (),
        record: bool = False,
    ) -> None:
        try:
            self.faults = Faults(config.faults, config.seed, api.ENDPOINTS)
        except ValueError as error:
            raise ConfigError(f"faults: {error}") from None
        self.engine = Engine(config, state_dir, clock, on_finished)
        self.keyring = Keyring(config.tokens, self.engine.clock)
        app = api.create_app(self.engine, self.keyring, public_url)
        app.routes.extend(pages.router.routes)
        if hosts is not None:
            app.add_middleware(KnownHosts, names=hosts)
        self.wire = Wire(app, self.faults, self._describe, record=record)
        admin.install(app, self.faults, self.wire)
        _tell_errors(app)

    def close(self) -> None:
        """Stop what executes, and close the state."""
        self.engine.close()

    def _describe(self, scope: Scope) -> Request:
        """Tell faults what they look at in a request."""
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode("latin-1")
        return Request(method, path, query, api.endpoint_of(method, path), self._run_age(path))

    def _run_age(self, path: str) -> float | None:
        named = _RUN_ID.search(path) if self.faults.at_work else None
        if named is None:
            return None
        try:
            created = self.engine.run(int(named[1])).created_at
        except NotFoundError:
            return None
        return (self.engine.clock.now() - created) / SECOND


def _tell_errors(app: FastAPI) -> None:
    """Let each error be told in the form of its place: the API, the pages, or the emulator's own requests."""
    app.add_exception_handler(HTTPException, _error)
    app.add_exception_handler(NotFoundError, _error)
    app.add_exception_handler(RequestValidationError, _invalid)


def _error(request: HttpRequest, error: Exception) -> Response:
    path = request.scope["path"]
    if path.startswith("/emulator/") and isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code)
    if api.code_of(error) == 404 and not path.startswith("/api/"):
        return pages.not_found()
    return api.http_error(request, error)


def _invalid(_: HttpRequest, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else str(error)
    # In ASCII: what was wrong stands in the answer, and may be what no encoding has.
    return Response(json.dumps({"detail": jsonable_encoder(problems)}), 422, media_type="application/json")
