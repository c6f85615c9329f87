"""The HTTP endpoints: each takes a request apart, asks the engine, and wraps the answer as dbt Cloud does.

The paths are those of https://docs.getdbt.com/dbt-cloud/api-v2.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_dbtcloud_dlt.emulator import answers, payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.access import Keyring, Token
from airflow_provider_dbtcloud_dlt.emulator.answers import envelope
from airflow_provider_dbtcloud_dlt.emulator.config import Job
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine, RefusedError
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.pages import routes as pages
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, step_key

# An artifact's path is the only one without a slash at its end.
_ARTIFACT = re.compile(r"/api/v2/accounts/\d+/(runs|jobs)/\d+/artifacts/.+", re.DOTALL)
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
    app.include_router(router)
    app.include_router(v3)
    app.include_router(pages.router)
    app.add_middleware(_Slashes)
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


def _authorized(request: Request) -> Token:
    """Let a request through that knows a token and, where it names one, the account."""
    keyring: Keyring = request.app.state.keyring
    account = _engine(request).config.account
    token = keyring.find(request.headers.get("authorization", ""))
    if token is None or request.path_params.get("account_id", account.id) != account.id:
        raise HTTPException(401)
    if token.read_only and request.method != "GET":
        raise HTTPException(403)
    return token


_FoundT = TypeVar("_FoundT")
EngineOf = Annotated[Engine, Depends(_engine)]
BaseUrl = Annotated[str, Depends(_base_url)]
TokenOf = Annotated[Token, Depends(_authorized)]


def _job(job_id: int, engine: EngineOf, token: TokenOf) -> Job:
    job = engine.job(job_id)
    return _visible(job, job.environment.project.id, token)


def _run(run_id: int, engine: EngineOf, token: TokenOf) -> Run:
    run = engine.run(run_id)
    return _visible(run, run.project_id, token)


def _visible(found: _FoundT, project_id: int, token: Token) -> _FoundT:
    """Return what was found, unless it does not exist for the token."""
    if not token.sees(project_id):
        raise NotFoundError("It is in a project that the token does not see.")
    return found


JobOf = Annotated[Job, Depends(_job)]
RunOf = Annotated[Run, Depends(_run)]
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
def list_projects(request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the projects."""
    query = queries.parse(queries.ProjectQuery, request.query_params, request.path_params["account_id"])
    return _select(_projects(engine, token), query)


