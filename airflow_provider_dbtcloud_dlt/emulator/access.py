"""Who may do what: the tokens that open the account, and how they stop doing so."""

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND, Clock


@dataclass(frozen=True)
class Token:
    """A token of the account.

    Attributes:
        name: What people call it.
        secret: What clients send.
        read_only: It starts, cancels and retries nothing: such requests are answered with 403.
        projects: The ids of the only projects that exist for it; None for all of them.
    """

    name: str
    secret: str = field(repr=False)
    read_only: bool = False
    projects: frozenset[int] | None = None

    def sees(self, project_id: int) -> bool:
        """Whether a project and what is in it exist for this token."""
        return self.projects is None or project_id in self.projects


class Keyring:
    """The tokens that are valid now. Thread-safe.

    Args:
        tokens: All of them; the first is the account's own, which can be replaced and can expire.
        clock: What its expiry is measured with.
    """

    def __init__(self, tokens: Iterable[Token], clock: Clock) -> None:
        self._own, *self._others = tokens
        self._clock = clock
        self._current = self._own.secret
        self._expires_at: int | None = None
        self._lock = threading.Lock()

    @property
    def secret(self) -> str:
        """The account's own token as it is now."""
        return self._current

    def find(self, authorization: str) -> Token | None:
        """Return the valid token in an ``Authorization`` header; None if there is none."""
        given = _secret(authorization)
        with self._lock:
            expired = self._expires_at is not None and self._clock.now() >= self._expires_at
            if _same(given, self._current):
                return None if expired else self._own
        return next((token for token in self._others if _same(given, token.secret)), None)

    def administers(self, authorization: str) -> bool:
        """Whether a header holds the account's own token: as configured or as it is now, expired or not."""
        given = _secret(authorization)
        return _same(given, self._own.secret) or _same(given, self._current)

    def replace(self, secret: str) -> None:
        """Replace the account's own token: from now on the old one is refused.

        Raises:
            ValueError: If the new one is empty or could not stand in a header.
        """
        check_secret(secret)
        with self._lock:
            self._current, self._expires_at = secret, None

    def expire(self, seconds: float = 0.0) -> None:
        """Let the account's own token expire after so many seconds of the emulator's clock."""
        with self._lock:
            self._expires_at = self._clock.now() + round(seconds * SECOND)


def check_secret(secret: str) -> None:
    """Check what is to be a token.

    Raises:
        ValueError: If it is empty or could not stand in a header: no client could send it.
    """
    if not secret.strip() or secret != secret.strip() or not secret.isascii() or not secret.isprintable():
        raise ValueError("A token is printable ASCII without spaces at its ends, and not empty.")


def _secret(authorization: str) -> str:
    """Return what follows `Token` or `Bearer`, which mean the same; nothing if neither is there."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() in ("token", "bearer") else ""


def _same(given: str, secret: str) -> bool:
    return bool(given) and secrets.compare_digest(given.encode(), secret.encode())
