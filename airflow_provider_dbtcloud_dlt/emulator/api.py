"""The HTTP endpoints: each takes a request apart, asks the engine, and wraps the answer as dbt Cloud does.

The paths are those of https://docs.getdbt.com/dbt-cloud/api-v2.
"""

import operator
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from airflow_provider_dbtcloud_dlt.emulator import pages, payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine, RefusedError
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, step_key

INVALID = "The request was invalid. Please double check the provided data and try again."
NOT_FOUND = "The requested resource was not found"
UNAUTHORIZED = "Invalid token."
# An artifact's path is the only one without a slash at its end.
_ARTIFACT = re.compile(r"/api/v2/accounts/\d+/(runs|jobs)/\d+/artifacts/.+", re.DOTALL)
# Longer numbers than Python converts: no id.
_ENDLESS = re.compile(r"[0-9]{4300}")


def envelope(data: object, code: int = 200, message: str = "Success!", **more: object) -> JSONResponse:
    """Return an answer in the form that all of the API's answers have."""
    status = {"code": code, "is_success": code < 400, "user_message": message, "developer_message": ""}
    return JSONResponse({"status": status, "data": data, **more}, status_code=code)


def create_app(engine: Engine, public_url: str | None = None) -> FastAPI:
    """Build the web application.

    Args:
        engine: What it serves.
        public_url: Where browsers reach it, for the `href` of runs; what the request was sent to if left out.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.engine = engine
    app.state.public_url = public_url and public_url.rstrip("/")
    app.include_router(router)
    app.include_router(pages.router)
    app.middleware("http")(_slashes)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(queries.InvalidRequestError, _invalid)
    return app


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _base_url(request: Request) -> str:
    return request.app.state.public_url or str(request.base_url).rstrip("/")


def _authorized(request: Request) -> None:
    """Let a request through that knows the token and, where it names one, the account."""
    account = _engine(request).config.account
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("token", "bearer") or token.strip() != account.token:
        raise HTTPException(401)
    if request.path_params.get("account_id", account.id) != account.id:
        raise HTTPException(401)


EngineOf = Annotated[Engine, Depends(_engine)]
BaseUrl = Annotated[str, Depends(_base_url)]
router = APIRouter(prefix="/api/v2/accounts", dependencies=[Depends(_authorized)])


@router.get("/")
def list_accounts(request: Request, engine: EngineOf) -> Response:
    """List the accounts that the token opens: one."""
    queries.parse(queries.Query, request.query_params)
    return _page([payloads.account(engine.config.account)], queries.ListQuery(), 1)


@router.get("/{account_id:int}/")
def get_account(request: Request, engine: EngineOf) -> Response:
    """Return the account."""
    queries.parse(queries.Query, request.query_params)
    return envelope(payloads.account(engine.config.account))


@router.get("/{account_id:int}/projects/")
def list_projects(account_id: int, request: Request, engine: EngineOf) -> Response:
    """List the projects."""
    query = queries.parse(queries.ProjectQuery, request.query_params)
    return _select([payloads.project(one, account_id) for one in engine.config.projects], query)


@router.get("/{account_id:int}/projects/{project_id:int}/")
def get_project(account_id: int, project_id: int, request: Request, engine: EngineOf) -> Response:
    """Return a project."""
    queries.parse(queries.Query, request.query_params)
    return _one([payloads.project(one, account_id) for one in engine.config.projects], project_id)


@router.get("/{account_id:int}/environments/")
def list_environments(account_id: int, request: Request, engine: EngineOf) -> Response:
    """List the environments."""
    query = queries.parse(queries.EnvironmentQuery, request.query_params)
    return _select([payloads.environment(one, account_id) for one in engine.config.environments], query)


@router.get("/{account_id:int}/environments/{environment_id:int}/")
def get_environment(account_id: int, environment_id: int, request: Request, engine: EngineOf) -> Response:
    """Return an environment."""
    queries.parse(queries.Query, request.query_params)
    return _one([payloads.environment(one, account_id) for one in engine.config.environments], environment_id)


@router.get("/{account_id:int}/jobs/")
def list_jobs(request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """List the jobs."""
    query = queries.parse(queries.JobQuery, request.query_params)
    include = queries.related(query)
    return _select([payloads.job(one, engine, base_url, include) for one in engine.config.jobs], query)


@router.get("/{account_id:int}/jobs/{job_id:int}/")
def get_job(job_id: int, request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Return a job."""
    include = queries.related(queries.parse(queries.Query, request.query_params))
    return envelope(payloads.job(engine.job(job_id), engine, base_url, include))


