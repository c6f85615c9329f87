"""Connections are looked up once for the triggers that begin together."""

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.hooks.connection import DbtCloudConnectionError
from airflow_provider_dbtcloud_dlt.triggers import lookup


def test_closed_loops_leave_nothing(emu: Emulator) -> None:
    """What a connection says, its token included, is not kept beyond its event loop's life."""

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await lookup.settings_of("dbt_cloud_default", None, {})
        return weakref.ref(asyncio.get_running_loop())

    gone = asyncio.run(main())
    asyncio.run(main())
    gc.collect()
    assert gone() is None


def test_failed_look_up_is_made_again(emu: Emulator, connect: Callable[..., None]) -> None:
    """A connection that has been corrected is read at once."""
    connect(host=emu.host, login="1", password=emu.token, extra={"requests_per_minute": "many"})

    async def main() -> str:
        with pytest.raises(DbtCloudConnectionError, match="requests_per_minute"):
            await lookup.settings_of("dbt_cloud_default", None, {})
        connect(host=emu.host, login="1", password=emu.token)
        return (await lookup.settings_of("dbt_cloud_default", None, {})).base_api_url

    assert asyncio.run(main()).startswith(emu.host)
