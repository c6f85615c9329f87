"""One look at dbt Cloud's lists for all who want to see the same."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, DbtCloudError
from airflow_provider_dbtcloud_dlt.triggers.poller import Poller, changed_or_due


class Looker(ABC):
    """One who wants to look at a list from time to time.

    Attributes:
        wish: what it wants to see.
        due: when to look next, by the event loop's clock.
        over: whether, or how, it has ended; with an exception, should the looks break down.
    """

    wish: Any
    due: float
    over: asyncio.Future[Any]

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What those have in common who can look together."""

    @staticmethod
    @abstractmethod
    def ask(client: DBTCloudClientV2, wishes: Sequence[Any]) -> Any:
        """Fulfil the wishes of all who look together, in a thread; what is returned each of them sees."""

    @abstractmethod
    def saw(self, answer: Any) -> None:
        """Take in the answer, or the `DbtCloudError` instead of one, and set `due`."""


_looks: weakref.WeakKeyDictionary[Poller, dict[Hashable, SharedLook]] = weakref.WeakKeyDictionary()


class SharedLook:
    """Looks, as long as there is somebody who wants to see something.

    Args:
        poller: of the account; asks.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._lookers: dict[Looker, None] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    @contextmanager
    def joined(cls, poller: Poller, looker: Looker) -> Iterator[None]:
        """Look until the end of the ``with``, together with all of the same key."""
        looks, key = _looks.setdefault(poller, {}), looker.key
        look = looks.setdefault(key, cls(poller))
        with poller.in_use():
            look._join(looker)
            try:
                yield
            finally:
                if look._leave(looker):
                    del looks[key]

    def _join(self, looker: Looker) -> None:
        self._lookers[looker] = None
        self._changed.set()
        if self._task is None:
            # An empty context: what is logged here belongs to no task's log.
            self._task = asyncio.get_running_loop().create_task(
                self._look_when_due(), context=contextvars.Context()
            )
            self._task.add_done_callback(self._fail_loudly)

    def _leave(self, looker: Looker) -> bool:
        """Whether that was the last one."""
        del self._lookers[looker]
        if self._lookers:
            return False
        if self._task is not None:
            self._task.cancel()
        return True

    def _fail_loudly(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        for looker in self._lookers if error else ():
            if not looker.over.done():
                looker.over.set_exception(RuntimeError(f"the look at dbt Cloud's runs broke down: {error!r}"))

    async def _look_when_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            looking = [one for one in self._lookers if not one.over.done()]
            due = min((one.due for one in looking), default=float("inf"))
            if due <= loop.time():
                await self._look(looking)
            else:
                await changed_or_due(self._changed, due)

    async def _look(self, looking: Sequence[Looker]) -> None:
        ask, wishes = looking[0].ask, [one.wish for one in looking]
        answer: Any
        try:
            answer = await self._poller.ask(lambda client: ask(client, wishes))
        except DbtCloudError as error:
            answer = error
        for one in looking:
            if one.over.done():
                continue
            try:
                one.saw(answer)
            except Exception as error:  # noqa: BLE001 - what is wrong with one must not end the others' looks
                one.over.set_exception(error)
