"""The pages for people: all runs, and one run with its steps, results, logs and artifacts.

They need no token (this is a tool for the machine that it runs on), no network, and no script.
"""

import importlib.resources
from dataclasses import replace
from urllib.parse import quote

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_provider_dbtcloud_dlt.emulator import payloads
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.pages import filters, views
from airflow_provider_dbtcloud_dlt.emulator.pages.filters import Filter
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, Status

RELOAD_SECONDS = 5
RUN_PATH = "/deploy/{account_id:int}/projects/{project_id:int}/runs/{run_id:int}"
# Whatever dbt prints is shown as text; these keep it so even if a template should once forget to.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter()
_templates = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (
            importlib.resources.files("airflow_provider_dbtcloud_dlt.emulator.pages") / "templates" / name
        ).read_text("utf-8")
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["moment"] = views.moment
_templates.filters["status_name"] = payloads.status_name
# jinja2's own filter fails for the names of files that are not UTF-8.
_templates.filters["in_path"] = lambda path: quote(path, errors="replace")


@router.get("/")
def index(request: Request) -> Response:
    """Show the newest runs, or a page of those that were chosen."""
    engine: Engine = request.app.state.engine
    chosen, problems = Filter.of(request.query_params)
    runs, from_here = engine.runs(chosen.selection())
    total = _count(engine, chosen)
    newer = None
    if total > from_here:
        nearest, _ = engine.runs(chosen.newer())
        newer = chosen.link(before=nearest[filters.PAGE].id if len(nearest) > filters.PAGE else None)
    _, unfinished = engine.runs(Selection(["status < ?"], [Status.SUCCESS], limit=0))
    return _page(
        "runs.html",
        engine,
        runs=runs,
        total=total,
        first=total - from_here + 1,
        newer=newer,
        older=chosen.link(before=runs[-1].id) if from_here > len(runs) else None,
        chosen=chosen,
        problems=problems,
        statuses=_statuses(engine, chosen),
        jobs=_jobs(engine, chosen),
        in_progress=unfinished > 0 and chosen.before is None,
    )


@router.get(f"{RUN_PATH}/")
def run(account_id: int, project_id: int, run_id: int, request: Request) -> Response:
    """Show a run: what failed first, then all steps."""
    engine: Engine = request.app.state.engine
    record = _run(engine, account_id, project_id, run_id)
    reload = request.query_params.get("reload") != "off"
    return _page("run.html", engine, view=views.of_run(record, engine), run=record, reload=reload)


@router.get(f"{RUN_PATH}/steps/{{step:int}}/output.log")
def log(account_id: int, project_id: int, run_id: int, step: int, request: Request) -> Response:
    """Return all that a step printed."""
    engine: Engine = request.app.state.engine
    record = engine.history.step(_run(engine, account_id, project_id, run_id), step)
    return _text(record.logs or "")


@router.get(f"{RUN_PATH}/steps/{{step:int}}/dbt.log")
def debug_log(account_id: int, project_id: int, run_id: int, step: int, request: Request) -> Response:
    """Return a step's whole debug log."""
    engine: Engine = request.app.state.engine
    record = engine.history.step(_run(engine, account_id, project_id, run_id), step)
    return _text(engine.history.debug_log(record))


@router.get(f"{RUN_PATH}/artifacts/{{step:int}}/")
def artifacts(account_id: int, project_id: int, run_id: int, step: int, request: Request) -> Response:
    """List the files that a step left."""
    engine: Engine = request.app.state.engine
    record = _run(engine, account_id, project_id, run_id)
    name = engine.history.step(record, step).name
    paths = engine.history.artifacts(record, step)
    return _page("artifacts.html", engine, run=record, index=step, name=name, paths=paths)


@router.get(f"{RUN_PATH}/artifacts/{{step:int}}/{{path:path}}")
def artifact(
    account_id: int, project_id: int, run_id: int, step: int, path: str, request: Request
) -> Response:
    """Return one of these files, as text whatever it is."""
    engine: Engine = request.app.state.engine
    record = _run(engine, account_id, project_id, run_id)
    engine.history.step(record, step)
    return _text(engine.history.artifact(record, path, step))


def not_found() -> Response:
    """Return the page for an address that leads nowhere."""
    return HTMLResponse(_templates.get_template("not_found.html").render(), 404, HEADERS)


def _run(engine: Engine, account_id: int, project_id: int, run_id: int) -> Run:
    record = engine.run(run_id)
    if (account_id, project_id) != (engine.config.account.id, record.project_id):
        raise NotFoundError(f"There is no run {run_id} in project {project_id}.")
    return record


def _statuses(engine: Engine, chosen: Filter) -> list[tuple[str, str, int, bool]]:
    """Return label, address, number of runs and whether it is chosen, for each status that has runs."""
    links = []
    # What people come for is first.
    for status in dict.fromkeys([None, Status.ERROR, *Status]):
        count = _count(engine, replace(chosen, status=status))
        if count or status in (None, Status.ERROR, chosen.status):
            label = "All" if status is None else payloads.status_name(status)
            links.append((label, chosen.link(status=status), count, status is chosen.status))
    return links


def _jobs(engine: Engine, chosen: Filter) -> list[tuple[str, str, int, bool]]:
    """Return the same for each job; one that is not configured any more only if it is chosen."""
    names: dict[int | None, str] = {None: "All", **{job.id: job.name for job in engine.config.jobs}}
    names.setdefault(chosen.job_id, f"Job {chosen.job_id}")
    return [
        (name, chosen.link(job_id=id_), _count(engine, replace(chosen, job_id=id_)), id_ == chosen.job_id)
        for id_, name in names.items()
    ]


def _count(engine: Engine, chosen: Filter) -> int:
    return engine.runs(chosen.count())[1]


def _page(template: str, engine: Engine, **values: object) -> Response:
    values |= {
        "account": engine.config.account,
        "address": lambda run: payloads.page(run, engine.config.account.id),
        "job_names": {job.id: job.name for job in engine.config.jobs},
        "environment_names": {one.id: one.name for one in engine.config.environments},
        "now": engine.clock.now(),
        "span": views.span,
        "reload_seconds": RELOAD_SECONDS,
        "max_text": views.MAX_TEXT,
    }
    return _answer(_templates.get_template(template).render(values), "text/html")


def _text(content: str | bytes) -> Response:
    return _answer(content, "text/plain")


def _answer(content: str | bytes, kind: str) -> Response:
    # JSON can smuggle in what no encoding has: half of a surrogate pair.
    encoded = content.encode(errors="replace") if isinstance(content, str) else content
    return Response(encoded, headers=HEADERS, media_type=kind)
