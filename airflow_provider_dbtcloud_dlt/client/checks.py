"""What a user may hand to the client, checked before anything is sent: each refusal names what is wrong."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_dbtcloud_dlt.client.errors import InvalidCredentialsException, InvalidRequestError
from airflow_provider_dbtcloud_dlt.client.models import RunStatus

CAUSE_MAX_LENGTH = 255

TRIGGER_FIELDS: Mapping[str, type] = {
    "cause": str,
    "git_sha": str,
    "git_branch": str,
    "schema_override": str,
    "dbt_version_override": str,
    "target_name_override": str,
    "threads_override": int,
    "timeout_seconds_override": int,
    "generate_docs_override": bool,
    "steps_override": list,
    "azure_pull_request_id": int,
    "github_pull_request_id": int,
    "gitlab_merge_request_id": int,
    "non_native_pull_request_id": int,
}
"""The fields of a trigger's body, see https://docs.getdbt.com/dbt-cloud/api-v2#/operations/Trigger%20Job%20Run."""

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def check_token(api_token: object) -> str:
    """Return the token, or say what is wrong with it without showing it."""
    token = api_token.strip() if isinstance(api_token, str) else ""
    if not token:
        raise InvalidCredentialsException(
            "api_token is empty: give a dbt Cloud service token or personal access token (in an Airflow "
            "connection it is the password, in dlt's configuration dbt_cloud.api_token)."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidCredentialsException(
            "api_token holds characters that no dbt Cloud token has (blanks, line breaks or non-ASCII "
            "characters): copy it again."
        )
    return token


LARGEST_ID = 2**63 - 1


def is_id(value: object, text: str) -> bool:
    """Whether a value, as text, is a positive whole number of 64 bits, as all ids are."""
    digits = text.isascii() and text.isdigit() and len(text) < 20
    return not isinstance(value, bool) and digits and 0 < int(text) <= LARGEST_ID


def check_id(name: str, value: object) -> int:
    """Return an account, job, run, … id as a number.

    Raises:
        InvalidCredentialsException: it is missing or no positive whole number; the message names `name`.
    """
    text = "" if value is None else str(value).strip()
    if not text or text == "None":
        raise InvalidCredentialsException(f"{name} is missing: give it, or set a default for it.")
    if not is_id(value, text):
        raise InvalidCredentialsException(f"{name} must be a positive whole number, got {text[:80]!r}.")
    return int(text)


def check_statuses(name: str, value: object) -> list[RunStatus]:
    """Return a run's statuses: one or several, each by its number, as a text too, or by its name.

    Raises:
        InvalidRequestError: one is no status that dbt documents, or there is none; the message names `name`.
    """
    several = value if isinstance(value, Collection) and not isinstance(value, str) else [value]
    if not several:
        raise InvalidRequestError(f"{name} is empty: no run would count. Name a status.")
    return [_status(name, one) for one in several]


def _status(name: str, value: object) -> RunStatus:
    text = "" if isinstance(value, bool) else str(value).strip()
    for status in RunStatus:
        if text == str(status.value) or text.upper() == status.name:
            return status
    known = ", ".join(f"{status.value} {status.humanized}" for status in RunStatus)
    raise InvalidRequestError(f"{name} must be of {known}, by number or name, got {value!r}.")


def check_base_url(base_api_url: str, *, allow_http: bool = False) -> str:
    """Return the API's base URL, normalised; plain http is for loopback hosts only, unless it is allowed.

    Raises:
        InvalidRequestError: it is no http(s) URL, holds credentials, or is plain http to another machine.
    """
    if "@" in base_api_url:  # first of all: the other messages show the URL
        raise InvalidRequestError("base_api_url must not hold a user name or password.")
    try:
        parts = urlsplit(base_api_url.strip())
        parts.port  # noqa: B018  reading it validates it
    except ValueError as error:
        raise InvalidRequestError(f"base_api_url {base_api_url!r} is no valid URL: {error}.") from None
    readable = base_api_url.strip().isprintable() and " " not in base_api_url.strip()
    if not readable or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(
            f"base_api_url must look like https://ab123.us1.dbt.com/api, got {base_api_url!r}."
        )
    if parts.query or parts.fragment:
        raise InvalidRequestError("base_api_url must not hold a query or a fragment.")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise InvalidRequestError(
            f"plain http to {parts.hostname} would send the API token unencrypted: use https, or allow it "
            "with allow_http (in an Airflow connection an extra of that name)."
        )
    # The API lives below /api; who names only the host means that.
    return base_api_url.strip().rstrip("/") + ("/api" if parts.path in ("", "/") else "")


def is_loopback(hostname: str) -> bool:
    """Whether this name means this machine."""
    return hostname in LOOPBACK_HOSTS or re.fullmatch(r"127(\.\d{1,3}){3}", hostname) is not None


def check_proxy(address: object) -> None:
    """Refuse a proxy's address that requests could not use, without showing it: it may hold a password.

    A reserved character in a password (``#``, ``/``, ``?``) makes a part of it the host's name, which the
    libraries below show in their errors.

    Raises:
        InvalidRequestError: it has no scheme of a proxy, no host, a bad port, or more than these.
    """
    text = address if isinstance(address, str) else ""
    try:
        parts = urlsplit(text if "://" in text or "@" in text else f"http://{text}")
        usable = (
            parts.scheme in PROXY_SCHEMES
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.path.strip("/") or parts.query or parts.fragment)
        )
    except ValueError:  # a port or an IPv6 address that is none
        usable = False
    if not usable:
        raise InvalidRequestError(
            "proxies (or the environment variable HTTPS_PROXY) holds an address that can't be used: it must "
            "look like http://proxy:3128 or http://user:password@proxy:3128, where the characters #, /, ?, @ "
            "and the like of user and password are percent-encoded (# as %23)."
        )


