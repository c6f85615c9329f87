"""Whatever dies, ends or is cleared in which order: a run is started once, never lost, never left behind.

A small world is played: the runs of one job, and one task that wants one of them. First all orders of a few
events, each world that they can lead to once; then long orders by chance. In every world it is asked what a
try that begins now would do.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.client import Run
from airflow_provider_dbtcloud_dlt.client.marker import Adopt, Decision, Marker, Retry, Start, decide

WORK = "0123456789abcdef"
OTHERS = (Marker("fedcba9876543210", 0).cause("Another task"), "By hand")
BY_HAND = "Retry by hand"
ACTIVE, SUCCESS, ERROR, CANCELLED = 3, 10, 20, 30


@dataclass(frozen=True)
class Made:
    """A run as the world knows it, which is more than dbt Cloud tells.

    Attributes:
        marked: the epoch in the marker of the run, or of the first one that it takes up; ``None``: of others.
        epoch: the epoch of the try that made it.
        retries: the run that it takes up.
        resumable: whether dbt Cloud could take it up, had it failed as the job's last run.
    """

    id: int
    marked: int | None
    epoch: int | None
    cause: str = "Retry"
    retries: int | None = None
    status: int = ACTIVE
    resumable: bool = True

    @property
    def active(self) -> bool:
        return self.status == ACTIVE

    @property
    def failed(self) -> bool:
        return self.status in (ERROR, CANCELLED)


@cache
def _shown(made: Made, is_last: bool) -> Run:
    """The run as the API shows it."""
    return Run.from_api(
        {
            "id": made.id,
            "status": made.status,
            "trigger": {"cause": made.cause},
            "retrying_run_id": made.retries,
            "can_retry": made.failed and made.resumable and is_last,
        }
    )


@dataclass(frozen=True)
class World:
    """What has come of some events.

    Attributes:
        wait: the task's `wait_for_termination`.
        resume: its `retry_from_failure`.
        runs: the job's, oldest first.
        epoch: the task's.
        looks: whether the next try looks before it starts something: all do but the very first.
        waited: the run that a try has, whose result is still to be delivered.
        done: whether the task has succeeded.
        late: the epoch of a trigger that is still under way though its sender is gone.
        doubled: whether a trigger has taken effect after its sender gave it up.
        story: how it came to this.
    """

    wait: bool
    resume: bool
    runs: tuple[Made, ...] = ()
    epoch: int = 0
    looks: bool = False
    waited: int | None = None
    done: bool = False
    late: int | None = None
    doubled: bool = False
    story: tuple[str, ...] = field(default=(), compare=False)

    @property
    def ours(self) -> list[Made]:
        return [made for made in self.runs if made.marked is not None]

    def shown(self) -> list[Run]:
        """The runs as the API lists them: newest first."""
        return [_shown(made, made is self.runs[-1]) for made in reversed(self.runs)]

    def decision(self, runs: Iterable[Run] | None = None) -> Decision:
        """What a try that begins now does."""
        if not self.looks:
            return Start()
        runs = self.shown() if runs is None else runs
        return decide(Marker(WORK, self.epoch), runs, wait=self.wait, retry_from_failure=self.resume)

    def made(self, run: Run) -> Made:
        return self.runs[run.id - 1]

    def events(self) -> Iterator[Self]:
        """All that can happen next."""
        if self.waited is not None:
            yield from self._waits()
        elif not self.done:
            yield from self.begins()
        yield from self._goes_on()
        yield from self._others()
        if self.looks:
            yield self._then("task cleared", epoch=self.epoch + 1, waited=None, done=False)

    def begins(self) -> Iterator[Self]:
        """A try, which may die at any point."""
        decision = self.decision()
        gone = {run.id for run in decision.cancel}
        runs = tuple(replace(made, status=CANCELLED) if made.id in gone else made for made in self.runs)
        calm = replace(self, runs=runs, looks=True)
        if isinstance(decision, Adopt):
            yield calm._then(f"run {decision.run.id} adopted", waited=decision.run.id)
            return
        yield calm._then("died before the trigger, or it was refused")
        if isinstance(decision, Retry):
            failed = self.made(decision.run)
            retry = Made(len(runs) + 1, failed.marked, self.epoch, retries=failed.id)
            yield calm._with(retry)._then(f"run {retry.id} takes up {failed.id}", waited=retry.id)
        new = calm._new(self.epoch)
        yield calm._with(new)._then(f"run {new.id} started", waited=new.id)
        twins = calm._with(new)
        twins = twins._with(twins._new(self.epoch))
        yield twins._then(f"died after runs {new.id} and {new.id + 1} were started", doubled=True)
        if self.late is None:
            yield calm._then("died with the trigger under way", late=self.epoch)

    def _waits(self) -> Iterator[Self]:
        yield self._then("died, or its time was up", waited=None)
        run = self.runs[(self.waited or 0) - 1]
        if not (self.wait and run.active):
            yield self._then("result delivered", waited=None, done=not self.wait or not run.failed)

    def _goes_on(self) -> Iterator[Self]:
        """In dbt Cloud."""
        for made in self.ours:
            for status, resumable in ((SUCCESS, True), (ERROR, True), (ERROR, False), (CANCELLED, True)):
                if made.active:
                    runs = list(self.runs)
                    runs[made.id - 1] = replace(made, status=status, resumable=resumable)
                    yield self._then(f"run {made.id} ended as {status}", runs=tuple(runs))
        if self.late is not None:
            arrived = self._with(self._new(self.late))
            yield arrived._then("the trigger under way arrived", late=None, doubled=True)

    def _others(self) -> Iterator[Self]:
        """Another deployment, DAG run or mapped task, and people; once is enough to be in the way."""
        if len(self.ours) == len(self.runs):
            for cause in OTHERS:
                for status in (ACTIVE, ERROR):
                    theirs = Made(len(self.runs) + 1, None, None, cause, status=status)
                    yield self._with(theirs)._then(f"another's run {theirs.id}")
        if self.runs and self.shown()[0].can_retry and self.ours[-1:] == [self.runs[-1]]:
            last = self.runs[-1]
            by_hand = Made(last.id + 1, last.marked, last.epoch, BY_HAND, retries=last.id)
            yield self._with(by_hand)._then(f"run {by_hand.id} takes up {last.id}, by hand")

    def _new(self, epoch: int) -> Made:
        return Made(len(self.runs) + 1, epoch, epoch, Marker(WORK, epoch).cause("Airflow"))

    def _with(self, made: Made) -> Self:
        return replace(self, runs=(*self.runs, made))

    def _then(self, what: str, **changes: object) -> Self:
        return replace(self, story=(*self.story, what), **changes)  # type: ignore[arg-type]


# --- what holds in every world ------------------------------------------------------------------------------

Claim = Callable[[World, Decision], bool]


def _made_before(world: World) -> list[Made]:
    """The runs that tries of this epoch have made, as far as they can be known for its own.

    One that takes up an older epoch's failure bears that epoch's marker. Once it has ended nothing tells it
    from one that the older epoch made, whose result is not to be taken: of the two ways to be wrong, to run
    again what was cleared is the one that does no harm.
    """
    made = [made for made in world.ours if made.epoch == world.epoch]
    return [one for one in made if one.marked == one.epoch or (world.resume and one.active)]


def others_are_left_alone(world: World, decision: Decision) -> bool:
    """Nothing of another work is adopted, taken up or cancelled."""
    chosen = [] if isinstance(decision, Start) else [decision.run]
    return all(world.made(run).marked is not None for run in [*chosen, *decision.cancel])


def nothing_is_started_beside_a_run(world: World, decision: Decision) -> bool:
    """While a run of this epoch is active, or has what the task wants, there is no other."""
    before = _made_before(world)
    return isinstance(decision, Adopt) or all(one.failed and world.wait for one in before)


def nothing_is_left_behind(world: World, decision: Decision) -> bool:
    """Each active run of this work, of whichever epoch, is the one that is waited for, or is cancelled."""
    adopted = [decision.run] if isinstance(decision, Adopt) else []
    found = {run.id for run in [*adopted, *decision.cancel]}
    return all(made.id in found for made in world.ours if made.active) and not any(
        run.is_terminal or run in adopted for run in decision.cancel
    )


def a_failure_is_no_result(world: World, decision: Decision) -> bool:
    """Who waits never adopts a run that failed or was cancelled."""
    return not (world.wait and isinstance(decision, Adopt) and world.made(decision.run).failed)


def no_older_epoch_is_adopted(world: World, decision: Decision) -> bool:
    """But for an active retry with `retry_from_failure`: it may well be this epoch's."""
    if not isinstance(decision, Adopt):
        return True
    made = world.made(decision.run)
    return made.marked == world.epoch or (world.resume and made.retries is not None and made.active)


