"""Records → what the page of a run shows: its steps, a result for each node, the ends of logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_provider_dbtcloud_dlt.emulator import dbt, payloads
from airflow_provider_dbtcloud_dlt.emulator.clock import SECOND
from airflow_provider_dbtcloud_dlt.emulator.engine import Engine
from airflow_provider_dbtcloud_dlt.emulator.pages import results
from airflow_provider_dbtcloud_dlt.emulator.store import Run, StepRecord

RESULTS_FILE = "run_results.json"
# So much of everything is read by people and drawn by browsers without a pause; the rest is a link away.
MAX_ROWS = 200
MAX_NAMES = 3
MAX_FILES = 8
MAX_TEXT = 5_000
MAX_LOG_LINES = 500
MAX_LOG_TEXT = 100_000


@dataclass(frozen=True)
class Excerpt:
    """The end of a log, and how many lines the whole has."""

    text: str
    lines: int
    is_cut: bool


@dataclass(frozen=True)
class Results:
    """What a step's results are shown as.

    Attributes:
        nodes: The first of them.
        left_out: How many follow.
        tally: How many ended how, in words.
        failed: Those that failed, such as ``model stg_flights``, as far as they are listed in a sentence.
        failed_more: How many more failed.
        problem: Why there are none to show, though there is a file.
    """

    nodes: Sequence[results.NodeResult] = ()
    left_out: int = 0
    tally: str = ""
    failed: Sequence[str] = ()
    failed_more: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Step:
    """A step as its run's page shows it.

    Attributes:
        files: The artifacts that it left at the top of the target folder: those that people look for.
        files_total: How many it left in all.
    """

    index: int
    name: str
    status: str
    took: str
    log: Excerpt
    debug_log: Excerpt
    results: Results | None
    files: Sequence[str]
    files_total: int


@dataclass(frozen=True)
class RunView:
    """A run as its page shows it: `failing` is the step that made it fail, and is in `steps` as well."""

    run: Run
    steps: Sequence[Step]
    failing: Step | None
    waits_for: Sequence[Run]
    retries: Run | None
    retried_by: Sequence[Run]
    overrides: Sequence[tuple[str, object]]


def of_run(run: Run, engine: Engine) -> RunView:
    """Return what the page of a run shows."""
    records = engine.history.steps(run)
    failure = engine.history.failure(run)
    failing = None if failure is None else failure[0].index
    # A scripted run tells one set of artifacts: they are those of the step with which it ended.
    begun = [one.index for one in records if one.started_at is not None]
    told_by = failing or max(begun, default=0)
    steps = []
    for record in records:
        files = engine.history.artifacts(run, record.index)
        if run.script is not None and record.index != told_by:
            files = []
        steps.append(_step(record, run, engine, files))
    return RunView(
        run=run,
        steps=steps,
        failing=next((step for step in steps if step.index == failing), None),
        waits_for=[engine.run(one) for one in engine.blocked_by(run)],
        retries=None if run.retrying_run_id is None else engine.run(run.retrying_run_id),
        retried_by=engine.retries_of(run.id),
        overrides=[
            (name.removesuffix("_override"), run.trigger[name])
            for name in payloads.TRIGGER_FIELDS
            if run.trigger.get(name) is not None
        ],
    )


def moment(at: int) -> str:
    """Return a time as people read it, in UTC."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(begin: int | None, end: int) -> str:
    """Return how long something took, such as ``2 min 05 s``; nothing if it has not begun."""
    if begin is None:
        return ""
    tenths = max(end - begin, 0) * 10 // SECOND
    seconds = tenths // 10
    if seconds < 10:
        return f"{tenths / 10:.1f} s"
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds // 60 % 60:02} min"


def end_of(text: str) -> Excerpt:
    """Return as much of the end of a log as a page shows."""
    shown = "".join(text[-MAX_LOG_TEXT:].splitlines(keepends=True)[-MAX_LOG_LINES:])
    return Excerpt(shown.rstrip(), text.count("\n"), len(shown) < len(text))


def _step(record: StepRecord, run: Run, engine: Engine, files: Sequence[str]) -> Step:
    top = [path for path in files if "/" not in path]
    return Step(
        index=record.index,
        name=record.name,
        status=payloads.status_name(record.status),
        took=span(record.started_at, record.finished_at or engine.clock.now()),
        log=end_of(record.logs or ""),
        debug_log=end_of(engine.history.debug_log(record)),
        results=_results(record, run, engine) if RESULTS_FILE in files else None,
        files=top[:MAX_FILES],
        files_total=len(files),
    )


def _results(record: StepRecord, run: Run, engine: Engine) -> Results | None:
    # A step without results of its own has those of the step before it among its artifacts.
    if run.script is None and not dbt.has_results(engine.history.files(run.id), record.index):
        return None
    try:
        nodes = results.parse(engine.history.artifact(run, RESULTS_FILE, record.index))
    except results.UnreadableError as error:
        return Results(problem=str(error))
    failed = [f"{node.kind} {node.name}".strip() for node in nodes if node.failed]
    return Results(
        nodes=nodes[:MAX_ROWS],
        left_out=max(len(nodes) - MAX_ROWS, 0),
        tally=results.tally(nodes),
        failed=failed[:MAX_NAMES],
        failed_more=max(len(failed) - MAX_NAMES, 0),
    )
