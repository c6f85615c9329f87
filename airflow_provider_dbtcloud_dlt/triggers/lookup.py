"""What an Airflow connection says, looked up once for all the triggers that begin at about the same time.

Airflow serves the triggers' look-ups one after the other: a thousand triggers that begin together, each with
a look-up of its own, would wait for half a minute.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import Any

from airflow_provider_dbtcloud_dlt.hooks.connection import Settings
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.triggers.poller import PollerKey

KEPT_SECONDS = 30.0

_lookups: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[PollerKey, asyncio.Task[Settings]]]
_lookups = weakref.WeakKeyDictionary()


async def settings_of(conn_id: str, account_id: int | None, hook_params: Mapping[str, Any]) -> Settings:
    """Return what the connection says, or said less than half a minute ago.

    Raises:
        DbtCloudConnectionError: there is no such connection, or a field of it can't be used.
    """
    loop = asyncio.get_running_loop()
    if loop not in _lookups:
        for other in [other for other in _lookups if other.is_closed()]:
            del _lookups[other]  # its look-ups, which hold it, are never dropped by a timer
    lookups = _lookups.setdefault(loop, {})
    key = PollerKey.of(conn_id, account_id, hook_params)
    if key not in lookups:
        hook = DbtCloudHook(conn_id, account_id, **hook_params)
        lookups[key] = loop.create_task(hook.aload_settings())
        loop.call_later(KEPT_SECONDS, lookups.pop, key, None)
    try:
        # One trigger that is cancelled must not take the answer from the others.
        return await asyncio.shield(lookups[key])
    except Exception:
        lookups.pop(key, None)  # a connection that has been corrected meanwhile is read at once
        raise
