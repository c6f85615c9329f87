"""Reads an Airflow connection: which field means what, and what is wrong with it."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import Connection

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError
from airflow_provider_dbtcloud_dlt.client.protocol import DEFAULT_RETRY_BUDGET, DEFAULT_TIMEOUT
from airflow_provider_dbtcloud_dlt.client.waiting import DEFAULT_OUTAGE_TOLERANCE
from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS

log = logging.getLogger(__name__)

DEFAULT_HOST = "cloud.getdbt.com"
DEFAULT_REQUESTS_PER_MINUTE = 2000.0
"""dbt documents a limit of 5,000 for an account: this leaves as much for a second triggerer, and a rest."""
JOB_DEFAULTS = (
    "job_id",
    "run_id",
    "project_id",
    "environment_id",
    "cause",
    "git_branch",
    "git_sha",
    "schema_override",
)


class DbtCloudConnectionError(DbtCloudError):
    """A field of an Airflow connection that can't be used; the message names connection and field."""


@dataclass(frozen=True)
class Settings:
    """How to reach dbt Cloud, and the defaults for what a task does not say itself.

    Attributes:
        origin: where it was read, for messages: ``Airflow connection 'dbt_cloud_default'``.
        api_token: the secret.
        account_id: the account, if the connection names one.
        base_api_url: scheme, host and ``/api``.
        proxies: as requests takes them.
        verify: verify TLS certificates, or the path of a CA bundle to verify them with.
        timeout: seconds to connect and to wait for data.
        allow_http: allow plain http to a host other than this machine.
        outage_tolerance: seconds for which a wait outlives an API that does not answer.
        requests_per_minute: how often the waits of a triggerer ask for their runs, all together.
        deployment: which Airflow this is, when several run the same DAGs.
        defaults: ``job_id``, ``run_id``, ``project_id``, ``environment_id``, ``cause``, ``git_branch``,
            ``git_sha``, ``schema_override``; only those that were given.
    """

    origin: str
    api_token: str = field(repr=False)
    account_id: str | None = None
    base_api_url: str = f"https://{DEFAULT_HOST}/api"
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # an address may hold a password
    verify: bool | str = True
    timeout: float | tuple[float, float] = DEFAULT_TIMEOUT
    allow_http: bool = False
    outage_tolerance: float = DEFAULT_OUTAGE_TOLERANCE
    requests_per_minute: float = DEFAULT_REQUESTS_PER_MINUTE
    deployment: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)

    def client(
        self, account_id: int | str | None = None, retry_budget: float = DEFAULT_RETRY_BUDGET
    ) -> DBTCloudClientV2:
        """Make a client.

        Args:
            account_id: instead of the connection's account.
            retry_budget: seconds within which a failed read or cancellation is repeated.

        Raises:
            DbtCloudConnectionError: token, account, host, proxy or CA bundle can't be used.
        """
        account = account_id or self.account_id
        if account is None:
            raise DbtCloudConnectionError(
                f"{self.origin}: there is no account id. Put it into the connection's login (Account ID), or "
                "give the task an account_id."
            )
        return self._client(account, retry_budget)

    def client_without_account(self, retry_budget: float = DEFAULT_RETRY_BUDGET) -> DBTCloudClientV2:
        """Likewise for what needs no account: `list_accounts` and `get_endpoint`."""
        return self._client(None, retry_budget)

    def _client(self, account: int | str | None, retry_budget: float) -> DBTCloudClientV2:
        try:
            return DBTCloudClientV2(
                self.api_token,
                account,
                self.base_api_url,
                timeout=self.timeout,
                retry_budget=retry_budget,
                proxies=self.proxies,
                verify=self.verify,
                allow_http=self.allow_http,
            )
        except DbtCloudError as error:
            raise DbtCloudConnectionError(f"{self.origin}: {error}") from None


def read(connection: Connection) -> Settings:
    """Read a connection of type ``dbt_cloud_dlt``, or of the official provider's type ``dbt_cloud``.

    Raises:
        DbtCloudConnectionError: a field is missing or malformed.
    """
    origin = f"Airflow connection {connection.conn_id!r}"
    if not (connection.password or "").strip():
        raise DbtCloudConnectionError(
            f"{origin}: the API token is empty. Put a dbt Cloud service token or personal access token into "
            "the connection's password (API token)."
        )
    extra = _extra(origin, connection)
    return Settings(
        origin=origin,
        api_token=str(connection.password),
        account_id=_account(origin, connection.login),
        base_api_url=_base_api_url(origin, connection),
        allow_http=extra.boolean("allow_http") or False,
        requests_per_minute=extra.number("requests_per_minute", "requests") or DEFAULT_REQUESTS_PER_MINUTE,
        deployment=str(extra.get("deployment") or ""),
        defaults=extra.job_defaults(),
        **extra.ways(),
    )


def token_kind(api_token: str) -> str:
    """What kind of token this is, by the prefix that dbt Cloud gives it; old ones have none."""
    kinds = {"dbtc_": "a service token", "dbtu_": "a personal access token"}
    return kinds.get(api_token.strip()[:5], "an API token")


def _check_place(origin: str, field_name: str, value: str | None) -> None:
    """Refuse a token in a field that is shown, without showing it once more."""
    if re.search(r"\bdbt[cu]_\w", value or ""):
        raise DbtCloudConnectionError(
            f"{origin}: the {field_name} holds an API token, which belongs into the password (API token): "
            "there it is neither shown nor logged."
        )


def _account(origin: str, login: str | None) -> str | None:
    text = (login or "").strip()
    _check_place(origin, "login (Account ID)", text)
    if text and not (text.isascii() and text.isdigit()):
        raise DbtCloudConnectionError(
            f"{origin}: the login (Account ID) must be the account's number, which stands in dbt Cloud's "
            f"address after /accounts/ or /deploy/; got {text[:40]!r}."
        )
    return text or None


