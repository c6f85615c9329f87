"""The pages for people: all runs, and one run with its steps and logs.

They need no token (this is a tool for the machine that it runs on), no network, and no script.
"""

import importlib.resources

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from airflow_provider_dbtcloud_dlt.emulator import payloads
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.store import Selection

RUNS_SHOWN = 100

router = APIRouter()
_templates = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (
            importlib.resources.files("airflow_provider_dbtcloud_dlt.emulator") / "templates" / name
        ).read_text("utf-8")
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@router.get("/")
def index(request: Request) -> Response:
    """Show the newest runs."""
    engine: Engine = request.app.state.engine
    runs, total = engine.runs(Selection(order="id DESC", limit=RUNS_SHOWN))
    shown = [payloads.run(run, engine, "", {"trigger"}) for run in runs]
    names = {job.id: job.name for job in engine.config.jobs}
    return _page("runs.html", runs=shown, total=total, names=names, account=engine.config.account)


@router.get("/deploy/{account_id:int}/projects/{project_id:int}/runs/{run_id:int}/")
def run(account_id: int, project_id: int, run_id: int, request: Request) -> Response:
    """Show a run with its steps and logs."""
    engine: Engine = request.app.state.engine
    record = engine.run(run_id)
    if (account_id, project_id) != (engine.config.account.id, record.project_id):
        raise NotFoundError(f"There is no run {run_id} in project {project_id}.")
    shown = payloads.run(record, engine, "", {"trigger", "run_steps"}, live=True)
    names = {job.id: job.name for job in engine.config.jobs}
    return _page("run.html", run=shown, names=names, artifacts=engine.history.artifacts(record))


def not_found() -> Response:
    """Return the page for an address that leads nowhere."""
    return _page("not_found.html", 404)


def _page(name: str, status: int = 200, **values: object) -> HTMLResponse:
    # Whatever dbt prints is shown as text; this keeps it so even if a template should once forget to.
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(_templates.get_template(name).render(values), status, headers)
