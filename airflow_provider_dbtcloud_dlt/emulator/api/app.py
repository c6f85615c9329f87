"""The web application: all endpoints of the API, and what is said where there is none."""

import re
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_dbtcloud_dlt.emulator import answers, queries
from airflow_provider_dbtcloud_dlt.emulator.access import Keyring
from airflow_provider_dbtcloud_dlt.emulator.api import catalog, runs, webhooks
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine, RefusedError
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError

# Only the paths of artifacts and webhooks may have no slash at their end.
_SLASHLESS = re.compile(
    r"/api/v2/accounts/\d+/(runs|jobs)/\d+/artifacts/.+|/api/v3/accounts/\d+/webhooks/.+", re.DOTALL
)
# Longer numbers than Python converts: no id.
_ENDLESS = re.compile(r"[0-9]{4300}")


def create_app(engine: Engine, keyring: Keyring, public_url: str | None = None) -> FastAPI:
    """Build the web application.

    Args:
        engine: What it serves.
        keyring: Whom it serves.
        public_url: Where browsers reach it, for the `href` of runs; what the request was sent to if left out.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.engine = engine
    app.state.keyring = keyring
    app.state.public_url = public_url and public_url.rstrip("/")
    for router in _ROUTERS:
        app.routes.extend(router.routes)  # to include the router would take each of them apart again
    app.add_middleware(_Slashes)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(NotFoundError, http_error)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(queries.InvalidRequestError, _invalid)
    return app


class _Slashes:
    """Answers a path without its last slash with 308; one with a doubled slash is unknown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        answer: ASGIApp = self._app
        if _ENDLESS.search(path) or (path.startswith("/api/") and "//" in path):
            answer = answers.failed(404)
        elif path.startswith("/api/") and not path.endswith("/") and not _SLASHLESS.fullmatch(path):
            query = scope["query_string"].decode("latin-1")
            location = f"{quote(path)}/" + (f"?{query}" if query else "")
            answer = Response(status_code=308, headers={"Location": location})
        await answer(scope, receive, send)


def http_error(request: Request, error: Exception) -> Response:
    """Return the answer to a request that failed."""
    code, path = code_of(error), request.scope["path"]
    if code == 405:
        allowed = sorted(method for method in _PATHS if endpoint_of(method, path) is not None)
        return answers.failed(code, {"Allow": ", ".join(allowed)}, request.method)
    return answers.failed(code)


def code_of(error: Exception) -> int:
    """Return the status that tells of an error."""
    return error.status_code if isinstance(error, HTTPException) else 404


def _refused(_: Request, error: Exception) -> Response:
    field = error.field if isinstance(error, RefusedError) else "detail"
    return answers.invalid({field: str(error)})


def _invalid(_: Request, error: Exception) -> Response:
    return answers.invalid(error.data if isinstance(error, queries.InvalidRequestError) else str(error))


def endpoint_of(method: str, path: str) -> str | None:
    """Return the name of the endpoint that serves a request, such as ``get_run``; None if none does."""
    return next((name for name, pattern in _PATHS.get(method, ()) if pattern.match(path)), None)


_ROUTERS = (catalog.router, catalog.v3, runs.router, webhooks.router)
_PATHS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _router in _ROUTERS:
    for _route in _router.routes:
        if isinstance(_route, APIRoute):
            for _method in _route.methods:
                _PATHS.setdefault(_method, []).append((_route.name, _route.path_regex))
ENDPOINTS = frozenset(name for paths in _PATHS.values() for name, _ in paths)
