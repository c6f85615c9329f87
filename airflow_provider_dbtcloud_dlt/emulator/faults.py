"""What can go wrong between a client and dbt Cloud, on request: which requests are hit, and by what.

Nothing here touches a socket: `Faults.take` says what is to happen to a request, and `wire` does it. With the
same seed and the same requests in the same order the same ones are hit.
"""

import difflib
import random
import re
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Kind = Literal[
    "status",
    "drop",
    "lose_answer",
    "late_answer",
    "slow",
    "truncate",
    "not_json",
    "fresh_run_404",
    "unknown_status",
    "pk_in_refused",
    "pk_in_ignored",
]

# Which of the fields below a kind takes, beside those that say whom it hits.
_TAKES: dict[Kind, frozenset[str]] = {
    "status": frozenset({"status", "retry_after", "body", "headers"}),
    "drop": frozenset(),
    "lose_answer": frozenset(),
    "late_answer": frozenset({"seconds"}),
    "slow": frozenset({"seconds"}),
    "truncate": frozenset(),
    "not_json": frozenset({"body"}),
    "fresh_run_404": frozenset({"seconds"}),
    "unknown_status": frozenset({"status"}),
    "pk_in_refused": frozenset(),
    "pk_in_ignored": frozenset(),
}
# Those that make sense for one endpoint only, and which.
_ONLY: dict[Kind, frozenset[str]] = {
    "fresh_run_404": frozenset({"get_run"}),
    "unknown_status": frozenset({"get_run", "list_runs"}),
    "pk_in_refused": frozenset({"list_runs"}),
    "pk_in_ignored": frozenset({"list_runs"}),
}
_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "status": {"status": 502},
    "late_answer": {"seconds": 5.0},
    "slow": {"seconds": 5.0},
    "fresh_run_404": {"seconds": 5.0},
    "unknown_status": {"status": 17},
}
# Answers with these have no body.
BODILESS = frozenset({204, 205, 304})
# What HTTP lets stand in a header's name and value; the server itself refuses to send anything else.
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SERVERS_OWN = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """A request, as far as faults look at it.

    Attributes:
        method: Such as ``GET``.
        path: Without the query.
        query: What follows the question mark.
        endpoint: The name of the endpoint, such as ``get_run``; None if no endpoint of the API has the path.
        run_age: Seconds since the run was created that the path names; None without one.
    """

    method: str
    path: str
    query: str = ""
    endpoint: str | None = None
    run_age: float | None = None

    @property
    def line(self) -> str:
        """What a fault's `path` is searched in: ``METHOD /path?query``."""
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")


