"""The event trigger for asset watchers: an event whenever a run ends in dbt Cloud, whoever has started it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_dbtcloud_dlt.arguments import rendered_id, seconds
from airflow_provider_dbtcloud_dlt.client import (
    DBTCloudClientV2,
    DbtCloudError,
    InvalidRequestError,
    Run,
    RunStatus,
)
from airflow_provider_dbtcloud_dlt.client.cadence import LOOK_SECONDS
from airflow_provider_dbtcloud_dlt.client.cursor import Cursor
from airflow_provider_dbtcloud_dlt.client.next_run import finished_since
from airflow_provider_dbtcloud_dlt.client.waiting import Outage, pause_after
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import storable_params
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller
from airflow_provider_dbtcloud_dlt.triggers.shared_look import Looker, SharedLook
from airflow_provider_dbtcloud_dlt.triggers.stored import stored

__all__ = ["DbtCloudJobRunsTrigger"]

STATUSES = {"success": RunStatus.SUCCESS, "error": RunStatus.ERROR, "cancelled": RunStatus.CANCELLED}

AGAIN_SECONDS = 10.0
"""After so long Airflow is asked again for the cursor that it could not give."""
STALE = timedelta(minutes=5)
"""So old the stored cursor may become while nothing happens."""


@dataclass(frozen=True)
class Listed:
    """What a look showed.

    Attributes:
        runs: those that have ended since.
        asked_at: when it was asked, by the clock here.
        skew: how far dbt Cloud's clock is ahead.
    """

    runs: Sequence[Run]
    asked_at: datetime
    skew: timedelta


class Watcher(Looker):
    """One who wants to be told of every run's end; `told` gets, after each look, the new runs and the cursor.

    Args:
        begins: how far it has looked before, or, without that, when it begins, by the clock here.
        interval: seconds between two looks.
        trigger: knows which runs count, and logs an outage.
    """

    def __init__(self, begins: Cursor | datetime, interval: float, trigger: DbtCloudJobRunsTrigger) -> None:
        self.wish: Cursor | datetime = begins
        self.told: asyncio.Queue[tuple[list[Run], Cursor]] = asyncio.Queue()
        self._interval = interval
        self._has_seen = False
        self._trigger = trigger
        self._outage = Outage(trigger.log, f"dbt Cloud (connection {trigger.conn_id!r})")
        loop = asyncio.get_running_loop()
        self.over = loop.create_future()
        self.due = loop.time()

    @property
    def key(self) -> Hashable:
        """All who watch an account look together."""
        return Watcher

    @staticmethod
    def ask(client: DBTCloudClientV2, wishes: Sequence[Cursor | datetime]) -> Listed:
        """List the runs that ended after the earliest cursor; who has none needs dbt Cloud's clock only."""
        began = datetime.now(UTC)
        cursors = [one for one in wishes if isinstance(one, Cursor)]
        if cursors:
            runs = list(finished_since(client, min(cursor.since for cursor in cursors)))
        else:
            runs = list(client.list_runs(order_by="-id", limit=1))
        return Listed(runs, began, timedelta(seconds=client.clock_skew))

    def saw(self, answer: Listed | DbtCloudError) -> None:
        """Pick out what is new."""
        now, pause = datetime.now(UTC).timestamp(), self._interval
        if isinstance(answer, DbtCloudError):
            self._outage.failed(answer, now)
            pause = pause_after(answer, pause)
        else:
            self._outage.answered(now)
            self.told.put_nowait(self._take(answer))
        self.due = asyncio.get_running_loop().time() + pause

    def _take(self, seen: Listed) -> tuple[list[Run], Cursor]:
        new: list[Run] = []
        if isinstance(self.wish, Cursor):
            meant = filter(self._trigger.is_meant, seen.runs)
            cursor, new = self.wish.after(meant, seen.asked_at + seen.skew)
        else:  # what has ended since then is for the next look
            cursor = Cursor.at(self.wish + seen.skew)
        if not self._has_seen:
            self._has_seen = True
            self._trigger.log.info("Watching dbt Cloud's runs that end after %s.", cursor.since)
        self.wish = cursor
        return new, cursor


