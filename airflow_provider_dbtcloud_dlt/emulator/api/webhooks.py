"""Webhooks: subscriptions to what happens to runs, in version 3 of the API.

The documentation writes these paths, unlike all others, without a slash at the end. With it
they are served as well.
https://docs.getdbt.com/docs/deploy/webhooks#api-for-webhooks
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from airflow_provider_dbtcloud_dlt.emulator import outbound, payloads, queries
from airflow_provider_dbtcloud_dlt.emulator.access import Token
from airflow_provider_dbtcloud_dlt.emulator.answers import envelope
from airflow_provider_dbtcloud_dlt.emulator.api.dependencies import (
    NO_QUERY,
    NOTHING,
    BodyOf,
    EngineOf,
    TokenOf,
    authorized,
)
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.store import Subscription

router = APIRouter(prefix="/api/v3/accounts/{account_id:int}/webhooks", dependencies=[Depends(authorized)])


def _subscription(webhook_id: str, engine: EngineOf, token: TokenOf) -> Subscription:
    """Return the subscription that the path names, if it exists for the token."""
    found = engine.webhooks.get(webhook_id)
    if not _sees(token, engine, found):
        raise NotFoundError("It is for jobs that the token does not see.")
    return found


def _sees(token: Token, engine: Engine, one: Subscription) -> bool:
    """Whether a subscription tells only of what exists for the token."""
    if token.projects is None:
        return True
    return bool(one.job_ids) and _visible_jobs(token, engine).issuperset(one.job_ids)


def _visible_jobs(token: Token, engine: Engine) -> set[int]:
    return {job.id for job in engine.config.jobs if token.sees(job.environment.project.id)}


def _given(body: BodyOf, engine: EngineOf, token: TokenOf) -> dict[str, Any]:
    """Return the fields of a subscription that were sent."""
    given = queries.WebhookBody.from_json(body).model_dump()
    unknown = sorted(set(given["job_ids"]) - _visible_jobs(token, engine))
    if unknown:
        raise queries.InvalidRequestError({"job_ids": f"There is no job {unknown[0]}."})
    try:
        outbound.target(given["client_url"], engine.config.webhooks.hosts)
    except outbound.TargetError as error:
        raise queries.InvalidRequestError({"client_url": str(error)}) from None
    if not given["job_ids"] and token.projects is not None:
        raise HTTPException(403)
    return given


SubscriptionOf = Annotated[Subscription, Depends(_subscription)]
Given = Annotated[dict[str, Any], Depends(_given)]


@router.get("/subscriptions")
@router.get("/subscriptions/")
def list_webhooks(request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """List the subscriptions."""
    query = queries.parse(queries.WebhookQuery, request.query_params)
    seen = [one for one in engine.webhooks.all() if _sees(token, engine, one)]
    page = seen[query.offset : query.offset + query.limit]
    extra = {
        "filters": {"offset": query.offset, "limit": query.limit},
        "pagination": {"count": len(page), "total_count": len(seen)},
    }
    return envelope([payloads.subscription(one, engine.config.account.id) for one in page], extra=extra)


@router.post("/subscriptions", dependencies=NO_QUERY)
@router.post("/subscriptions/", dependencies=NO_QUERY)
def create_webhook(given: Given, engine: EngineOf) -> Response:
    """Add a subscription; only this answer has its secret."""
    made = engine.webhooks.add(**given)
    shown = payloads.subscription(made, engine.config.account.id)
    return envelope({**shown, "hmac_secret": made.secret}, 201)


@router.get("/subscription/{webhook_id}")
@router.get("/subscription/{webhook_id}/")
def get_webhook(one: SubscriptionOf, request: Request, engine: EngineOf) -> Response:
    """Return a subscription."""
    queries.parse(queries.Query, request.query_params)
    return envelope(payloads.subscription(one, engine.config.account.id))


@router.put("/subscription/{webhook_id}", dependencies=NO_QUERY)
@router.put("/subscription/{webhook_id}/", dependencies=NO_QUERY)
def update_webhook(one: SubscriptionOf, given: Given, engine: EngineOf) -> Response:
    """Replace all of a subscription but its secret."""
    return envelope(payloads.subscription(engine.webhooks.change(one.id, **given), engine.config.account.id))


@router.delete("/subscription/{webhook_id}", dependencies=NOTHING)
@router.delete("/subscription/{webhook_id}/", dependencies=NOTHING)
def delete_webhook(one: SubscriptionOf, engine: EngineOf) -> Response:
    """Remove a subscription."""
    engine.webhooks.remove(one.id)
    return envelope({"id": one.id})


@router.get("/subscription/{webhook_id}/test")
@router.get("/subscription/{webhook_id}/test/")
def test_webhook(one: SubscriptionOf, request: Request, engine: EngineOf, token: TokenOf) -> Response:
    """Send a made-up event, and tell what the receiver said."""
    queries.parse(queries.Query, request.query_params)
    if token.read_only:
        # It has an effect, though not here.
        raise HTTPException(403)
    answer = engine.webhooks.test(one)
    return envelope({"verification_error": answer.error, "verification_status_code": str(answer.status)})
