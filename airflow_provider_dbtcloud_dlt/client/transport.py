"""Sends what ``protocol`` builds, over one pooled session: the only module that imports ``requests``."""

from __future__ import annotations

import logging
import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3
from requests.auth import AuthBase

from airflow_provider_dbtcloud_dlt import __version__
from airflow_provider_dbtcloud_dlt.client import answers, checks, protocol
from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
    UnreachableError,
)

log = logging.getLogger(__name__)


class Transport:
    """One server, one token, one pool of connections. May be used by several threads at once.

    Attributes:
        clock_skew: seconds by which the server's clock was ahead of this machine's at the last good answer.

    Args:
        base_url: what comes before each request's path.
        api_token: checked here, and kept out of every message.
        timeout: seconds to connect and seconds to wait for data, or one number for both.
        retry_budget: seconds within which a failed request is repeated, where it may be; 0: one attempt.
        proxies: as requests takes them; default: the environment's. The one for this server is checked.
        verify: verify TLS certificates, or the path of a CA bundle to verify them with.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        base_url: str,
        api_token: str,
        *,
        timeout: float | tuple[float, float],
        retry_budget: float,
        proxies: Mapping[str, str] | None,
        verify: bool | str,
        sleep: Callable[[float], None],
    ) -> None:
        if isinstance(verify, str) and not os.path.exists(verify):
            raise InvalidRequestError(f"verify names a CA bundle that does not exist: {verify!r}.")
        self._base_url = base_url
        self._host = urlsplit(base_url).netloc
        self._timeout = timeout
        self._retry_budget = retry_budget
        self._proxies = dict(proxies) if proxies else None
        self._verify = verify
        self._sleep = sleep
        self._api_token = checks.check_token(api_token)
        self.clock_skew = 0.0
        self._session = requests.Session()
        self._check_proxy()
        self._session.auth = _TokenAuth(self._api_token)
        self._session.headers.update(
            {"Accept": "application/json", "User-Agent": f"airflow-provider-dbtcloud-dlt/{__version__}"}
        )

    def _check_proxy(self) -> None:
        """Check the proxy that requests is going to choose, given or of the environment."""
        merged = self._session.merge_environment_settings(
            self._base_url, dict(self._proxies or {}), None, None, None
        )
        proxy = requests.utils.select_proxy(self._base_url, merged["proxies"])
        if proxy:
            checks.check_proxy(proxy)

    def close(self) -> None:
        """Close the connections that are kept open for reuse."""
        self._session.close()

    def json(self, request: protocol.Request) -> Any:
        """Send, repeating what may be repeated, and return the answer's JSON.

        Raises:
            DbtCloudError: what a bad answer, or none, means.
        """
        return self._retrying(request)(
            lambda: answers.decode(request, self._attempt(request), host=self._host)
        )

    def answer(self, request: protocol.Request) -> answers.Answer:
        """Likewise, and return the good answer as it came."""
        return self._retrying(request)(lambda: self._checked(request, self._attempt(request)))

    def content(self, request: protocol.Request) -> bytes:
        """Likewise for an answer that is a file; return the file's bytes."""
        return self.answer(request).body

    def download(self, request: protocol.Request, target: Path) -> int:
        """Likewise, streamed to a file that appears only when it is whole; return its size in bytes."""
        target.parent.mkdir(parents=True, exist_ok=True)
        return self._retrying(request)(lambda: self._stream_to_file(request, target))

    def _attempt(self, request: protocol.Request) -> answers.Answer:
        try:
            with self._exchange(request) as response:
                return self._answer(response)
        except requests.RequestException as error:
            raise self._unreachable(request, error) from None

    def _answer(self, response: requests.Response) -> answers.Answer:
        body = response.content
        if response.ok:
            self.clock_skew = answers.clock_skew(response.headers, time.time(), self.clock_skew)
        else:  # its words end in a message: no gateway shall smuggle the token into one
            body = body.replace(self._api_token.encode(), b"***")
        return answers.Answer(response.status_code, response.headers, body)

    def _checked(self, request: protocol.Request, answer: answers.Answer) -> answers.Answer:
        answers.check_status(request, answer, host=self._host)
        return answer

    def _stream_to_file(self, request: protocol.Request, target: Path) -> int:
        part = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self._exchange(request, stream=True) as response, part.open("wb") as file:
                if response.status_code != 200:
                    self._checked(request, self._answer(response))
                for chunk in response.iter_content(chunk_size=1 << 16):
                    file.write(chunk)
                size = file.tell()
            part.replace(target)
        except requests.RequestException as error:
            raise self._unreachable(request, error) from None
        finally:
            part.unlink(missing_ok=True)
        return size

    def _exchange(self, request: protocol.Request, *, stream: bool = False) -> requests.Response:
        try:
            return self._session.request(
                request.method,
                f"{self._base_url}/{request.path}",
                params=request.params,
                json=request.body,
                timeout=self._timeout,
                proxies=self._proxies,
                verify=self._verify,
                allow_redirects=False,
                stream=stream,
            )
        except (
            ValueError
        ):  # of an address, base URL or proxy; its words may hold a part of a proxy's password
            raise InvalidRequestError(
                f"The address of {self._host}, or that of a proxy on the way to it, can't be used: check the "
                "host, and proxies or the environment variable HTTPS_PROXY (a socks proxy wants the package "
                "requests[socks])."
            ) from None
        except requests.RequestException:
            raise
        except OSError as error:  # requests raises a bare one for a CA bundle that is not there
            raise InvalidRequestError(
                f"{error} (set by verify, or by the environment variable REQUESTS_CA_BUNDLE)."
            ) from None

    def _retrying(self, request: protocol.Request) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, DbtCloudError) and answers.may_retry(request, error)
            ),
            wait=_pause,
            stop=lambda state: _spent(state) > self._retry_budget,
            sleep=self._sleep,
            before_sleep=_log_retry,
            reraise=True,
        )

    def _unreachable(self, request: protocol.Request, error: requests.RequestException) -> UnreachableError:
        """The same failure without requests' traceback and URL, and with what the user can do about it."""
        if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in _reasons(error)):
            return UnreachableError(
                f"The TLS certificate of {self._host} could not be verified ({_root_cause(error)}): check "
                "the host, or give the CA bundle that signed it (verify).",
                sent=False,
                passing=False,
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return UnreachableError(
                f"The proxy on the way to {self._host} failed ({_root_cause(error)}): check proxies, or the "
                "environment variable HTTPS_PROXY.",
                sent=not _never_connected(error),
            )
        if isinstance(error, requests.exceptions.ReadTimeout):
            return UnreachableError(
                f"{self._host} did not answer {request} in time (time-out: {self._timeout} s)."
            )
        unsent = isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error)
        hint = ": check the host (access URL) and the network" if unsent else ""
        return UnreachableError(
            f"{self._host} could not be reached for {request} ({_root_cause(error)}){hint}.", sent=not unsent
        )