class DbtCloudJobRunsTrigger(BaseEventTrigger):
    """Yields an event whenever a run has ended in dbt Cloud: for an asset's `AssetWatcher`.

    All triggers of this kind on one account share their looks. The event is a dict with ``run_id``,
    ``job_id``, ``project_id``, ``environment_id``, ``status``, ``href``, ``created_at``, ``finished_at``.

    With Airflow 3.3 and newer the asset keeps how far was looked: after a restart, runs that ended meanwhile
    are told of, and none twice, except that a crash may repeat the events of the last look before it.
    Before 3.3, and with one trigger for several assets, a restart begins anew: runs that end while no
    triggerer is up are not told of.

    Args:
        conn_id: the Airflow connection; it keeps the secret, nothing of which is among these arguments.
        job_ids: runs of these jobs only.
        statuses: runs that ended in one of these ways only: ``success``, ``error``, ``cancelled``.
        project_id: runs of this project only.
        environment_id: runs of this environment only.
        poll_interval: seconds between two looks; default: 30.
        account_id: instead of the connection's account.
        hook_params: further arguments of `DbtCloudHook`; JSON values.

    Raises:
        InvalidRequestError: an id is no whole number, or a status is none of those.
    """

    def __init__(
        self,
        conn_id: str = "dbt_cloud_default",
        job_ids: Iterable[int] | int | None = None,
        statuses: Iterable[str] | str | None = None,
        project_id: int | None = None,
        environment_id: int | None = None,
        poll_interval: float | None = None,
        account_id: int | None = None,
        hook_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        jobs = [job_ids] if isinstance(job_ids, int | str) else job_ids
        wanted = [statuses] if isinstance(statuses, str) else statuses
        self.conn_id = conn_id
        self.job_ids = None if jobs is None else sorted({rendered_id("job_ids", one) for one in jobs})
        self.statuses = None if wanted is None else sorted(set(wanted))
        self.project_id = None if project_id is None else rendered_id("project_id", project_id)
        self.environment_id = (
            None if environment_id is None else rendered_id("environment_id", environment_id)
        )
        self.poll_interval = None if poll_interval is None else seconds("poll_interval", poll_interval)
        self.account_id = None if account_id is None else rendered_id("account_id", account_id)
        self.hook_params = storable_params(hook_params)
        for status in self.statuses or ():
            if status not in STATUSES:
                raise InvalidRequestError(f"statuses must be of {', '.join(STATUSES)}, got {status!r}.")
        if self.job_ids == [] or self.statuses == []:
            raise InvalidRequestError(
                "job_ids or statuses is empty: no run would count. Leave it out for all."
            )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, which Airflow keeps in its database."""
        return stored(self)

    def is_meant(self, run: Run) -> bool:
        """Whether a run counts, once it has ended."""
        return (
            run.is_terminal
            and (self.job_ids is None or run.job_definition_id in self.job_ids)
            and (self.statuses is None or run.status in [STATUSES[name] for name in self.statuses])
            and self.project_id in (None, run.project_id)
            and self.environment_id in (None, run.environment_id)
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each run that ends, without end."""
        began = datetime.now(UTC)
        stored = await self._stored_cursor()
        watcher = Watcher(stored or began, self.poll_interval or LOOK_SECONDS, self)
        before = stored
        with SharedLook.joined(Poller.shared(self.conn_id, self.account_id, self.hook_params), watcher):
            while True:
                runs, cursor = await _first_of(watcher)
                # Events reach Airflow's database a little after they are yielded: only at the next look it is
                # stored that they were. A crash in between repeats them, rather than to lose them.
                certain = before if runs else cursor
                if certain is not None and certain != stored and _is_worth_it(stored, certain):
                    stored = await self._store(certain) or stored
                for run in runs:
                    yield TriggerEvent(_told(run))  # type: ignore[no-untyped-call]
                before = cursor

    @property
    def _cursor_key(self) -> str:
        """Watchers of one asset that want to be told of different runs have cursors of their own."""
        _, arguments = self.serialize()
        wanted = {
            name: value for name, value in arguments.items() if name not in ("poll_interval", "hook_params")
        }
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        return f"dbt_cloud_job_runs_{digest[:16]}"

    async def _stored_cursor(self) -> Cursor | None:
        store: Any = getattr(self, "asset_state_store", None)
        while store is not None:
            try:
                found = await store.aget(self._cursor_key)
            except ValueError as error:  # several assets
                self.log.warning("How far was looked is not kept for a restart. %s", error)
                self.asset_state_store = None
                return None
            except Exception as error:  # noqa: BLE001 - without it runs would be missed
                self.log.warning("Airflow does not tell how far was looked; asking again. %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                return None if found is None else Cursor.restored(found)
            except (KeyError, TypeError, ValueError):
                self.log.warning("What was stored of how far was looked can't be read: beginning anew.")
                return None
        return None

    async def _store(self, cursor: Cursor) -> Cursor | None:
        """Keep the cursor for who goes on after a restart; None when that failed: a later one will do."""
        store: Any = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            await store.aset(self._cursor_key, cursor.stored())
        except Exception as error:  # noqa: BLE001 - the older one only means that events may be repeated
            self.log.warning("Airflow does not keep how far was looked. %s", error)
            return None
        return cursor


async def _first_of(watcher: Watcher) -> tuple[list[Run], Cursor]:
    """What the next look shows; raises when the looks have broken down."""
    told = asyncio.ensure_future(watcher.told.get())
    try:
        await asyncio.wait({told, watcher.over}, return_when=asyncio.FIRST_COMPLETED)
        return told.result() if told.done() else watcher.over.result()
    finally:
        told.cancel()


def _is_worth_it(stored: Cursor | None, cursor: Cursor) -> bool:
    return stored is None or stored.told != cursor.told or cursor.until - stored.until >= STALE


def _told(run: Run) -> dict[str, Any]:
    """The event: plain JSON."""
    return {
        "run_id": run.id,
        "job_id": run.job_definition_id,
        "project_id": run.project_id,
        "environment_id": run.environment_id,
        "status": next(name for name, status in STATUSES.items() if status is run.status),
        "href": run.href,
        "created_at": run.created_at and run.created_at.isoformat(),
        "finished_at": run.finished_at and run.finished_at.isoformat(),
    }
