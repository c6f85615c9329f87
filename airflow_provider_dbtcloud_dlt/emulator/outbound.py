"""HTTP from the emulator to receivers of webhooks: the only requests that it makes.

They go to this machine alone, unless the configuration names other hosts: whoever holds the account's token
could otherwise send the emulator into the network that it stands in.
"""

import ipaddress
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests


class TargetError(ValueError):
    """Nothing is sent to that address; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        status: The answer's status; 0 if none came.
        error: Why none came.
    """

    status: int
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver took it: a redirect is not followed, and no success."""
        return 200 <= self.status < 300


def target(url: str, hosts: Collection[str] = ()) -> str:
    """Return an address in the form in which it is asked.

    Args:
        url: The address.
        hosts: The names that are allowed beside those of this machine.

    Raises:
        TargetError: If it is none, or leads elsewhere.
    """
    try:
        # As the client reads it: parsers disagree about which part of an odd address is the host.
        asked = requests.Request("POST", url).prepare().url or ""
        parts = urlsplit(asked)
    except ValueError as error:
        raise TargetError(f"{url!r} is not a valid URL") from error
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise TargetError(f"{url!r} is not a valid URL: http:// or https:// is expected")
    if "@" in parts.netloc:
        # They would take the place of the signature.
        raise TargetError("a name and a password in the URL are not supported")
    if not _is_loopback(parts.hostname) and parts.hostname not in {one.lower() for one in hosts}:
        raise TargetError(
            f"the host {parts.hostname!r} is not this machine: name it in the emulator's configuration, "
            f"webhooks: {{hosts: [{parts.hostname}]}}"
        )
    return asked


def post(
    url: str, body: bytes, headers: Mapping[str, str], timeout: float, hosts: Collection[str] = ()
) -> Answer:
    """Send something, and return what came of it, whatever that is."""
    try:
        with requests.Session() as session:
            # Neither a proxy nor a password from ~/.netrc, which would replace the signature.
            session.trust_env = False
            answer = session.post(
                target(url, hosts),
                body,
                headers=dict(headers),
                timeout=timeout,
                allow_redirects=False,
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
                stream=True,  # only the status is looked at
            )
            return Answer(answer.status_code)
    except TargetError as error:
        return Answer(0, str(error))
    except requests.Timeout:
        return Answer(0, f"no answer within {timeout:g} seconds")
    except Exception as error:  # noqa: BLE001 - no receiver may end the thread that serves them all
        return Answer(0, type(error).__name__)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
