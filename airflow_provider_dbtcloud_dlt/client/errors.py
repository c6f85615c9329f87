"""Everything the client raises.

    DbtCloudError
    ├── InvalidCredentialsException     a token, account, job or run id that is missing or malformed; or a 401
    ├── InvalidRequestError             an argument refused before anything was sent (also a ValueError)
    ├── PermissionDeniedError           403
    ├── NotFoundError                   404 (dbt Cloud also says 404 for "no permission")
    ├── RejectedRequestError            any other 4xx: `user_message` is dbt's reason, `field` what it names
    ├── RateLimitError                  429: `retry_after` in seconds when the server said so
    ├── ServerError                     5xx
    ├── UnreachableError                DNS, connection, TLS, proxy, time-out: no answer at all
    ├── JobLookupError                  no job, or more than one, bears the names that were given
    ├── MalformedAnswerError            an answer that is not dbt Cloud's: HTML, truncated JSON, a redirect
    └── RunTimeoutError                 a wait that reached its time limit (also a TimeoutError); has `run`

Facts are attributes: ``status_code``, ``user_message``, ``run``. No message ever holds the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_dbtcloud_dlt.client.models import Run


class DbtCloudError(Exception):
    """Base of all errors of this client.

    Attributes:
        status_code: HTTP status of the answer, ``None`` when there was none.
        user_message: dbt Cloud's own sentence, ``None`` when it gave none.
        run: the run that the error is about, where one is known.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        user_message: str | None = None,
        run: Run | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.user_message = user_message
        self.run = run


class InvalidCredentialsException(DbtCloudError):  # noqa: N818  dlt's name, kept for who imports it today
    """A credential (token, account, job or run id) is missing, malformed, or was refused with a 401."""


class InvalidRequestError(DbtCloudError, ValueError):
    """An argument that the API would refuse, caught before it was sent."""


class PermissionDeniedError(DbtCloudError):
    """403: the token is good, its permissions are not enough."""


class NotFoundError(DbtCloudError):
    """404: there is no such thing, or the token may not see it."""


class RejectedRequestError(DbtCloudError):
    """The API refused the request (400, 405, 409, 422 …).

    Attributes:
        field: the field that the answer names as wrong, ``None`` when it names none.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        user_message: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code, user_message=user_message)
        self.field = field


class RateLimitError(DbtCloudError):
    """429: too many requests.

    Attributes:
        retry_after: seconds that the server asked to wait, ``None`` when it did not say.
    """

    def __init__(
        self, message: str, *, user_message: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status_code=429, user_message=user_message)
        self.retry_after = retry_after


class ServerError(DbtCloudError):
    """5xx: dbt Cloud, or something before it, failed.

    Attributes:
        retry_after: seconds that the server asked to wait, ``None`` when it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int = 500,
        user_message: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code, user_message=user_message)
        self.retry_after = retry_after


class UnreachableError(DbtCloudError):
    """No answer came.

    Attributes:
        sent: whether the request may have reached the server. ``False`` only when it surely did not: then
            even a trigger may be repeated without starting a second run.
        passing: whether asking again soon may help; a certificate that can't be verified stays so.
    """

    def __init__(self, message: str, *, sent: bool = True, passing: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        self.passing = passing


class MalformedAnswerError(DbtCloudError):
    """The answer is not one of dbt Cloud's API: HTML, truncated JSON, a redirect, no ``data``."""


class JobLookupError(DbtCloudError):
    """No job, or more than one, answers to the names; the message lists what there is."""


class RunTimeoutError(DbtCloudError, TimeoutError):
    """A wait reached its time limit before the run ended; ``run`` is the run as it was last seen."""
