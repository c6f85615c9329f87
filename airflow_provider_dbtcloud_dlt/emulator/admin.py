"""What dbt Cloud does not have: faults, time, tokens and scripts on request, and counts of what arrived.

For whoever tests against an emulator in another process; a test that has it in its own uses `testing`. Every
request needs the account's own token, also after that has expired for the API, and bodies are JSON::

    GET    /emulator/faults                  the faults, with how often each has hit, and the seed
    POST   /emulator/faults                  {"kind": "status", "status": 429, "retry_after": 5, "times": 3}
    DELETE /emulator/faults[/ID]             take all faults away, or one
    GET    /emulator/clock                   the emulator's time
    POST   /emulator/clock                   {"advance_seconds": 3600}: scripted runs move on at once
    POST   /emulator/token                   {"token": "the-next"} or {"expires_in_seconds": 60}
    PUT    /emulator/jobs/ID/script          {"seconds": 30, "outcome": "error"}: its future runs pretend
    GET    /emulator/statistics              requests by endpoint, and connections
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_dbtcloud_dlt.emulator.access import Keyring
from airflow_provider_dbtcloud_dlt.emulator.api.dependencies import EngineOf
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND
from airflow_provider_dbtcloud_dlt.emulator.faults import Fault, Faults
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.scripted import LONGEST_SECONDS, Script
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire


def install(app: FastAPI, faults: Faults, wire: Wire) -> None:
    """Add the endpoints to the emulator's application.

    Args:
        app: The application, which has engine and keyring in its state.
        faults: What is changed.
        wire: What has counted.
    """
    app.state.faults = faults
    app.state.wire = wire
    app.routes.extend(_router.routes)


def _authorized(request: Request) -> None:
    # The header also keeps web pages of other origins out, which could otherwise post to this address.
    if not _keyring(request).administers(request.headers.get("authorization", "")):
        raise HTTPException(401, "Send the account's token: Authorization: Token …")


def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


def _faults(request: Request) -> Faults:
    faults: Faults = request.app.state.faults
    return faults


KeyringOf = Annotated[Keyring, Depends(_keyring)]
FaultsOf = Annotated[Faults, Depends(_faults)]
_router = APIRouter(prefix="/emulator", dependencies=[Depends(_authorized)])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Advance(_Body):
    """How far the clock is moved."""

    advance_seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)]


class TokenChange(_Body):
    """A new token, or when the present one expires."""

    token: str | None = None
    expires_in_seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS)] | None = None


@_router.get("/faults")
def list_faults(faults: FaultsOf) -> dict[str, Any]:
    """List the faults in the order in which they are tried, with how often each has hit."""
    return {"seed": faults.seed, "faults": [one.shown() for one in faults.all()]}


@_router.post("/faults", status_code=201)
def add_fault(fault: Fault, faults: FaultsOf) -> dict[str, Any]:
    """Put a fault to work."""
    try:
        return {"id": faults.add(fault)}
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


@_router.delete("/faults", status_code=204)
def clear_faults(faults: FaultsOf) -> None:
    """Take all faults away."""
    faults.clear()


@_router.delete("/faults/{fault_id}", status_code=204)
def remove_fault(fault_id: int, faults: FaultsOf) -> None:
    """Take a fault away."""
    if not faults.remove(fault_id):
        raise HTTPException(404, f"There is no fault {fault_id}.")


@_router.get("/clock")
def get_clock(engine: EngineOf) -> dict[str, Any]:
    """Tell the emulator's time, in seconds since the epoch."""
    return {"now": engine.clock.now() / SECOND}


@_router.post("/clock")
def move_clock(body: Advance, engine: EngineOf) -> dict[str, Any]:
    """Move the clock forward, and with it every run that only pretends."""
    engine.clock.advance(body.advance_seconds)
    engine.settle()
    return get_clock(engine)


@_router.post("/token", status_code=204)
def change_token(body: TokenChange, keyring: KeyringOf) -> None:
    """Replace the account's token, or let it expire."""
    if (body.token is None) == (body.expires_in_seconds is None):
        raise HTTPException(422, "Give either `token` or `expires_in_seconds`.")
    try:
        if body.token is not None:
            keyring.replace(body.token)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    if body.expires_in_seconds is not None:
        keyring.expire(body.expires_in_seconds)


@_router.put("/jobs/{job_id}/script", status_code=204)
def script_job(job_id: int, script: Script, engine: EngineOf) -> None:
    """Make the job's future runs pretend."""
    try:
        engine.set_script(job_id, script)
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from None


@_router.get("/statistics")
def get_statistics(request: Request) -> dict[str, Any]:
    """Tell how many requests arrived for each endpoint, and over how many connections."""
    wire: Wire = request.app.state.wire
    return {
        "connections": wire.connections,
        "requests": sum(wire.counts.values()),
        "by_endpoint": dict(wire.counts.most_common()),
    }
