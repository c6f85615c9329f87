"""The rows of the fault matrix: what goes wrong, when, and how it is brought about."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from fault_stack import Batch, FaultStack, TaskProcess, Trial

PATIENCE = 900.0
LATE_SECONDS = 6.0
"""How long an answer is held back when a process is to be hit while it waits for it."""
SETTLE_SECONDS = 12.0
"""What a provider may take to cancel a run after its task has ended."""

TAKEN_OVER_SECONDS = 5.0
"""After which a triggerer has surely taken a new wait over; before that, nobody can cancel its run."""

Condition = Callable[[Trial], bool]


@dataclass
class Play:
    """One batch of a row while it is played.

    Attributes:
        stack: where.
        batch: the trials.
        short: for the tests: what takes minutes takes seconds.
        hits: how many kills, or other blows, there were.
        struck: where each trial gets a blow of its own, those that got it.
    """

    stack: FaultStack
    batch: Batch
    short: bool = False
    hits: int = 0
    struck: set[tuple[str, int]] | None = None

    def trials(self) -> list[Trial]:
        return self.batch.trials()

    def until(self, condition: Condition, what: str) -> list[Trial]:
        """Wait until a condition holds for every trial."""
        deadline = time.monotonic() + PATIENCE
        while True:
            trials = self.trials()
            if len(trials) == self.batch.size and all(condition(trial) for trial in trials):
                return trials
            if time.monotonic() > deadline:
                missing = [(*one.name, one.state) for one in trials if not condition(one)]
                raise TimeoutError(f"After {PATIENCE:.0f} s not every trial {what}: {missing}")
            time.sleep(1)

    def until_all_wait(self) -> list[Trial]:
        """Wait until every trial waits for its run, or has already failed."""
        return self.until(is_settled, "waits for its run")

    def hold(self, seconds: float) -> None:
        """Let the trials wait for a while: many looks at the runs."""
        time.sleep(seconds / 5 if self.short else seconds)

    def settle(self) -> list[Trial]:
        """Give each provider its time to cancel the runs that it leaves: no more than it needs, if short."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            time.sleep(1)
            trials = self.trials()
            enough = self.short and not any(trial.runs_left for trial in trials)
            if enough or time.monotonic() > deadline:
                return trials

    def hit_each(
        self,
        ready: Callable[[Trial, TaskProcess], bool],
        blow: Callable[..., bool],
        missed: Condition = lambda trial: trial.has_ended,
    ) -> None:
        """Deal every trial one blow, when it is ready.

        Args:
            ready: whether the trial is at the point.
            blow: called with trial and process; says whether it was dealt.
            missed: whether the trial is beyond that point, and gets none.
        """
        self.struck = set()
        left = {trial.name for trial in self.until(lambda trial: True, "is there")}
        deadline = time.monotonic() + PATIENCE
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"After {PATIENCE:.0f} s these were neither struck nor missed: {left}")
            processes = self.stack.processes()
            for trial in self.trials():
                process = processes.get(trial.pid)
                if trial.name not in left:
                    continue
                if missed(trial):
                    left.discard(trial.name)
                elif process is not None and ready(trial, process) and _dealt(blow, trial, process):
                    left.discard(trial.name)
                    self.struck.add(trial.name)
            time.sleep(0.1)
        self.hits += len(self.struck)


def _dealt(blow: Callable[..., bool], trial: Trial, process: TaskProcess) -> bool:
    try:
        return blow(trial, process)
    except psutil.NoSuchProcess:  # it was quicker
        return False


def is_settled(trial: Trial) -> bool:
    return trial.has_ended or trial.is_waiting


Fault = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One row of the matrix.

    Attributes:
        name: short, for the command line.
        title: what goes wrong.
        act: brings it about, once the DAG runs have been started.
        trials: how many for each provider.
        batches: in how many DAG runs.
        faults: the emulator's faults, from before the start to the end.
        arguments: of the operator.
        retries: of the task.
        runs: how many dbt runs a trial should start.
        ends: whether the dbt runs end by themselves at last, successfully; if not, the row ends the tasks.
        max_active_tasks: how many tasks of a provider may have a process at once.
        has_short_form: whether few trials in little time show anything.
    """

    name: str
    title: str
    act: Callable[[Play], None]
    trials: int = 30
    batches: int = 1
    faults: Sequence[Fault] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 2
    runs: int = 1
    ends: bool = True
    max_active_tasks: int = 6
    has_short_form: bool = True


def _with_worker(trial: Trial) -> bool:
    """Every other kill takes the worker along, as when a machine fails."""
    return trial.number % 2 == 1


def _kill(trial: Trial, process: TaskProcess) -> bool:
    process.kill(with_worker=_with_worker(trial))
    return True


def wait_only(play: Play) -> None:
    """The emulator's faults do the rest."""
    play.until_all_wait()
    play.hold(60)


