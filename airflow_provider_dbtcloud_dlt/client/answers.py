"""What an answer of the dbt Cloud API v2 means: its content, or an error, and whether to ask again."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_dbtcloud_dlt.client.errors import (
    DbtCloudError,
    InvalidCredentialsException,
    MalformedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RejectedRequestError,
    ServerError,
    UnreachableError,
)
from airflow_provider_dbtcloud_dlt.client.protocol import Request

_LEAST_SKEW = 2.0
"""The ``Date`` header has whole seconds, and the answer has taken its time."""
RETRIED_STATUSES = frozenset({408, 500, 502, 503, 504, 520, 521, 522, 523, 524})


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (case-insensitive mapping) and the whole body."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


def decode(request: Request, answer: Answer, *, host: str) -> Any:
    """Return the JSON of a good answer (the whole envelope), or raise what a bad one means.

    Args:
        request: what was asked, for the messages.
        answer: what came back.
        host: the server's name, for the messages.
    """
    check_status(request, answer, host=host)
    try:
        return json.loads(answer.body)
    except ValueError:
        kind = "an HTML page" if _looks_like_html(answer) else "no valid JSON"
        raise MalformedAnswerError(
            f"{host} answered {request} with {kind} instead of dbt Cloud's JSON: check the host "
            "(access URL) and what stands between (proxy, gateway).",
            status_code=answer.status_code,
        ) from None


def check_status(request: Request, answer: Answer, *, host: str) -> None:
    """Raise what a status other than 2xx means."""
    status = answer.status_code
    if 200 <= status < 300:
        return
    message, field_name = _explanation(answer)
    said = f" dbt Cloud says: {message}" if message else ""
    if 300 <= status < 400:
        raise MalformedAnswerError(
            f"{host} answered {request} with a redirect ({status}), which is not followed so that the token "
            "stays with this host: check the host (access URL).",
            status_code=status,
        )
    if status == 401:
        raise InvalidCredentialsException(
            f"{host} refused the API token (401 for {request}): the token is wrong or expired, the "
            "account's number is wrong, or the account does not live on this host (see Account settings → "
            f"Access URLs in dbt Cloud).{said}",
            status_code=status,
            user_message=message,
        )
    if status == 403:
        raise PermissionDeniedError(
            f"The API token has no permission for {request} (403).{said}",
            status_code=status,
            user_message=message,
        )
    if status == 404:
        what = "the run has no such artifact (yet), or check" if "/artifacts/" in request.path else "check"
        raise NotFoundError(
            f"{request}: not found on {host} (404): {what} the id and the account; dbt Cloud also answers so "
            f"when the token may not see it.{said}",
            status_code=status,
            user_message=message,
        )
    if status == 429:
        raise RateLimitError(
            f"{host} limits the rate of requests (429 for {request}).{said}",
            user_message=message,
            retry_after=retry_after(answer),
        )
    if status >= 500:
        raise ServerError(
            f"{host} failed ({status} for {request}).{said}",
            status_code=status,
            user_message=message,
            retry_after=retry_after(answer),
        )
    named = f" (field {field_name!r})" if field_name else ""
    raise RejectedRequestError(
        f"dbt Cloud rejected {request} ({status}){named}.{said}",
        status_code=status,
        user_message=message,
        field=field_name,
    )


def data_of(request: Request, envelope: Any, *, host: str) -> Any:
    """The ``data`` of an answer's envelope."""
    if not isinstance(envelope, Mapping) or "data" not in envelope:
        raise MalformedAnswerError(
            f"{host} answered {request} with JSON that has no 'data': is it dbt Cloud's API?"
        )
    return envelope["data"]


def _looks_like_html(answer: Answer) -> bool:
    return "html" in answer.headers.get("Content-Type", "") or answer.body.lstrip()[:1] == b"<"


def _explanation(answer: Answer) -> tuple[str | None, str | None]:
    """What dbt itself says in a bad answer, and the field that they name.

    ``data`` may be a string or an object that names the field; a 405 has no envelope but ``detail``.
    """
    try:
        content = json.loads(answer.body)
    except ValueError:
        return None, None
    if not isinstance(content, Mapping):
        return None, None
    status = content.get("status")
    said = status.get("user_message") if isinstance(status, Mapping) else content.get("detail")
    data = content.get("data")
    field_name: str | None = None
    if isinstance(data, Mapping) and data:
        field_name, detail = next(iter(data.items()))
        details = "; ".join(map(str, detail)) if isinstance(detail, list) else str(detail)
        said = f"{said} {field_name}: {details}" if said else f"{field_name}: {details}"
    elif isinstance(data, str) and data and data != said:
        said = f"{said} {data}" if said else data
    return (str(said)[:1000] if said else None), field_name


def retry_after(answer: Answer) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, as a number or a date; ``None`` without one."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        now = time.time()
        return max(0.0, moment.timestamp() - now - clock_skew(answer.headers, now))
    except (ValueError, TypeError, OverflowError):
        return None


def clock_skew(headers: Mapping[str, str], now: float, known: float = 0.0) -> float:
    """Seconds by which the server's clock is ahead of this machine's; 0 for less than can be told.

    Args:
        headers: of an answer that has just come; ``Date`` tells whole seconds.
        now: seconds since the epoch, here.
        known: what is known so far; it stays where the headers do not tell.
    """
    if "Age" in headers:  # a cache's answer tells when it was put there
        return known
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return known
    skew = moment.timestamp() + 0.5 - now
    return skew if abs(skew) > _LEAST_SKEW else 0.0


def may_retry(request: Request, error: DbtCloudError) -> bool:
    """Whether to send the request again: without risk of a second effect, and with a chance of success.

    A GET may be repeated after any passing failure, and so may a cancellation. Any other POST only when it
    surely had no effect: it was not sent, or was refused by the rate limit.
    """
    if isinstance(error, RateLimitError):
        return True
    if isinstance(error, UnreachableError):
        return error.passing and (request.idempotent or not error.sent)
    if not request.idempotent:
        return False
    if isinstance(error, MalformedAnswerError):
        return error.status_code is None or error.status_code == 200
    return error.status_code in RETRIED_STATUSES
