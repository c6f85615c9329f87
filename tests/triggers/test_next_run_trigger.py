"""The trigger that waits until a job has a next run: what is stored of it, its event, with whom it shares."""

import asyncio
import inspect
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.next_run import NextRun, find_next_runs
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.triggers import poller
from airflow_provider_dbtcloud_dlt.triggers.next_run import DbtCloudNextRunTrigger

START = datetime(2026, 1, 1, tzinfo=UTC)


def trigger(job_id: int = 7, **more: Any) -> DbtCloudNextRunTrigger:
    return DbtCloudNextRunTrigger(
        **{
            "conn_id": "dbt_cloud_default",
            "job_id": job_id,
            "after": datetime.now(UTC).isoformat(),
            "end_time": time.time() + 20,
            "poll_interval": 0.1,
            **more,
        }
    )


async def event(one: DbtCloudNextRunTrigger) -> Any:
    (found,) = [event.payload async for event in one.run()]
    return found


def test_every_argument_is_stored() -> None:
    """What is stored, as JSON, builds a trigger that stores the same; no argument is forgotten."""
    path, stored = trigger(
        failed_before=START.isoformat(), account_id=3, hook_params={"timeout": 5}
    ).serialize()
    assert path == "airflow_provider_dbtcloud_dlt.triggers.next_run.DbtCloudNextRunTrigger"
    assert DbtCloudNextRunTrigger(**json.loads(json.dumps(stored))).serialize() == (path, stored)
    assert set(stored) == set(inspect.signature(DbtCloudNextRunTrigger.__init__).parameters) - {"self"}


def test_time_is_up(emu: Emulator) -> None:
    """The event says what was waited for."""
    found = asyncio.run(event(trigger(emu.job_id, end_time=time.time() + 0.3)))
    assert found["status"] == "timeout"
    assert f"No run of job {emu.job_id} that was created after" in found["message"]
    assert "within the timeout" in found["message"]


def test_api_that_does_not_come_back(emu: Emulator) -> None:
    """After outage_tolerance the search gives up."""
    emu.fail_next(1000, status=502)
    found = asyncio.run(event(trigger(emu.job_id, outage_tolerance=0.2)))
    assert (found["status"], f"learnt of a run of job {emu.job_id}" in found["message"]) == (
        "unreachable",
        True,
    )


def test_defect_of_one_search_is_its_own(emu: Emulator) -> None:
    """One that can't judge what was seen, of a tolerance that is no number, ends alone."""
    emu.fail_next(1)

    async def main() -> Any:
        broken, sound = (
            trigger(emu.job_id, outage_tolerance="600"),
            trigger(emu.job_id, end_time=time.time() + 1),
        )
        return await asyncio.gather(event(broken), event(sound), return_exceptions=True)

    failed, ended = asyncio.run(main())
    assert isinstance(failed, TypeError)
    assert ended["status"] == "timeout"


def test_token_that_is_rotated_meanwhile(emu: Emulator, connect: Any) -> None:
    """The connection is read again after a refusal."""

    async def main() -> Any:
        waiting = asyncio.create_task(event(trigger(emu.job_id)))
        await asyncio.sleep(0.3)
        emu.rotate_token("another")
        connect(host=emu.host, login=str(emu.account_id), password="another")
        emu.script_job(emu.job_id, seconds=0)
        emu.trigger()
        return await waiting

    assert asyncio.run(main())["status"] == "found"


def test_all_share_the_looks(emu: Emulator) -> None:
    """Fifty that wait for runs of one job, of various moments, make as many requests as one."""
    emu.script_job(emu.job_id, seconds=0)

    async def main() -> list[Any]:
        now = datetime.now(UTC)
        moments = [(now + timedelta(milliseconds=number)).isoformat() for number in range(50)]
        waiting = [asyncio.create_task(event(trigger(emu.job_id, after=one))) for one in moments]
        await asyncio.sleep(0.5)
        emu.trigger()
        return list(await asyncio.gather(*waiting))

    found = asyncio.run(main())
    assert {one["status"] for one in found} == {"found"}
    assert len({one["message"].split(" is ")[0] for one in found}) == 1
    assert len(emu.requests) <= 10


def test_nothing_is_left_behind(emu: Emulator) -> None:
    """With the last who waits everything ends; one that leaves does not end the others' search."""

    async def main() -> int:
        leaving, staying = (asyncio.create_task(event(trigger(emu.job_id))) for _ in range(2))
        await asyncio.sleep(0.3)
        leaving.cancel()
        emu.script_job(emu.job_id, seconds=0)
        emu.trigger()
        await staying
        await asyncio.sleep(0)
        assert not poller._pollers[asyncio.get_running_loop()]
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


class Account:
    """Lists runs as the API does."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    def list_runs(self, order_by: str, **filters: Any) -> Any:
        (since, _) = filters[f"{order_by}__range"]
        timed = [(getattr(run, order_by), run.id, run) for run in self.runs]
        start = datetime.fromisoformat(since)
        return (run for at, _, run in sorted(one for one in timed if one[0] is not None) if at >= start)


@st.composite
def ended_runs(draw: st.DrawFn) -> list[Run]:
    moments = st.integers(0, 5_000_000).map(lambda micros: START + timedelta(microseconds=micros))
    runs = []
    for run_id in range(draw(st.integers(0, 8))):
        created, finished = sorted((draw(moments), draw(moments)))
        status = draw(st.sampled_from([RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.RUNNING]))
        is_over = status.is_terminal
        times: Any = {"created_at": created, "finished_at": finished if is_over else None}
        runs.append(Run(id=run_id, job_definition_id=7, status=status, **times))
    return runs


@given(ended_runs(), st.data())
def test_each_gets_the_first_that_counts(runs: list[Run], data: st.DataObject) -> None:
    """Whoever shares the answer: each gets the run that a search of its own would find."""
    moments = st.integers(0, 5_000_000).map(lambda micros: START + timedelta(microseconds=micros))
    first = data.draw(st.sampled_from(["created", "finished"]))
    wanted = data.draw(
        st.lists(st.builds(NextRun, st.just(7), moments, st.just(first), st.none() | moments), max_size=5)
    )
    found = find_next_runs(Account(runs), wanted)  # type: ignore[arg-type]

    def at(run: Run) -> Any:
        return run.created_at if first == "created" else run.finished_at

    for one in wanted:
        candidates = [run for run in runs if at(run) is not None and at(run) >= one.after]
        if one.failed_before is not None:
            candidates = [
                run
                for run in candidates
                if run.status is not RunStatus.ERROR or run.finished_at >= one.failed_before  # type: ignore[operator]
            ]
        expected = min(candidates, key=lambda run: (at(run), run.id), default=None)
        assert found.get(one) == expected