def only_a_failure_is_taken_up(world: World, decision: Decision) -> bool:
    """By `retry_from_failure`, where dbt Cloud can do that."""
    return not isinstance(decision, Retry) or (world.resume and bool(decision.run.can_retry))


def what_can_be_taken_up_is_not_started_anew(world: World, decision: Decision) -> bool:
    """With `retry_from_failure`, across epochs."""
    resumable = world.resume and bool(world.runs) and world.runs[-1] in world.ours
    return not (resumable and isinstance(decision, Start) and world.shown()[0].can_retry)


def order_of_the_list_is_nothing(world: World, decision: Decision) -> bool:
    """The decision is the same for the runs in any order."""
    return world.decision(reversed(world.shown())) == decision


def who_looks_next_decides_the_same(world: World, decision: Decision) -> bool:
    """Should this try die at once: the run that it has is adopted, and nothing is left to be cancelled."""
    if world.waited is not None:
        return True
    next_tries = [after for after in world.begins() if after.waited is not None]
    return all(
        isinstance(again := after.decision(), Adopt) and (again.run.id, again.cancel) == (after.waited, ())
        for after in next_tries
    )


def a_run_is_not_exchanged(world: World, decision: Decision) -> bool:
    """Should the try die that waits for an active run: the next waits for the same."""
    waited = world.runs[world.waited - 1] if world.waited is not None else None
    if waited is None or not waited.active or waited.marked != world.epoch:
        return True
    return isinstance(decision, Adopt) and decision.run.id == waited.id


