"""Webhooks: who wants to hear of runs, what they are told, and when.

An event waits until it is due by the emulator's clock, `job.run.completed` until the artifacts are in. Then
it goes to each active subscription that it is for, from a thread that holds no lock while it sends: whatever
a receiver does, runs go on. What has not arrived when the emulator stops is lost.

https://docs.getdbt.com/docs/deploy/webhooks
"""

import contextlib
import hashlib
import heapq
import hmac
import itertools
import json
import logging
import secrets
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from airflow_provider_dbtcloud_dlt.emulator import outbound
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock
from airflow_provider_dbtcloud_dlt.emulator.history import NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.outbox import Outbox
from airflow_provider_dbtcloud_dlt.emulator.served import Config
from airflow_provider_dbtcloud_dlt.emulator.store import Run, Status, Store, Subscription

EventType = Literal["job.run.started", "job.run.completed", "job.run.errored"]
STARTED, COMPLETED, ERRORED = get_args(EventType)
# Spelled otherwise than in the API.
STATUSES = {
    Status.RUNNING: "Running",
    Status.SUCCESS: "Success",
    Status.ERROR: "Errored",
    Status.CANCELLED: "Canceled",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
log = logging.getLogger(__name__)


class Webhooks:
    """The subscriptions, and what is on its way to them. Thread-safe but for `note` and `release`.

    Args:
        config: The account, its jobs, and how deliveries are tried.
        store: Where the subscriptions are kept.
        lock: Guards the store; `note` and `release` are called while it is held.
        clock: The time.
    """

    def __init__(self, config: Config, store: Store, lock: threading.RLock, clock: Clock) -> None:
        self._config = config
        self._jobs = {job.id: job for job in config.jobs}
        self._store = store
        self._lock = lock
        self._clock = clock
        self._subscriptions = {one.id: one for one in store.subscriptions()}
        self._numbers = itertools.count()
        # (when it is due by the emulator's clock, its number, the job's id, the event)
        self._expected: list[tuple[int, int, int, dict[str, Any]]] = []
        self._outbox = Outbox(self._deliver, config.webhooks.pauses, _give_up)
        self._closed = False

    # --- subscriptions ------------------------------------------------------------------------------------

    def all(self) -> list[Subscription]:
        """Return the subscriptions, oldest first."""
        with self._lock:
            return list(self._subscriptions.values())

    def get(self, subscription_id: str) -> Subscription:
        """Return a subscription.

        Raises:
            NotFoundError: If there is none with that id.
        """
        with self._lock:
            try:
                return self._subscriptions[subscription_id]
            except KeyError:
                raise NotFoundError(f"There is no webhook {subscription_id}.") from None

    def add(self, **fields: Any) -> Subscription:
        """Add a subscription with these fields and a secret of its own."""
        now = self._clock.now()
        made = Subscription(f"wsu_{secrets.token_hex(10)}", secrets.token_hex(20), now, now, **fields)
        with self._lock:
            return self._keep(made)

    def change(self, subscription_id: str, **fields: Any) -> Subscription:
        """Change some fields of a subscription.

        Raises:
            NotFoundError: If there is none with that id.
        """
        with self._lock:
            return self._keep(replace(self.get(subscription_id), updated_at=self._clock.now(), **fields))

    def remove(self, subscription_id: str) -> None:
        """Remove a subscription: nothing more is sent to it.

        Raises:
            NotFoundError: If there is none with that id.
        """
        with self._lock:
            self._store.remove_subscription(self.get(subscription_id).id)
            del self._subscriptions[subscription_id]

    def _keep(self, one: Subscription) -> Subscription:
        self._store.put_subscription(one)
        self._subscriptions[one.id] = one
        return one

    # --- events -------------------------------------------------------------------------------------------

    def note(self, run: Run) -> None:
        """Remember what the change that a run has just made gives to tell: it has begun to run, or ended."""
        # A job that was taken out of the configuration has no names to tell.
        if not self._subscriptions or run.job_id not in self._jobs:
            return
        if run.finished_at is None:
            self._expect(STARTED, run, run.started_at or run.updated_at)
            return
        if run.status is Status.ERROR:
            self._expect(ERRORED, run, run.finished_at)
        self._expect(COMPLETED, run, run.finished_at + round(self._config.lag.artifacts * SECOND))

    def release(self, now: int) -> None:
        """Send what is due by now on its way."""
        while self._expected and self._expected[0][0] <= now:
            _, _, job_id, event = heapq.heappop(self._expected)
            for one in self._subscriptions.values():
                wanted = event["eventType"] in one.event_types and job_id in (one.job_ids or [job_id])
                if one.active and wanted:
                    self._outbox.put(one.id, _body(event, one))

    def test(self, one: Subscription) -> outbound.Answer:
        """Send an event of a run that there never was, once, and return what came of it."""
        job = next((self._jobs[id_] for id_ in one.job_ids if id_ in self._jobs), self._config.jobs[0])
        kind, now = one.event_types[0], self._clock.now()
        trigger = {"cause": "A test of the webhook"}
        run = Run(0, job.id, job.environment.id, job.environment.project.id, now, trigger, [])
        run.status = {STARTED: Status.RUNNING, ERRORED: Status.ERROR}.get(kind, Status.SUCCESS)
        run.started_at = run.finished_at = now
        return self._post(one, _body(self._event(kind, run, now), one))

    def _expect(self, kind: EventType, run: Run, due: int) -> None:
        heapq.heappush(self._expected, (due, next(self._numbers), run.job_id, self._event(kind, run, due)))

    def _event(self, kind: str, run: Run, at: int) -> dict[str, Any]:
        """Return what all subscriptions are told alike."""
        job = self._jobs[run.job_id]
        data = {
            "jobId": str(run.job_id),
            "jobName": job.name,
            "runId": str(run.id),
            "environmentId": str(run.environment_id),
            "environmentName": job.environment.name,
            "dbtVersion": run.dbt_version,
            "projectName": job.environment.project.name,
            "projectId": str(run.project_id),
            "runStatus": STATUSES[run.status],
            "runStatusCode": int(run.status),
            "runStatusMessage": str(run.status_message),  # "None" is what dbt Cloud says
            "runReason": run.trigger["cause"],
        }
        if run.started_at is not None:
            data["runStartedAt"] = f"{_time(run.started_at):%Y-%m-%dT%H:%M:%SZ}"
        if run.finished_at is not None and kind != STARTED:
            end = "runErroredAt" if kind == ERRORED else "runFinishedAt"
            data[end] = f"{_time(run.finished_at):%Y-%m-%dT%H:%M:%SZ}"
        return {
            "accountId": self._config.account.id,
            "eventId": f"wev_{secrets.token_hex(14)}",
            "timestamp": f"{_time(at):%Y-%m-%dT%H:%M:%S.%f}000Z",
            "eventType": kind,
            "data": data,
        }

    # --- deliveries ---------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> None:
        """Wait until all that was released has arrived or was given up.

        Raises:
            TimeoutError: If that takes more than so many seconds.
        """
        self._outbox.flush(timeout)

    def close(self) -> None:
        """Stop sending."""
        self._closed = True
        lost = self._outbox.close() + len(self._expected)
        if lost:
            log.warning("The emulator stopped before %d webhook events were delivered.", lost)

    def _deliver(self, subscription_id: str, body: bytes) -> bool:
        """Try a delivery; return whether it is not to be tried again."""
        with self._lock:
            one = self._subscriptions.get(subscription_id)
        if one is None or not one.active:
            return True
        answer = self._post(one, body)
        # Meanwhile it may be gone, or the store closed.
        with self._lock, contextlib.suppress(NotFoundError):
            if not self._closed:
                self.change(one.id, dispatched_at=self._clock.now(), http_status_code=answer.status)
        return answer.is_success

    def _post(self, one: Subscription, body: bytes) -> outbound.Answer:
        signature = hmac.new(one.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Authorization": signature, "Content-Type": "application/json"}
        how = self._config.webhooks
        return outbound.post(one.client_url, body, headers, how.timeout, how.hosts)


def _body(event: dict[str, Any], one: Subscription) -> bytes:
    return json.dumps({**event, "webhookId": one.id, "webhookName": one.name}).encode()


def _give_up(subscription_id: str) -> None:
    log.warning("Webhook %s: an event could not be delivered; see its http_status_code.", subscription_id)


def _time(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)
