"""What happens to requests between the socket and the API: tests record them and inject faults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Fault:
    """Something unpleasant for the next requests.

    Attributes:
        remaining: How many requests it will hit.
        path: Regular expression that is searched for in ``METHOD /path?query``; None for every request.
        status: The status of the answer; None closes the connection without any.
        after_effect: Whether the request is carried out first.
    """

    remaining: int
    path: str | None
    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_effect: bool = False

    def hits(self, request: str) -> bool:
        """Whether this request is the next to be hit; counts it if so."""
        if self.remaining <= 0 or (self.path is not None and not re.search(self.path, request)):
            return False
        self.remaining -= 1
        return True


class Wire:
    """An ASGI application around another one.

    Args:
        app: The application around which this is.
        record: Whether to keep the list of requests, which grows for as long as it is served.

    Attributes:
        requests: `(method, path with query)` of each request that arrived, in order; empty without `record`.
        faults: What is to happen to the next ones; the first that matches counts.
    """

    def __init__(self, app: ASGIApp, *, record: bool = False) -> None:
        self._app = app
        self._record = record
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode()
        path = scope["path"] + (f"?{query}" if query else "")
        if self._record:
            self.requests.append((scope["method"], path))
        fault = next((fault for fault in self.faults if fault.hits(f"{scope['method']} {path}")), None)
        if fault is None:
            await self._app(scope, receive, send)
            return
        if fault.after_effect:
            await self._app(scope, receive, _nowhere)
        if fault.status is None:
            scope["state"]["transport"].abort()
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = {"content-type": "text/html", "content-length": str(len(fault.body)), **fault.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": fault.status, "headers": raw})
        await send({"type": "http.response.body", "body": fault.body})


async def _nowhere(message: Message) -> None:
    """Swallow an answer."""
