"""What there is: the account, its projects, environments and jobs."""

from fastapi import APIRouter, Depends, Request, Response

from airflow_provider_dbtcloud_dlt.emulator import payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.access import Token
from airflow_provider_dbtcloud_dlt.emulator.answers import envelope
from airflow_provider_dbtcloud_dlt.emulator.api import lists
from airflow_provider_dbtcloud_dlt.emulator.api.dependencies import (
    BaseUrl,
    EngineOf,
    JobOf,
    TokenOf,
    authorized,
)
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine

router = APIRouter(prefix="/api/v2/accounts", dependencies=[Depends(authorized)])
# The official Airflow provider looks projects and environments up in version 3, which has these below those:
# https://docs.getdbt.com/dbt-cloud/api-v3.
v3 = APIRouter(prefix="/api/v3/accounts", dependencies=[Depends(authorized)])


@router.get("/")
def list_accounts(request: Request, engine: EngineOf) -> Response:
    """List the accounts that the token opens: one."""
    queries.parse(queries.Query, request.query_params)
    return lists.page([payloads.account(engine.config.account)], queries.ListQuery(), 1)


@router.get("/{account_id:int}/")
def get_account(request: Request, engine: EngineOf) -> Response:
    """Return the account."""
    queries.parse(queries.Query, request.query_params)
    return envelope(payloads.account(engine.config.account))


@router.get("/{account_id:int}/projects/")
def list_projects(request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the projects."""
    query = queries.parse(queries.ProjectQuery, request.query_params, request.path_params["account_id"])
    return lists.select(_projects(engine, token), query)


@router.get("/{account_id:int}/projects/{project_id:int}/")
def get_project(project_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Return a project."""
    queries.parse(queries.Query, request.query_params)
    return lists.one(_projects(engine, token), project_id)


@router.get("/{account_id:int}/environments/")
def list_environments(request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the environments."""
    query = queries.parse(queries.EnvironmentQuery, request.query_params, request.path_params["account_id"])
    return lists.select(_environments(engine, token), query)


@router.get("/{account_id:int}/environments/{environment_id:int}/")
def get_environment(environment_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Return an environment."""
    queries.parse(queries.Query, request.query_params)
    return lists.one(_environments(engine, token), environment_id)


@router.get("/{account_id:int}/jobs/")
def list_jobs(request: Request, engine: EngineOf, token: TokenOf, base_url: BaseUrl) -> Response:
    """List the jobs."""
    query = queries.parse(queries.JobQuery, request.query_params, request.path_params["account_id"])
    include = queries.related(query)
    seen = [one for one in engine.config.jobs if token.sees(one.environment.project.id)]
    return lists.select([payloads.job(one, engine, base_url, include) for one in seen], query)


@router.get("/{account_id:int}/jobs/{job_id:int}/")
def get_job(job: JobOf, request: Request, engine: EngineOf, base_url: BaseUrl) -> Response:
    """Return a job."""
    include = queries.related(queries.parse(queries.Query, request.query_params))
    return envelope(payloads.job(job, engine, base_url, include))


v3.get("/{account_id:int}/projects/")(list_projects)
v3.get("/{account_id:int}/projects/{project_id:int}/")(get_project)


@v3.get("/{account_id:int}/projects/{project_id:int}/environments/", name="list_environments")
def list_environments_of(project_id: int, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the environments of a project."""
    query = queries.parse(queries.EnvironmentQueryV3, request.query_params, request.path_params["account_id"])
    known = _environments(engine, token)
    return lists.select([one for one in known if one["project_id"] == project_id], query)


@v3.get(
    "/{account_id:int}/projects/{project_id:int}/environments/{environment_id:int}/", name="get_environment"
)
def get_environment_of(
    project_id: int, environment_id: int, request: Request, engine: EngineOf, token: TokenOf
) -> Response:
    """Return an environment of a project."""
    queries.parse(queries.Query, request.query_params)
    known = _environments(engine, token)
    return lists.one([one for one in known if one["project_id"] == project_id], environment_id)


def _projects(engine: Engine, token: Token) -> list[payloads.Json]:
    seen = [one for one in engine.config.projects if token.sees(one.id)]
    return [payloads.project(one, engine.config.account.id) for one in seen]


def _environments(engine: Engine, token: Token) -> list[payloads.Json]:
    seen = [one for one in engine.config.environments if token.sees(one.project.id)]
    return [payloads.environment(one, engine.config.account.id) for one in seen]