def kill_before_trigger(play: Play) -> None:
    """The process is stopped first, to make sure that it has not triggered anything yet."""

    def blow(trial: Trial, process: TaskProcess) -> bool:
        process.task.suspend()
        if play.batch.has_run(trial):
            process.task.resume()
            return False
        return _kill(trial, process)

    play.hit_each(lambda trial, _: trial.try_number == 1 and not trial.runs, blow, is_settled)


def kill_after_trigger(play: Play) -> None:
    """The answer to the trigger is held back: there is a run, and the task does not know it."""
    play.hit_each(lambda trial, _: trial.try_number == 1 and bool(trial.runs), _kill, is_settled)


def kill_workers_while_deferred(play: Play) -> None:
    play.until_all_wait()
    play.stack.kill_workers()
    play.hits += 1
    play.hold(15)


def kill_at_resumption(play: Play) -> None:
    """At any moment between the start of the resumed task's process and its end."""
    play.until_all_wait()
    play.stack.end_runs()
    ages = {trial.name: random.uniform(0, 1.2) for trial in play.trials()}

    def is_old_enough(trial: Trial, process: TaskProcess) -> bool:
        try:
            return time.time() - process.task.create_time() >= ages[trial.name]
        except psutil.NoSuchProcess:
            return False

    play.hit_each(is_old_enough, _kill)


def freeze_waiting(play: Play) -> None:
    """The task waits for its run on the worker."""
    _freeze(play, lambda trial: trial.is_waiting and play.batch.knows_its_run(trial))


def freeze_triggering(play: Play) -> None:
    """The answer to the trigger is held back: it arrives while the task stands still."""
    _freeze(play, lambda trial: bool(trial.runs))


def _freeze(play: Play, ready: Condition) -> None:
    """Worker and task stand still until the next try waits, for this run or another; then they go on."""
    frozen: dict[Any, TaskProcess] = {}

    def blow(trial: Trial, process: TaskProcess) -> bool:
        frozen[trial.name] = process
        process.freeze()
        return True

    def is_beyond(trial: Trial) -> bool:
        return trial.has_ended or trial.state == "deferred"

    play.hit_each(lambda trial, _: trial.try_number == 1 and ready(trial), blow, is_beyond)

    def goes_on_elsewhere(trial: Trial) -> bool:
        if trial.has_ended or trial.name not in frozen:
            return True
        return trial.try_number > 1 and trial.is_waiting and play.batch.knows_its_run(trial)

    try:
        play.until(goes_on_elsewhere, "is taken up by a second try")
    finally:
        for process in frozen.values():
            process.thaw()
    _, alive = psutil.wait_procs([process.task for process in frozen.values()], timeout=60)
    if alive:
        raise TimeoutError(f"Airflow did not end these tasks after they had gone on: {alive}")
    play.hold(15)


def kill_triggerers(play: Play) -> None:
    play.until_all_wait()
    for _ in range(1 if play.short else 5):
        play.stack.kill_triggerers()
        play.hits += 1
        time.sleep(18)  # the dead ones are noticed, the new ones have taken over and looked


def replace_triggerers(play: Play) -> None:
    play.until_all_wait()
    names = ["triggerer", "triggerer-2"]
    for number in range(1 if play.short else 6):
        play.stack.replace_triggerer(names[number % 2])
        play.hits += 1
        time.sleep(18)


def stop_the_emulator(play: Play) -> None:
    play.until_all_wait()
    play.stack.emulator.kill()
    play.hits += 1
    play.hold(120)
    play.stack.emulator.start()
    play.hold(15)


def rotate_token(play: Play) -> None:
    play.until_all_wait()
    for _ in range(1 if play.short else 3):
        play.stack.rotate_token()
        play.hits += 1
        time.sleep(8)
        play.stack.renew_connections()
        time.sleep(8)


def nothing(play: Play) -> None:
    """To see that the trials by themselves succeed."""
    play.hits = 1
    play.until_all_wait()
    play.hold(60)