def check_text(name: str, value: object) -> str:
    """Return a text; a whole number becomes one, as Airflow makes one of "1234567" in a DAG with
    ``render_template_as_native_obj``.

    Raises:
        InvalidRequestError: it is anything else; a float too, of which nobody knows how it was written.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        hint = ": quote it (1.10 and 1.1 are the same number)" if isinstance(value, float) else ""
        raise InvalidRequestError(f"{name} must be a string, got {value!r}{hint}.")
    return str(value)


def check_trigger_body(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check a trigger's body and leave out what is ``None``.

    Fields that this module does not know are passed on: the API is their judge.

    Raises:
        InvalidRequestError: the cause is missing or over 255 characters, or a field has the wrong type.
    """
    body = {name: value for name, value in data.items() if value is not None}
    for name, value in body.items():
        expected = TRIGGER_FIELDS.get(name)
        if expected is int and isinstance(value, str) and value.strip().isdecimal():
            body[name] = int(value)  # a rendered template is a string
        elif expected is bool and isinstance(value, str) and value.strip().lower() in ("true", "false"):
            body[name] = value.strip().lower() == "true"
        elif expected is str:
            body[name] = check_text(name, value)
        elif expected is list:
            body[name] = check_steps(value)
        elif expected is not None and (
            not isinstance(value, expected) or (expected is int and isinstance(value, bool))
        ):
            raise InvalidRequestError(f"{name} must be {_TYPE_WORDS[expected]}, got {value!r}.")
    cause = body.get("cause")
    if not cause:
        raise InvalidRequestError("cause is missing: dbt Cloud wants to know why a run was started.")
    if len(cause) > CAUSE_MAX_LENGTH:
        raise InvalidRequestError(
            f"cause is {len(cause)} characters long, dbt Cloud accepts {CAUSE_MAX_LENGTH}: shorten it."
        )
    return body


_TYPE_WORDS = {int: "a whole number", bool: "true or false"}


def check_steps(value: object) -> list[str]:
    """Return a run's steps.

    Raises:
        InvalidRequestError: they are no list of commands, or an empty one.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidRequestError(
            f"steps_override must be a list of dbt commands such as ['dbt build'], got {value!r}."
        )
    if not value or not all(isinstance(step, str) and step.strip() for step in value):
        raise InvalidRequestError(
            f"steps_override must hold at least one dbt command each, got {list(value)!r}."
        )
    return list(value)