def one_run_is_enough(world: World, _: Decision) -> bool:
    """An epoch has one run that is active or did what was wanted: no more are made than failures ask for."""
    for epoch in range(world.epoch + 1):
        made = [one for one in world.ours if one.epoch == epoch and one.cause != BY_HAND]
        unknown = any(one.marked != epoch for one in made)
        if not unknown and not world.doubled and sum(not (one.failed and world.wait) for one in made) > 1:
            return False
    return True


CLAIMS: list[Claim] = [
    others_are_left_alone,
    nothing_is_started_beside_a_run,
    nothing_is_left_behind,
    a_failure_is_no_result,
    no_older_epoch_is_adopted,
    only_a_failure_is_taken_up,
    what_can_be_taken_up_is_not_started_anew,
    order_of_the_list_is_nothing,
    who_looks_next_decides_the_same,
    a_run_is_not_exchanged,
    one_run_is_enough,
]
of_each_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
of_each_kind_of_task = pytest.mark.parametrize(
    ("wait", "resume"), [(True, False), (True, True), (False, False), (False, True)]
)


@cache
def _worlds(wait: bool, resume: bool, events: int) -> list[tuple[World, Decision]]:
    """All that so many events can lead to and in which a try may begin, with what it does then."""
    worlds = {start: start for start in [World(wait, resume)]}
    newest = list(worlds)
    for _ in range(events):
        newest = [
            after for world in newest for after in world.events() if worlds.setdefault(after, after) is after
        ]
    return [(world, world.decision()) for world in worlds if not world.done]


@of_each_kind_of_task
@of_each_claim
def test_claim_holds_in_every_order(claim: Claim, wait: bool, resume: bool) -> None:
    """Of up to five events."""
    for world, decision in _worlds(wait, resume, 5):
        assert claim(world, decision), world.story


@pytest.mark.slow
@of_each_kind_of_task
@of_each_claim
def test_claim_holds_in_every_longer_order(claim: Claim, wait: bool, resume: bool) -> None:
    """Of up to seven events."""
    for world, decision in _worlds(wait, resume, 7):
        assert claim(world, decision), world.story


def _hold_on_the_way(world: World, chances: list[int]) -> None:
    for chance in chances:
        events = list(world.events())
        world = events[chance % len(events)]
        if not world.done:
            decision = world.decision()
            broken = [claim.__name__ for claim in CLAIMS if not claim(world, decision)]
            assert broken == [], world.story


long_orders = st.lists(st.integers(0, 99), min_size=25, max_size=50)


@of_each_kind_of_task
@settings(max_examples=50)
@given(chances=long_orders)
def test_claims_hold_in_long_orders(wait: bool, resume: bool, chances: list[int]) -> None:
    """All of them, wherever chance leads."""
    _hold_on_the_way(World(wait, resume), chances)


@pytest.mark.slow
@of_each_kind_of_task
@settings(max_examples=300)
@given(chances=long_orders)
def test_claims_hold_in_many_long_orders(wait: bool, resume: bool, chances: list[int]) -> None:
    """Likewise, for longer than anybody waits for at each change."""
    _hold_on_the_way(World(wait, resume), chances)


def test_orders_lead_to_every_decision() -> None:
    """Each kind, with and without something to cancel: no claim holds for want of a case."""
    decisions = {(type(decision), bool(decision.cancel)) for _, decision in _worlds(True, True, 5)}
    assert decisions == {(kind, cancels) for kind in (Start, Adopt, Retry) for cancels in (False, True)}