def _base_api_url(origin: str, connection: Connection) -> str:
    """The API's base URL; of an address that was copied from the browser only the host counts."""
    host = (connection.host or "").strip() or DEFAULT_HOST
    _check_place(origin, "host (Access URL)", host)
    if _is_ipv6(host):
        host = f"[{host}]"  # Airflow takes the brackets off when it reads a connection's URI
    scheme = connection.schema if connection.schema in ("http", "https") else "https"
    try:
        parts = urlsplit(host if "://" in host else f"{scheme}://{host}")
        port = parts.port or connection.port
        readable = host.isprintable() and not re.search(r"[\s@]", host)
        usable = readable and parts.hostname and parts.scheme in ("http", "https")
    except ValueError:  # a port or an IPv6 address that is none, characters that no host name has
        usable = False
    if not usable:
        # What stands before an @ may be a secret.
        raise DbtCloudConnectionError(
            f"{origin}: the host (Access URL) must look like 'ab123.us1.dbt.com' or "
            f"'http://127.0.0.1:8080', got {host.rpartition('@')[2]!r}."
        )
    name = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    own = port and port != {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{name}{f':{port}' if own else ''}/api"


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _extra(origin: str, connection: Connection) -> Fields:
    try:
        content = json.loads(connection.extra) if connection.extra else {}
    except ValueError:
        raise DbtCloudConnectionError(f"{origin}: the extra is no valid JSON.") from None
    if not isinstance(content, dict):
        raise DbtCloudConnectionError(f"{origin}: the extra must be a JSON object.")
    for key in content.keys() - CONNECTION_FIELDS:
        _warn_of_typo(origin, key)
    return Fields(content, f"{origin}: extra", DbtCloudConnectionError)


class Fields:
    """The connection's extra, or the hook's arguments, read with an error that names the field.

    Args:
        content: the values by the fields' names.
        where: what the fields are and where they stand, for the error.
        refusal: the error's kind.
    """

    def __init__(self, content: Mapping[str, Any], where: str, refusal: type[DbtCloudError]) -> None:
        self._content = content
        self._where = where
        self._refusal = refusal

    def ways(self) -> dict[str, Any]:
        """How to reach dbt Cloud, as far as it is said: attributes of `Settings`."""
        said = {
            "proxies": self.proxies(),
            "verify": self.verify(),
            "timeout": self.timeout(),
            "outage_tolerance": self.number("outage_tolerance"),
        }
        return {name: value for name, value in said.items() if value is not None}

    def get(self, key: str) -> Any:
        """The value, ``None`` for an empty one: a form stores what was left empty as an empty string."""
        value = self._content.get(key)
        return None if isinstance(value, str) and not value.strip() else value

    def job_defaults(self) -> dict[str, str]:
        """The defaults for what a task does not say itself."""
        return {key: self._job_default(key) for key in JOB_DEFAULTS if self.get(key) is not None}

    def _job_default(self, key: str) -> str:
        value = self.get(key)
        text = str(value).strip()
        if key.endswith("_id") and not (text.isascii() and text.isdigit()):
            raise self._wrong(key, "a whole number", value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._wrong(key, "a text", value)
        return text

    def boolean(self, key: str) -> bool | None:
        """True or false, as a text too."""
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        raise self._wrong(key, "true or false", value)

    def number(self, key: str, what: str = "seconds", *, or_zero: bool = False) -> float | None:
        """A positive number, as a text too."""
        value = self.get(key)
        number = _number(value)
        if value is not None and not (number or (or_zero and number == 0)):
            raise self._wrong(key, f"{'0 or ' if or_zero else ''}a positive number of {what}", value)
        return number

    def timeout(self, key: str = "timeout") -> float | tuple[float, float] | None:
        """Seconds, or two numbers of them: to connect, to answer."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, list | tuple) and len(value) == 2:
            connect, answer = map(_number, value)
            if connect and answer:
                return connect, answer
        seconds = _number(value)
        if seconds:
            return seconds
        raise self._wrong(key, "a positive number of seconds, or two [to connect, to answer]", value)

    def verify(self) -> bool | str | None:
        """Whether to verify, or by which CA bundle."""
        value = self.get("verify")
        if isinstance(value, str) and value.strip().lower() not in ("true", "false"):
            return value.strip()
        return self.boolean("verify")

    def proxies(self) -> Mapping[str, str] | None:
        """The proxies by scheme; one address is meant for both."""
        value = self.get("proxies")
        if isinstance(value, str):
            if value.strip().startswith("{"):
                try:
                    value = json.loads(value)
                except ValueError:
                    raise self._wrong(
                        "proxies", 'an address or {"https": "http://proxy:3128"}', value
                    ) from None
            else:
                value = {"http": value.strip(), "https": value.strip()}
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong("proxies", 'an address or {"https": "http://proxy:3128"}', value)
        return value

    def _wrong(self, key: str, expected: str, value: object) -> DbtCloudError:
        shown = "" if key == "proxies" else f", got {value!r}"  # a proxy's address may hold a password
        return self._refusal(f"{self._where} {key!r} must be {expected}{shown}.")


@functools.cache  # once in a process: the triggerer reads a connection again and again
def _warn_of_typo(origin: str, key: str) -> None:
    """Say so when an unknown key looks like a known one; others are somebody else's business."""
    for near in difflib.get_close_matches(key, CONNECTION_FIELDS, n=1, cutoff=0.65):
        log.warning("%s: extra %r is not known and has no effect. Did you mean %r?", origin, key, near)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None