@router.get("/{account_id:int}/projects/{project_id:int}/")
def get_project(project_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Return a project."""
    queries.parse(queries.Query, request.query_params)
    return _one(_projects(engine, token), project_id)


@router.get("/{account_id:int}/environments/")
def list_environments(request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the environments."""
    model = queries.EnvironmentQuery if _is_v2(request) else queries.EnvironmentQueryV3
    query = queries.parse(model, request.query_params, request.path_params["account_id"])
    return _select(_environments(engine, token), query)


@router.get("/{account_id:int}/environments/{environment_id:int}/")
def get_environment(environment_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Return an environment."""
    queries.parse(queries.Query, request.query_params)
    return _one(_environments(engine, token), environment_id)


@router.get("/{account_id:int}/jobs/")
def list_jobs(request: Request, engine: EngineOf, token: TokenOf, base_url: BaseUrl) -> Response:
    """List the jobs."""
    query = queries.parse(queries.JobQuery, request.query_params, request.path_params["account_id"])
    include = queries.related(query)
    seen = [one for one in engine.config.jobs if token.sees(one.environment.project.id)]
    return _select([payloads.job(one, engine, base_url, include) for one in seen], query)


@router.get("/{account_id:int}/jobs/{job_id:int}/")
def get_job(job: JobOf, request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Return a job."""
    include = queries.related(queries.parse(queries.Query, request.query_params))
    return envelope(payloads.job(job, engine, base_url, include))


@router.get("/{account_id:int}/jobs/{job_id:int}/artifacts/{path:path}")
def get_job_artifact(job: JobOf, path: str, request: Request, engine: EngineOf) -> Response:
    """Return an artifact of the job's newest run that left any."""
    queries.parse(queries.Query, request.query_params)
    newest = Selection(["job_id = ?", "artifacts_saved"], [job.id], "id DESC", limit=1)
    runs, _ = engine.runs(newest)
    if not runs:
        raise NotFoundError(f"No run of the job {job.id} left artifacts.")
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
    job: JobOf, body: Annotated[bytes, Depends(_body)], engine: EngineOf, base_url: BaseUrl
) -> Response:
    """Start a run of a job."""
    given = queries.TriggerBody.from_json(body).model_dump(exclude_unset=True)
    return _started(engine, base_url, lambda: engine.trigger(job.id, given))


@router.post("/{account_id:int}/jobs/{job_id:int}/rerun/", dependencies=NOTHING)
def rerun_job(job: JobOf, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Start a run from where the job's last one failed, or else a plain one."""
    return _started(engine, base_url, lambda: engine.rerun(job.id))


@router.get("/{account_id:int}/runs/")
def list_runs(request: Request, engine: EngineOf, token: TokenOf, base_url: BaseUrl) -> Response:
    """List runs."""
    query = queries.parse(queries.RunQuery, request.query_params, request.path_params["account_id"])
    include = queries.related(query) & {"trigger", "job", "audit"}
    runs, total = engine.runs(query.selection(token.projects))
    return _page([payloads.run(one, engine, base_url, include) for one in runs], query, total)


@router.get("/{account_id:int}/runs/{run_id:int}/")
def get_run(run: RunOf, request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Return a run, with the related objects that are asked for."""
    include = queries.related(queries.parse(queries.Query, request.query_params))
    return envelope(payloads.run(run, engine, base_url, include))


@router.post("/{account_id:int}/runs/{run_id:int}/cancel/", dependencies=NOTHING)
def cancel_run(run: RunOf, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Cancel a run; nothing happens to one that has ended."""
    return envelope(payloads.run(engine.cancel(run.id), engine, base_url, {"trigger", "job"}))


@router.get("/{account_id:int}/runs/{run_id:int}/retry/")
def get_failure(run: RunOf, request: Request, engine: EngineOf) -> Response:
    """Tell which step of a run failed and which were skipped."""
    queries.parse(queries.Query, request.query_params)
    failure = engine.history.failure(run)
    if failure is None:
        raise RefusedError("retry_not_supported_reason", "RETRY_NOT_FAILED_RUN")
    failed, skipped = failure
    return envelope({"failed_step": failed.name, "skipped_steps": [one.name for one in skipped]})


@router.post("/{account_id:int}/runs/{run_id:int}/retry/", dependencies=NOTHING)
def retry_run(run: RunOf, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Start a run that takes up exactly this failed one."""
    return _started(engine, base_url, lambda: engine.retry(run.id))


@router.get("/{account_id:int}/runs/{run_id:int}/artifacts/")
def list_artifacts(run: RunOf, request: Request, engine: EngineOf) -> Response:
    """List the paths of a run's artifacts; null if there are none."""
    query = queries.parse(queries.ArtifactQuery, request.query_params)
    known = engine.history.artifacts(run, query.step) if engine.history.artifacts_are_in(run) else []
    return envelope(known or None)


@router.get("/{account_id:int}/runs/{run_id:int}/artifacts/{path:path}")
def get_artifact(run: RunOf, path: str, request: Request, engine: EngineOf) -> Response:
    """Return an artifact's content as it is."""
    query = queries.parse(queries.ArtifactQuery, request.query_params)
    return _file(engine, run, path, query.step)


def _file(engine: Engine, run: Run, path: str, step: int | None = None) -> Response:
    if not engine.history.artifacts_are_in(run):
        raise NotFoundError(f"The artifacts of run {run.id} are not there yet.")
    content = engine.history.artifact(run, path.rstrip("/"), step)
    kind = "application/json" if path.rstrip("/").endswith(".json") else "application/octet-stream"
    return Response(content, media_type=kind)


@router.get("/{account_id:int}/steps/{step_id:int}/")
def get_step(account_id: int, step_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Return a step with its logs."""
    full = "debug_logs" in queries.related(queries.parse(queries.Query, request.query_params))
    run_id, index = step_key(step_id)
    run = _run(run_id, engine, token)
    record = engine.history.step(run, index)
    return envelope(payloads.step(record, run, engine, account_id, full_debug_logs=full))


def _started(engine: Engine, base_url: str, start: Callable[[], Any]) -> Response:
    """Answer with a run as it was when it was queued, then let it begin."""
    with engine.held():
        answer = envelope(payloads.run(start(), engine, base_url, {"trigger", "job"}))
    engine.settle()
    return answer


def _is_v2(request: Request) -> bool:
    path: str = request.scope["path"]
    return path.startswith("/api/v2/")


def _projects(engine: Engine, token: Token) -> list[payloads.Json]:
    seen = [one for one in engine.config.projects if token.sees(one.id)]
    return [payloads.project(one, engine.config.account.id) for one in seen]


def _environments(engine: Engine, token: Token) -> list[payloads.Json]:
    seen = [one for one in engine.config.environments if token.sees(one.project.id)]
    return [payloads.environment(one, engine.config.account.id) for one in seen]


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


class _Slashes:
    """Answers a path without its last slash with 308; one with a doubled slash is unknown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        answer: ASGIApp = self._app
        if _ENDLESS.search(path) or (path.startswith("/api/") and "//" in path):
            answer = answers.failed(404)
        elif path.startswith("/api/") and not path.endswith("/") and not _ARTIFACT.fullmatch(path):
            query = scope["query_string"].decode("latin-1")
            location = f"{quote(path)}/" + (f"?{query}" if query else "")
            answer = Response(status_code=308, headers={"Location": location})
        await answer(scope, receive, send)


def _http_error(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "Error")
    path = request.scope["path"]
    if path.startswith("/emulator/"):
        return JSONResponse({"detail": detail}, code)
    if code == 405:
        allowed = sorted(method for method in _PATHS if endpoint_of(method, path) is not None)
        return answers.failed(code, {"Allow": ", ".join(allowed)}, request.method)
    if code == 404 and not request.url.path.startswith("/api/"):
        return pages.not_found()
    return answers.failed(code)


def _not_found(request: Request, error: Exception) -> Response:
    return _http_error(request, HTTPException(404))


def _refused(_: Request, error: Exception) -> Response:
    field = error.field if isinstance(error, RefusedError) else "detail"
    return answers.invalid({field: str(error)})


def _invalid(_: Request, error: Exception) -> Response:
    return answers.invalid(error.data if isinstance(error, queries.InvalidRequestError) else str(error))


def endpoint_of(method: str, path: str) -> str | None:
    """Return the name of the endpoint that serves a request, such as ``get_run``; None if none does."""
    return next((name for name, pattern in _PATHS.get(method, ()) if pattern.match(path)), None)


# The official Airflow provider looks projects and environments up in the next version of the API, which shows
# them alike: https://docs.getdbt.com/dbt-cloud/api-v3.
v3 = APIRouter(prefix="/api/v3/accounts", dependencies=[Depends(_authorized)])
v3.get("/{account_id:int}/projects/")(list_projects)
v3.get("/{account_id:int}/projects/{project_id:int}/")(get_project)
v3.get("/{account_id:int}/environments/")(list_environments)
v3.get("/{account_id:int}/environments/{environment_id:int}/")(get_environment)

_PATHS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _route in [*router.routes, *v3.routes]:
    if isinstance(_route, APIRoute):
        for _method in _route.methods:
            _PATHS.setdefault(_method, []).append((_route.name, _route.path_regex))
ENDPOINTS = frozenset(name for paths in _PATHS.values() for name, _ in paths)