class Fault(BaseModel):
    """Something unpleasant.

    Attributes:
        kind: What happens to a request that is hit:
            ``status`` is answered with `status` (502) instead of being served;
            ``drop`` has its connection cut before anything happened;
            ``lose_answer`` is carried out, then its connection is cut;
            ``late_answer`` is carried out at once, and answered after `seconds` (5);
            ``slow`` is served after `seconds` (5);
            ``truncate`` is carried out, and half of the answer arrives;
            ``not_json`` is carried out, and answered with 200 and a page of HTML;
            ``fresh_run_404`` is a 404 for a run that is younger than `seconds` (5);
            ``unknown_status`` shows runs that have not ended with a `status` (17) that nobody knows;
            ``pk_in_refused`` is a 400 for a list with `pk__in`;
            ``pk_in_ignored`` lists as if there were no `pk__in`.
        endpoint: Only requests to this endpoint, such as ``trigger_job``; None for all of the API.
        path: Only requests in whose ``METHOD /path?query`` this regular expression is found.
        times: How many requests are hit, also those whose answer a kind leaves as it is, such as
            ``unknown_status`` that of a run that has ended; None for no end.
        probability: How likely each of them is hit.
        status: The answer's status, or the run's.
        retry_after: The answer's ``Retry-After``: seconds, or a date as text.
        body: The answer's body; what a proxy or dbt Cloud would say if left out.
        headers: More headers of the answer.
        seconds: How long.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "status"
    endpoint: str | None = None
    path: str | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    retry_after: int | str | None = None
    body: str | None = None
    headers: Mapping[str, str] = {}
    seconds: Annotated[float, Field(ge=0, le=86400)] | None = None

    @field_validator("path")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a header")
            if name.lower() in _SERVERS_OWN:
                raise ValueError(f"the header {name} follows from the body and cannot be given")
            _check_header(name, text)
        return value

    @field_validator("retry_after")
    @classmethod
    def _is_header(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, str):
            _check_header("Retry-After", value)
        return value

    @field_validator("body")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        # JSON can smuggle in what no encoding has: half of a surrogate pair.
        if value is not None and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("half of a surrogate pair is no text")
        return value

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {**_DEFAULTS.get(values.get("kind", "status"), {}), **values}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        every = frozenset[str]().union(*_TAKES.values())
        given = {name for name in every & self.model_fields_set if getattr(self, name) is not None}
        foreign = sorted(given - _TAKES[self.kind])
        if foreign:
            raise ValueError(f"a fault of the kind {self.kind!r} takes no {' and no '.join(foreign)}")
        if self.kind == "status" and not 200 <= (self.status or 0) <= 599:
            raise ValueError("the status of an answer is between 200 and 599")
        if self.kind == "status" and self.status in BODILESS and self.body:
            raise ValueError(f"an answer with the status {self.status} has no body")
        only = _ONLY.get(self.kind)
        if only is not None and self.endpoint is not None and self.endpoint not in only:
            raise ValueError(f"a fault of the kind {self.kind!r} is for {' and '.join(sorted(only))} only")
        return self

    def concerns(self, request: Request) -> bool:
        """Whether a request is one of those that this fault may hit."""
        only = _ONLY.get(self.kind)
        if self.endpoint is not None and request.endpoint != self.endpoint:
            return False
        if only is not None and request.endpoint not in only:
            return False
        if self.path is not None and not re.search(self.path, request.line):
            return False
        if self.path is None and not request.path.startswith("/api/"):
            return False
        if self.kind == "fresh_run_404":
            return request.run_age is not None and request.run_age < (self.seconds or 0)
        return not self.kind.startswith("pk_in_") or "pk__in=" in request.query


def _check_header(name: str, value: str) -> None:
    """Raise an error unless a header can have this value."""
    if value != value.strip() or not _HEADER_VALUE.fullmatch(value):
        raise ValueError(
            f"the header {name} cannot be {value!r}: only a line of Latin-1 without spaces at its ends can"
        )


@dataclass
class Active:
    """A fault at work: with its number, how often it hit, and its own random numbers."""

    id: int
    fault: Fault
    chance: random.Random
    hits: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it will hit nothing more."""
        return self.fault.times is not None and self.hits >= self.fault.times

    def shown(self) -> dict[str, Any]:
        """Return it as the admin endpoint shows it."""
        return {"id": self.id, **self.fault.model_dump(exclude_none=True), "hits": self.hits}


class Faults:
    """The faults that are at work. Thread-safe.

    Args:
        faults: Those to begin with.
        seed: What makes their random numbers the same again; by chance if left out.
        endpoints: The names that a fault's `endpoint` may have.

    Raises:
        ValueError: If a fault is for an endpoint that does not exist.
    """

    def __init__(
        self, faults: Iterable[Fault] = (), seed: int | None = None, endpoints: Collection[str] = ()
    ) -> None:
        self.seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._endpoints = endpoints
        self._active: list[Active] = []
        self._last_id = 0
        self._lock = threading.Lock()
        for fault in faults:
            self.add(fault)

    @property
    def at_work(self) -> bool:
        """Whether any may still hit something."""
        return any(not one.is_over for one in self._active)

    def add(self, fault: Fault) -> int:
        """Put a fault to work, after those that are there; return its number.

        Raises:
            ValueError: If it is for an endpoint that does not exist.
        """
        if fault.endpoint is not None and fault.endpoint not in self._endpoints:
            close = difflib.get_close_matches(fault.endpoint, self._endpoints, 1)
            hint = (
                f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(self._endpoints))}."
            )
            raise ValueError(f"There is no endpoint {fault.endpoint!r}; {hint}")
        with self._lock:
            self._last_id += 1
            # Random numbers of its own: other faults and their requests do not change which ones it hits.
            equal = sum(one.fault == fault for one in self._active)
            chance = random.Random(f"{self.seed}/{equal}/{fault.model_dump_json()}")  # noqa: S311 - no secret
            self._active.append(Active(self._last_id, fault, chance))
            return self._last_id

    def remove(self, fault_id: int) -> bool:
        """Take a fault away; return whether it was there."""
        with self._lock:
            before = len(self._active)
            self._active = [one for one in self._active if one.id != fault_id]
            return len(self._active) < before

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._active.clear()

    def all(self) -> list[Active]:
        """Return the faults in the order in which they are tried, those that are over too."""
        with self._lock:
            return list(self._active)

    def take(self, request: Request) -> Fault | None:
        """Return what happens to a request, and count it: the first fault that hits; None if none does."""
        with self._lock:
            concerned = [one for one in self._active if not one.is_over and one.fault.concerns(request)]
            # Each draws, also those behind the one that hits: their next numbers stay the same.
            hits = [one for one in concerned if one.chance.random() < one.fault.probability]
            if not hits:
                return None
            hits[0].hits += 1
            return hits[0].fault
