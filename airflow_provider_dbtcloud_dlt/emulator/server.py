"""The emulator behind a socket: uvicorn, in this thread or in one of its own."""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_provider_dbtcloud_dlt.emulator.tls import Certificate
from airflow_provider_dbtcloud_dlt.emulator.wire import Wire

START_SECONDS = 10.0


class _Protocol(H11Protocol):
    """Counts connections and hands each request its own, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
        wire: Wire = self.config.app  # type: ignore[assignment]
        wire.connections += 1


class _Uvicorn(uvicorn.Server):
    """Ends at once where nothing is under way: a test's emulator is made for that test alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Let it end; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already, and its loop is closed
                self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        """Do what uvicorn does every tenth of a second, and look whether to end as soon as that is wanted."""
        self._loop = asyncio.get_running_loop()
        ticks = itertools.count()
        while not await self.on_tick(next(ticks)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give requests under way their time, as uvicorn does; idle connections get none."""
        if self.server_state.tasks:
            await super().shutdown(sockets)
        else:
            for server in self.servers:
                server.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()
            await asyncio.sleep(0)  # the connections are closed in the loop's next round


class Server:
    """A server on a bound socket; used as a context manager it serves from a thread.

    Args:
        wire: The application.
        host: Where to listen.
        port: Which port; 0 takes a free one.
        certificate: What to speak https with; plain http if left out.

    Raises:
        OSError: If the port cannot be had.
    """

    def __init__(
        self, wire: Wire, host: str = "127.0.0.1", port: int = 0, certificate: Certificate | None = None
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        # From here on clients can connect: they wait in the socket's queue until the server takes them.
        self._socket.listen(128)
        self._origin = f"{'http' if certificate is None else 'https'}://" + (
            f"[{host}]" if ":" in host else host
        )
        settings: dict[str, Any] = {
            "http": _Protocol,
            "ws": "none",
            "log_level": "warning",
            "access_log": False,
        }
        if certificate is not None:
            settings |= {"ssl_certfile": certificate.chain, "ssl_keyfile": certificate.key}
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                wire, lifespan="off", timeout_graceful_shutdown=2, timeout_keep_alive=60, **settings
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{self._origin}:{self.port}"

    def serve(self) -> None:
        """Serve until a signal ends it; call it in the main thread."""
        self._uvicorn.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, name="dbt-cloud-emulator", daemon=True)
        self._thread.start()
        patience = time.monotonic() + START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > patience:
                raise RuntimeError("The emulator's server did not start.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._uvicorn.end()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