@router.get("/{account_id:int}/jobs/{job_id:int}/artifacts/{path:path}")
def get_job_artifact(job_id: int, path: str, request: Request, engine: EngineOf) -> Response:
    """Return an artifact of the job's newest run that left any."""
    queries.parse(queries.Query, request.query_params)
    newest = Selection(["job_id = ?", "artifacts_saved"], [engine.job(job_id).id], "id DESC", limit=1)
    runs, _ = engine.runs(newest)
    if not runs:
        raise NotFoundError(f"No run of the job {job_id} left artifacts.")
    return _file(engine, runs[0], path)


async def _body(request: Request) -> bytes:
    return await request.body()


def _no_query(request: Request) -> None:
    queries.parse(queries.NoQuery, request.query_params)


def _no_body(body: Annotated[bytes, Depends(_body)]) -> None:
    queries.NoBody.from_json(body)


NO_QUERY = [Depends(_no_query)]
NOTHING = [Depends(_no_query), Depends(_no_body)]


@router.post("/{account_id:int}/jobs/{job_id:int}/run/", dependencies=NO_QUERY)
def trigger_job(
    job_id: int, body: Annotated[bytes, Depends(_body)], engine: EngineOf, base_url: BaseUrl
) -> Response:
    """Start a run of a job."""
    engine.job(job_id)
    given = queries.TriggerBody.from_json(body).model_dump(exclude_unset=True)
    return _started(engine, base_url, lambda: engine.trigger(job_id, given))


