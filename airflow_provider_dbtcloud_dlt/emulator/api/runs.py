"""Runs: how they are started, followed and ended, and what they leave."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from airflow_provider_dbtcloud_dlt.emulator import payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.answers import envelope
from airflow_provider_dbtcloud_dlt.emulator.api import lists
from airflow_provider_dbtcloud_dlt.emulator.api.dependencies import (
    NO_QUERY,
    NOTHING,
    BaseUrl,
    BodyOf,
    EngineOf,
    JobOf,
    RunOf,
    TokenOf,
    authorized,
    run_of,
)
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine, RefusedError
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Selection, step_key

router = APIRouter(prefix="/api/v2/accounts", dependencies=[Depends(authorized)])


@router.post("/{account_id:int}/jobs/{job_id:int}/run/", dependencies=NO_QUERY)
def trigger_job(job: JobOf, body: BodyOf, engine: EngineOf, base_url: BaseUrl) -> Response:
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
    return lists.page([payloads.run(one, engine, base_url, include) for one in runs], query, total)


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


@router.get("/{account_id:int}/jobs/{job_id:int}/artifacts/{path:path}")
def get_job_artifact(job: JobOf, path: str, request: Request, engine: EngineOf) -> Response:
    """Return an artifact of the job's newest run that left any."""
    queries.parse(queries.Query, request.query_params)
    newest = Selection(["job_id = ?", "artifacts_saved"], [job.id], "id DESC", limit=1)
    runs, _ = engine.runs(newest)
    if not runs:
        raise NotFoundError(f"No run of the job {job.id} left artifacts.")
    return _file(engine, runs[0], path)


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
    run = run_of(run_id, engine, token)
    record = engine.history.step(run, index)
    return envelope(payloads.step(record, run, engine, account_id, full_debug_logs=full))


def _started(engine: Engine, base_url: str, start: Callable[[], Any]) -> Response:
    """Answer with a run as it was when it was queued, then let it begin."""
    with engine.held():
        answer = envelope(payloads.run(start(), engine, base_url, {"trigger", "job"}))
    engine.settle()
    return answer
