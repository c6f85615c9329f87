"""What all tests share: Airflow's home, set before anything imports Airflow, and hypothesis's settings."""

import asyncio
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator

_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["NO_PROXY"] = "127.0.0.1"

# A loaded machine is no reason to fail.
settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # CI judges a change by what it changes: the search for new cases goes on where people run the tests.
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("tests")

STARTED = datetime.now(UTC)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an Airflow connection, by the environment."""

    def make(conn_id: str = "dbt_cloud_default", extra: object = None, **fields: Any) -> None:
        content = {"conn_type": "dbt_cloud_dlt", "extra": extra or {}, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(content))

    return make


@pytest.fixture(scope="session")
def aside() -> Iterator[ThreadPoolExecutor]:
    """Does what no test needs to wait for."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def emu(connect: Callable[..., None], aside: ThreadPoolExecutor) -> Iterator["Emulator"]:
    """An emulated dbt Cloud, and the default connection that leads there."""
    from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

    with ExitStack() as stack:
        running = stack.enter_context(emulator(lag=0))
        connect(host=running.host, login=str(running.account_id), password=running.token)
        yield running
        if budget := sys.modules.get("airflow_provider_dbtcloud_dlt.triggers.budget"):
            budget._budgets.clear()  # another emulator may get this one's port
        aside.submit(stack.pop_all().close)  # a server takes a while to stop


@pytest.fixture
def open_connections(emu: "Emulator") -> Iterator[Callable[[], int]]:
    """Count the connections that this process keeps open to the emulator; no luck with cycles helps it."""
    import psutil

    port = urlsplit(emu.url).port

    def count() -> int:
        found = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and (one.raddr.port, one.status) == (port, "ESTABLISHED") for one in found)

    gc.disable()
    yield count
    gc.enable()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium without a window."""
    import browser as local_browser
    from playwright.sync_api import sync_playwright

    found = local_browser.find()
    if found is None:
        if os.environ.get("EXPECT_BROWSER") == "1":
            pytest.fail(local_browser.MISSING)
        pytest.skip(local_browser.MISSING)
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=found, args=list(local_browser.OPTIONS)) as running:
            yield running


@pytest.fixture
def context() -> Callable[..., Any]:
    """Make what our operators use of a task's context; ``ti.xcoms`` has what was pushed."""

    def make(try_number: int = 1, max_tries: int = 0, task_id: str = "transform", **more: Any) -> Any:
        xcoms: dict[str, Any] = {}
        task_instance = SimpleNamespace(
            id=uuid4(),
            dag_id="elt",
            run_id="manual__1",
            task_id=task_id,
            map_index=-1,
            try_number=try_number,
            max_tries=max_tries,
            xcoms=xcoms,
            xcom_push=lambda key, value: xcoms.__setitem__(key, value),
            get_first_reschedule_date=lambda context: None,
        )
        dag_run = SimpleNamespace(start_date=STARTED, run_after=STARTED)
        return {"ti": task_instance, "dag_run": dag_run, **more}

    return make


class Triggerer:
    """Stands in for what Airflow does between a task's deferral and its resumption."""

    patience = 120.0
    """Seconds until a trigger must have come to its end: dbt takes its time on a loaded machine."""

    @staticmethod
    def deferral(operator: Any, context: Any) -> Any:
        """Execute an operator that must defer; return the deferral."""
        from airflow_provider_dbtcloud_dlt.compat import TaskDeferred

        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context)
        return deferred.value

    def event(self, trigger: Any) -> Any:
        """Run a trigger, as it is built again from what Airflow stores of it; return its event's payload."""
        path, arguments = trigger.serialize()
        module, _, name = path.rpartition(".")
        stored = json.loads(json.dumps(arguments))
        again = getattr(importlib.import_module(module), name)(**stored)

        async def first() -> Any:
            return [event.payload async for event in again.run()]

        (payload,) = asyncio.run(asyncio.wait_for(first(), self.patience))
        return payload

    @staticmethod
    def resume(operator: Any, deferred: Any, context: Any, event: Any) -> Any:
        """Go on with the task, on an operator that is made anew as on another worker."""
        arguments = {**(deferred.kwargs or {}), "event": event}
        return operator.resume_execution(deferred.method_name, arguments, context)

    def finish(self, make: Callable[[], Any], context: Any) -> Any:
        """A task's whole life: execute, wait in the triggerer, resume."""
        deferred = self.deferral(make(), context)
        return self.resume(make(), deferred, context, self.event(deferred.trigger))


@pytest.fixture
def triggerer() -> Triggerer:
    """What Airflow does between a deferral and the resumption."""
    return Triggerer()
