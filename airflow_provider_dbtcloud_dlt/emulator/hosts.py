"""Under which names the pages are shown, which need no token.

A web page of somebody else's can let its own name lead to this machine ("DNS rebinding") and then read what
the visitor's browser gets from here. The browser tells that name, which is not one of the emulator's.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Their requests need a token, which a web page of somebody else's does not have.
_WITH_TOKEN = ("/api/", "/emulator/")


class KnownHosts:
    """An ASGI application that refuses, with 421, to show another one's pages under a foreign name.

    Args:
        app: The application whose pages are shown.
        names: Under which, beside localhost and loopback addresses.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        answer = self._app
        if scope["type"] == "http" and not scope["path"].startswith(_WITH_TOKEN):
            name = _name(Headers(scope=scope).get("host", ""))
            if name not in self._names and not is_loopback(name):
                answer = PlainTextResponse(
                    "The emulator does not answer under this name: open it as localhost, or start it with "
                    "--public-url and the address at which it is reached.\n",
                    421,
                )
        await answer(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether a name or address leads to the machine itself, wherever it is used."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return the name or address in a ``Host`` header, in small letters; nothing if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