@router.post("/{account_id:int}/jobs/{job_id:int}/rerun/", dependencies=NOTHING)
def rerun_job(job_id: int, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Start a run from where the job's last one failed, or else a plain one."""
    return _started(engine, base_url, lambda: engine.rerun(job_id))


@router.get("/{account_id:int}/runs/")
def list_runs(request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """List runs."""
    query = queries.parse(queries.RunQuery, request.query_params)
    include = queries.related(query) & {"trigger", "job", "audit"}
    runs, total = engine.runs(query.selection())
    return _page([payloads.run(one, engine, base_url, include) for one in runs], query, total)


@router.get("/{account_id:int}/runs/{run_id:int}/")
def get_run(run_id: int, request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Return a run, with the related objects that are asked for."""
    include = queries.related(queries.parse(queries.Query, request.query_params))
    return envelope(payloads.run(engine.run(run_id), engine, base_url, include))


@router.post("/{account_id:int}/runs/{run_id:int}/cancel/", dependencies=NOTHING)
def cancel_run(run_id: int, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Cancel a run; nothing happens to one that has ended."""
    return envelope(payloads.run(engine.cancel(run_id), engine, base_url, {"trigger", "job"}))


@router.get("/{account_id:int}/runs/{run_id:int}/retry/")
def get_failure(run_id: int, request: Request, engine: EngineOf) -> Response:
    """Tell which step of a run failed and which were skipped."""
    queries.parse(queries.Query, request.query_params)
    failure = engine.history.failure(engine.run(run_id))
    if failure is None:
        raise RefusedError("retry_not_supported_reason", "RETRY_NOT_FAILED_RUN")
    failed, skipped = failure
    return envelope({"failed_step": failed.name, "skipped_steps": [one.name for one in skipped]})


@router.post("/{account_id:int}/runs/{run_id:int}/retry/", dependencies=NOTHING)
def retry_run(run_id: int, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Start a run that takes up exactly this failed one."""
    return _started(engine, base_url, lambda: engine.retry(run_id))


@router.get("/{account_id:int}/runs/{run_id:int}/artifacts/")
def list_artifacts(run_id: int, request: Request, engine: EngineOf) -> Response:
    """List the paths of a run's artifacts; null if there are none."""
    query = queries.parse(queries.ArtifactQuery, request.query_params)
    return envelope(engine.history.artifacts(engine.run(run_id), query.step) or None)


@router.get("/{account_id:int}/runs/{run_id:int}/artifacts/{path:path}")
def get_artifact(run_id: int, path: str, request: Request, engine: EngineOf) -> Response:
    """Return an artifact's content as it is."""
    query = queries.parse(queries.ArtifactQuery, request.query_params)
    return _file(engine, engine.run(run_id), path, query.step)


def _file(engine: Engine, run: Run, path: str, step: int | None = None) -> Response:
    content = engine.history.artifact(run, path.rstrip("/"), step)
    kind = "application/json" if path.rstrip("/").endswith(".json") else "application/octet-stream"
    return Response(content, media_type=kind)


@router.get("/{account_id:int}/steps/{step_id:int}/")
def get_step(account_id: int, step_id: int, request: Request, engine: EngineOf) -> Response:
    """Return a step with its logs."""
    full = "debug_logs" in queries.related(queries.parse(queries.Query, request.query_params))
    run_id, index = step_key(step_id)
    run = engine.run(run_id)
    record = engine.history.step(run, index)
    return envelope(payloads.step(record, run, engine, account_id, full_debug_logs=full))


def _started(engine: Engine, base_url: str, start: Callable[[], Any]) -> Response:
    """Answer with a run as it was when it was queued, then let it begin."""
    with engine.held():
        answer = envelope(payloads.run(start(), engine, base_url, {"trigger", "job"}))
    engine.settle()
    return answer


def _one(shown: Sequence[payloads.Json], wanted: int) -> Response:
    for one in shown:
        if one["id"] == wanted:
            return envelope(one)
    raise HTTPException(404)


def _select(shown: Sequence[payloads.Json], query: queries.ListQuery) -> Response:
    """Filter, order and page a list that is small enough to be in memory as it is shown."""
    chosen = [one for one in shown if _matches(one, query)]
    order = query.order_by.lstrip("-")
    chosen.sort(key=lambda one: (one[order], one["id"]), reverse=query.order_by.startswith("-"))
    return _page(chosen[query.offset : query.offset + query.limit], query, len(chosen))


_CONDITIONS: dict[str, Callable[[Any, Any], bool]] = {
    "": operator.eq,
    "gt": operator.gt,
    "in": lambda value, wanted: value in wanted,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
}


# Filters for what no object here shows, with what they would find.
_UNSHOWN = {"is_fusion_ready": False, "is_system": False, "triggers_schedule": False}


def _matches(one: Mapping[str, Any], query: queries.ListQuery) -> bool:
    """Whether an object passes every filter that was given."""
    one = {**one, **_UNSHOWN}
    given = query.filters()
    for name in ("limit", "offset"):
        given.pop(name, None)
    for name, wanted in given.items():
        field, _, condition = name.partition("__")
        if field == "state":
            if wanted in ("2", "deleted"):
                return False
            continue
        field = "id" if field == "pk" else field
        if one[field] is None or not _CONDITIONS[condition](one[field], wanted):
            return False
    return True


def _page(shown: Sequence[payloads.Json], query: queries.ListQuery, total: int) -> Response:
    extra = {
        "filters": {**query.filters(), "limit": query.limit, "offset": query.offset},
        "order_by": query.order_by,
        "pagination": {"count": len(shown), "total_count": total},
    }
    return envelope(shown, extra=extra)


async def _slashes(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a path without its last slash with 308; one with a doubled slash is unknown."""
    # Not `request.url.path`: that is taken apart once more after decoding, at a `?` within it for example.
    path = request.scope["path"]
    if _ENDLESS.search(path):
        return _not_found(request, NotFoundError(path))
    if path.startswith("/api/"):
        if "//" in path:
            return envelope(None, 404, NOT_FOUND)
        if not path.endswith("/") and not _ARTIFACT.fullmatch(path):
            query = f"?{request.url.query}" if request.url.query else ""
            return Response(status_code=308, headers={"Location": f"{quote(path)}/{query}"})
    return await call_next(request)


def _http_error(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    if code == 405:
        # A path may have a route for each of its methods.
        routes = [one for one in router.routes if one.matches(request.scope)[0] is not Match.NONE]
        allowed = sorted({method for route in routes for method in getattr(route, "methods", ())})
        headers = {"Allow": ", ".join(allowed)}
        return JSONResponse({"detail": f'Method "{request.method}" not allowed.'}, 405, headers)
    if code == 404 and not request.url.path.startswith("/api/"):
        return pages.not_found()
    return envelope(None, code, {401: UNAUTHORIZED, 404: NOT_FOUND}.get(code, "Error"))


def _not_found(request: Request, error: Exception) -> Response:
    if not request.url.path.startswith("/api/"):
        return pages.not_found()
    return envelope(None, 404, NOT_FOUND)


def _refused(_: Request, error: Exception) -> Response:
    field = error.field if isinstance(error, RefusedError) else "detail"
    return envelope({field: str(error)}, 400, INVALID)


def _invalid(_: Request, error: Exception) -> Response:
    return envelope(
        error.data if isinstance(error, queries.InvalidRequestError) else str(error), 400, INVALID
    )