def mark_failed(play: Play) -> None:
    play.until_all_wait()
    time.sleep(TAKEN_OVER_SECONDS)
    for trial in play.trials():
        if not trial.has_ended:
            play.batch.mark(trial, "failed")
            play.hits += 1


def clear(play: Play) -> None:
    before = {trial.name: trial.try_number for trial in play.until_all_wait()}
    time.sleep(TAKEN_OVER_SECONDS)
    play.hits += play.batch.clear()
    play.until(lambda trial: is_settled(trial) and trial.try_number > before[trial.name], "has begun again")


def time_out(play: Play) -> None:
    play.hits += len(play.until(lambda trial: trial.has_ended, "has been ended by its time-out"))


TRIGGER = "trigger_job"
LATE_TRIGGER = ({"kind": "late_answer", "endpoint": TRIGGER, "seconds": LATE_SECONDS},)

# The harness itself lists runs in ascending order: its requests are not to be hit.
ANY_REQUEST = {"path": r"^(?!.*order_by=id\b).*/api/"}

ROWS = (
    Row("nothing", "nothing", nothing, trials=100),
    Row(
        "lost-answer",
        "one in two answers to a trigger is lost",
        wait_only,
        trials=100,
        faults=({"kind": "lose_answer", "endpoint": TRIGGER, "probability": 0.5},),
    ),
    Row(
        "worker-before-trigger",
        "worker killed before it triggers",
        kill_before_trigger,
        trials=36,
        batches=3,
    ),
    Row(
        "worker-after-trigger",
        "worker killed after it has triggered, before it knows the run",
        kill_after_trigger,
        trials=33,
        batches=3,
        faults=LATE_TRIGGER,
    ),
    Row(
        "workers-deferred",
        "all workers and the scheduler killed while tasks are deferred",
        kill_workers_while_deferred,
        batches=5,
    ),
    Row(
        "worker-resumption",
        "worker killed when the deferred task resumes",
        kill_at_resumption,
        trials=42,
        batches=3,
    ),
    Row(
        "frozen-waiting",
        "worker frozen while it waits, until the next try waits too",
        freeze_waiting,
        batches=3,
        arguments={"deferrable": False},
        max_active_tasks=12,
    ),
    Row(
        "frozen-triggering",
        "worker frozen after it has triggered, until the next try waits",
        freeze_triggering,
        batches=3,
        faults=LATE_TRIGGER,
        max_active_tasks=12,
    ),
    Row("triggerers-killed", "both triggerers killed, five times", kill_triggerers),
    Row("triggerers-replaced", "triggerers replaced one after the other, six times", replace_triggerers),
    Row("api-down", "dbt Cloud down for two minutes", stop_the_emulator, batches=5),
    Row(
        "errors-2",
        "2 % of all requests answered with 502",
        wait_only,
        100,
        faults=({"probability": 0.02, **ANY_REQUEST},),
        has_short_form=False,
    ),
    Row(
        "errors-20",
        "20 % of all requests answered with 502",
        wait_only,
        100,
        faults=({"probability": 0.2, **ANY_REQUEST},),
    ),
    Row(
        "rate-limit",
        "one in two requests refused with 429: half the needed rate",
        wait_only,
        100,
        faults=({"status": 429, "retry_after": 1, "probability": 0.5, **ANY_REQUEST},),
    ),
    Row("token", "token rotated; the connection follows seconds later, three times", rotate_token, 100),
    Row("marked-failed", "marked failed while deferred", mark_failed, 100, ends=False),
    Row("cleared", "cleared while deferred", clear, 100, runs=2),
    Row(
        "marked-failed-working",
        "marked failed while it waits on its worker",
        mark_failed,
        batches=3,
        arguments={"deferrable": False},
        ends=False,
        max_active_tasks=12,
    ),
    Row(
        "cleared-working",
        "cleared while it waits on its worker",
        clear,
        batches=3,
        arguments={"deferrable": False},
        runs=2,
        max_active_tasks=12,
    ),
    Row(
        "timeout",
        "`timeout` over while deferred",
        time_out,
        100,
        arguments={"timeout": 30},
        retries=0,
        ends=False,
    ),
    Row(
        "execution-timeout",
        "`execution_timeout` over while deferred",
        time_out,
        100,
        arguments={"execution_timeout": 30},
        retries=0,
        ends=False,
    ),
)
