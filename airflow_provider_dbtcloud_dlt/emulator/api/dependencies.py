"""What endpoints ask of a request: who sends it, its body, and the job or run that its path names."""

from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from airflow_provider_dbtcloud_dlt.emulator import queries
from airflow_provider_dbtcloud_dlt.emulator.access import Keyring, Token
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.served import Job
from airflow_provider_dbtcloud_dlt.emulator.store import Run


def engine_of(request: Request) -> Engine:
    """Return what is served."""
    engine: Engine = request.app.state.engine
    return engine


def base_url_of(request: Request) -> str:
    """Return where the emulator is served, for links."""
    return request.app.state.public_url or str(request.base_url).rstrip("/")


def authorized(request: Request) -> Token:
    """Let a request through that knows a token and, where it names one, the account."""
    keyring: Keyring = request.app.state.keyring
    account = engine_of(request).config.account
    token = keyring.find(request.headers.get("authorization", ""))
    if token is None or request.path_params.get("account_id", account.id) != account.id:
        raise HTTPException(401)
    if token.read_only and request.method != "GET":
        raise HTTPException(403)
    return token


async def body_of(request: Request) -> bytes:
    """Return the body as it came."""
    return await request.body()


_FoundT = TypeVar("_FoundT")
EngineOf = Annotated[Engine, Depends(engine_of)]
BaseUrl = Annotated[str, Depends(base_url_of)]
TokenOf = Annotated[Token, Depends(authorized)]
BodyOf = Annotated[bytes, Depends(body_of)]


def _no_query(request: Request) -> None:
    queries.parse(queries.NoQuery, request.query_params)


def _no_body(body: BodyOf) -> None:
    queries.NoBody.from_json(body)


NO_QUERY = [Depends(_no_query)]
NOTHING = [Depends(_no_query), Depends(_no_body)]


def job_of(job_id: int, engine: EngineOf, token: TokenOf) -> Job:
    """Return the job that the path names, if it exists for the token."""
    job = engine.job(job_id)
    return _visible(job, job.environment.project.id, token)


def run_of(run_id: int, engine: EngineOf, token: TokenOf) -> Run:
    """Return the run that the path names, if it exists for the token."""
    run = engine.run(run_id)
    return _visible(run, run.project_id, token)


def _visible(found: _FoundT, project_id: int, token: Token) -> _FoundT:
    """Return what was found, unless it does not exist for the token."""
    if not token.sees(project_id):
        raise NotFoundError("It is in a project that the token does not see.")
    return found


JobOf = Annotated[Job, Depends(job_of)]
RunOf = Annotated[Run, Depends(run_of)]