class _TokenAuth(AuthBase):
    """Puts the token on a request; as an auth object it also keeps a ``.netrc`` entry from replacing it."""

    def __init__(self, api_token: str) -> None:
        self._api_token = api_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._api_token}"
        return request


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, outermost first; requests and urllib3 nest theirs in arguments."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        candidate = todo.pop(0)
        if isinstance(candidate, BaseException) and id(candidate) not in seen:
            seen.add(id(candidate))
            yield candidate
            todo += [getattr(candidate, "reason", None), *candidate.args, candidate.__cause__]


def _never_connected(error: BaseException) -> bool:
    """Whether the request surely never left. A proxy error alone does not say so: a proxy that breaks off
    after it passed the request on is one too.
    """
    return any(
        isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
        or str(reason).startswith("Tunnel connection failed")
        for reason in _reasons(error)
    )


def _root_cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused": the outer ones repeat the URL."""
    innermost = list(_reasons(error))[-1]
    text = str(innermost).rpartition("object at 0x")[2].partition(": ")[2] or str(innermost)
    return (text or type(innermost).__name__)[:300]


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=15.0)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: a growing random pause, or longer where the server asked for it."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RateLimitError | ServerError) else None
    return max(asked or 0.0, _backoff(state))


def _spent(state: tenacity.RetryCallState) -> float:
    """Seconds that the call has taken by the time the next attempt would start."""
    elapsed = max(state.seconds_since_start or 0.0, state.idle_for)
    return elapsed + state.upcoming_sleep


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.info("%s Trying again in %.1f s.", error, state.upcoming_sleep)
