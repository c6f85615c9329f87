"""What happens to requests between the socket and the API: they are counted, recorded, and hit by faults."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_dbtcloud_dlt.emulator import answers
from airflow_provider_dbtcloud_dlt.emulator.faults import BODILESS, Fault, Faults, Request

UNKNOWN_STATUS_NAME = "Paused"


class Wire:
    """An ASGI application around another one.

    Args:
        app: The application around which this is.
        faults: What is to happen to requests.
        describe: Tells what `faults` needs to know of a request.
        record: Whether to keep the list of requests, which grows for as long as it is served.

    Attributes:
        requests: `(method, path with query)` of each request that arrived, in order; empty without `record`.
        counts: How many requests arrived for each endpoint; those that are for none count as ``other``.
        connections: How many connections clients made.
    """

    def __init__(
        self,
        app: ASGIApp,
        faults: Faults | None = None,
        describe: Callable[[Scope], Request] | None = None,
        *,
        record: bool = False,
    ) -> None:
        self._app = app
        self._faults = Faults() if faults is None else faults
        self._describe = describe or _described
        self._record = record
        self.requests: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.connections = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = self._describe(scope)
        self.counts[request.endpoint or "other"] += 1
        if self._record:
            method, _, target = request.line.partition(" ")
            self.requests.append((method, target))
        fault = self._faults.take(request)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await self._suffer(fault, scope, receive, send)

    async def _suffer(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """Do to a request what the fault says."""
        match fault.kind:
            case "drop":
                await _cut(scope, receive)
            case "lose_answer":
                await self._carried_out(scope, receive)
                await _cut(scope, receive)
            case "late_answer":
                messages = await self._carried_out(scope, receive)
                await asyncio.sleep(fault.seconds or 0)
                for message in messages:
                    await send(message)
            case "slow":
                await asyncio.sleep(fault.seconds or 0)
                await self._app(scope, receive, send)
            case "truncate":
                messages = await self._carried_out(scope, receive)
                body = _body(messages)
                await send(messages[0])
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                await _cut(scope, receive, after_sending=True)
            case "not_json":
                await self._carried_out(scope, receive)
                page = "<html><body><h1>Scheduled maintenance</h1></body></html>"
                await HTMLResponse(page if fault.body is None else fault.body)(scope, receive, send)
            case "unknown_status":
                await _with_unknown_status(await self._carried_out(scope, receive), fault.status or 0, send)
            case "pk_in_ignored":
                parts = scope["query_string"].split(b"&")
                kept = b"&".join(part for part in parts if not part.startswith(b"pk__in="))
                await self._app({**scope, "query_string": kept}, receive, send)
            case "pk_in_refused":
                await answers.invalid(answers.unknown_parameter("pk__in"))(scope, receive, send)
            case "fresh_run_404":
                await answers.failed(404)(scope, receive, send)
            case "status":
                await _failure(fault)(scope, receive, send)

    async def _carried_out(self, scope: Scope, receive: Receive) -> list[Message]:
        """Serve a request and keep the answer."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        return messages


def _described(scope: Scope) -> Request:
    return Request(scope["method"], scope["path"], scope["query_string"].decode("latin-1"))


def _failure(fault: Fault) -> Response:
    headers, status = dict(fault.headers), fault.status or 502
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if status in BODILESS:
        return Response(None, status, headers)
    if fault.body is None:
        return answers.failed(status, headers)
    return HTMLResponse(fault.body, status, headers)


async def _with_unknown_status(messages: list[Message], status: int, send: Send) -> None:
    """Send an answer on in which runs that have not ended have a status that nobody knows."""
    body = _body(messages)
    if messages[0]["status"] == 200:
        content = json.loads(body)
        runs = content["data"] if isinstance(content["data"], list) else [content["data"]]
        for run in runs:
            if run["in_progress"]:
                run |= {"status": status, "status_humanized": UNKNOWN_STATUS_NAME}
        body = json.dumps(content).encode()
    headers = [(name, value) for name, value in messages[0]["headers"] if name != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({**messages[0], "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _body(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


async def _cut(scope: Scope, receive: Receive, *, after_sending: bool = False) -> None:
    """Close the connection without another word, as a network does."""
    transport: asyncio.Transport = scope["state"]["transport"]
    if after_sending:
        transport.close()
    else:
        # Throws away what a client that reads slowly has not been sent yet.
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
