"""Keeping the secrets that dlt resolved out of messages and logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.configuration.specs.base_configuration import is_secret_hint
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.typing import is_subclass

_HIDDEN = "***"
_SHORTEST = 4
"""Shorter values are no secrets, and hiding each "1" or "no" would make a message unreadable."""

_REVEALING = r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|signature)"
_IN_URL = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)")
_IN_TEXT = re.compile(rf"(?i)\b({_REVEALING})(['\"]?\s*[=:]\s*['\"]?)([^\s&'\",;]+)")


class Secrets:
    """What must not be read in a log: each secret that dlt resolved from its configuration during a load.

    Args:
        hide: Told of each secret once, so that the logger can hide it too (Airflow's ``mask_secret``): a
            traceback shows the messages of exceptions that are not ours.
    """

    def __init__(self, hide: Callable[[str], Any] | None = None) -> None:
        self._hide = hide
        self._values: set[str] = set()

    def collect(self) -> None:
        """Note what dlt has resolved up to now; it forgets at the end of each of its steps."""
        for trace in get_resolved_traces().resolved_traces:
            if is_secret_hint(trace.hint):
                for value in _secrets_in(trace.value, trace.hint):
                    self.note(value)

    def note(self, value: Any) -> None:
        """Note one secret, also as it is written in a URL."""
        for text in (value, quote(value, safe=""), quote_plus(value)) if isinstance(value, str) else ():
            if len(value) >= _SHORTEST and text not in self._values:
                self._values.add(text)
                if self._hide:
                    self._hide(text)

    def note_revealing(self, content: Any, name: str = "") -> None:
        """Note what a mapping, or one within it, has under a name that tells of a secret."""
        if isinstance(content, Mapping):
            for key, value in content.items():
                self.note_revealing(value, str(key))
        elif re.fullmatch(_REVEALING, name, re.IGNORECASE):
            self.note(content)

    def redact(self, text: str) -> str:
        """Return the text without secrets: those noted, and whatever looks like one."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, _HIDDEN)
        return _IN_TEXT.sub(rf"\1\2{_HIDDEN}", _IN_URL.sub(_HIDDEN, text))


def _secrets_in(value: Any, hint: Any) -> Iterator[str]:
    """Find what is secret in one resolved value.

    Credentials may come as one connection string. The whole of it is not hidden: for DuckDB it is the file's
    path, and a message that hides it helps nobody.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and re.fullmatch(_REVEALING, str(key), re.IGNORECASE):
                yield inner
    elif isinstance(value, str):
        if not is_subclass(hint, CredentialsConfiguration):
            yield value
        elif "://" in value and (password := urlsplit(value).password):
            yield password
            yield unquote(password)
