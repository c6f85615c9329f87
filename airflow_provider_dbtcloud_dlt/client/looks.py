"""What a wait needs of a run, read from a list of runs in a fraction of the time that whole records take.

A triggerer reads hundreds of runs a second, in threads that take turns with its event loop; and objects that
Python's garbage collector has to follow make it walk all of Airflow's, which holds the event loop up.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import pendulum

from airflow_provider_dbtcloud_dlt.client.models import Run, RunStatus, parse_duration, parse_time


class Look(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A run that goes on, as it was seen; its attributes are those of `Run`."""

    id: int
    status_number: int = msgspec.field(name="status", default=0)
    job_definition_id: int | None = None
    href: str | None = None
    status_message: str | None = None
    created: str | None = msgspec.field(name="created_at", default=None)
    started: str | None = msgspec.field(name="started_at", default=None)
    finished: str | None = msgspec.field(name="finished_at", default=None)
    lasted: str | None = msgspec.field(name="duration", default=None)

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        return RunStatus(self.status_number)

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, well or not."""
        return self.status.is_terminal

    @property
    def created_at(self) -> pendulum.DateTime | None:
        """When it was created."""
        return parse_time(self.created)

    @property
    def started_at(self) -> pendulum.DateTime | None:
        """When it started; None while it is queued."""
        return parse_time(self.started)

    def as_run(self) -> Run:
        """The record, with no more than what is known here."""
        return Run(
            id=self.id,
            status=self.status,
            job_definition_id=self.job_definition_id,
            href=self.href,
            status_message=self.status_message,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=parse_time(self.finished),
            duration=parse_duration(self.lasted),
        )


SeenRun: TypeAlias = Run | Look


class _Answer(msgspec.Struct, gc=False):
    data: list[Look]


def read_looks(body: bytes) -> list[SeenRun] | None:
    """Read a list of runs: those that go on as looks, those that have ended as records.

    Returns:
        The runs; None when the answer is not quite as dbt documents it, and has to be read more patiently.
    """
    try:
        found = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return [look.as_run() if look.is_terminal else look for look in found.data]
