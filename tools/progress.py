"""Tells what happens in a DAG run while it happens: tasks, the steps of their dbt runs, the workers."""

import re
import time
from dataclasses import dataclass, field
from typing import Any

from flights_stack import FlightsStack
from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_provider_dbtcloud_dlt.client import DbtCloudError, Run

COLOURS = {"success": "green", "failed": "red", "deferred": "magenta", "running": "cyan"}
# dbt's last words on a step, such as "Done. PASS=44 WARN=0 ERROR=0 SKIP=0 NO-OP=0 TOTAL=44".
DBT_TOTALS = re.compile(r"PASS=\d+ WARN=\d+ ERROR=\d+ SKIP=\d+")


class Narrator:
    """Prints lines that begin with the seconds since it was made."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()
        self._stages: list[tuple[str, float]] = []

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def say(self, who: str, what: str, style: str = "") -> None:
        line = Text(f"{self.seconds:6.1f} s  ")
        line.append(f"{who:<10} ", style="bold")
        line.append(what, style=style)
        self.console.print(line, soft_wrap=True)

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a part took, for the table at the end."""
        self._stages.append((name, seconds))

    def stages(self) -> Table:
        table = Table(title="How long it took", title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for name, seconds in [*self._stages, ("everything", self.seconds)]:
            table.add_row(name, f"{seconds:.1f}")
        return table


@dataclass
class Waiting:
    """What was seen of the workers while a task was deferred."""

    seconds: float = 0.0
    looks: int = 0
    looks_without_process: int = 0
    slots_in_use: list[int] = field(default_factory=list)


class RunWatcher:
    """Follows a DAG run; hand ``look`` to ``AirflowAPI.wait_for_run``."""

    def __init__(self, stack: FlightsStack, narrator: Narrator, dag_id: str, run_id: str) -> None:
        self._stack = stack
        self._narrator = narrator
        self._dag = (dag_id, run_id)
        self._states: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._dbt_runs: dict[int, tuple[str, dict[str, str]]] = {}
        self.waiting = Waiting()
        self.durations: dict[tuple[str, str], float] = {}
        """Seconds that each task spent in each state, by task and state."""

    def look(self, tasks: list[dict[str, Any]]) -> None:
        """Tell what is new."""
        for task in sorted(tasks, key=lambda task: task["start_date"] or "~"):
            self._task(task["task_id"], task["state"] or "none", task["try_number"])
        deferred = [task["task_id"] for task in tasks if task["state"] == "deferred"]
        for task_id in self._states:
            if self._states[task_id] in ("running", "deferred", "success", "failed"):
                self._dbt_run(task_id)
        if deferred:
            self._workers(deferred[0])

    def _task(self, task_id: str, state: str, try_number: int) -> None:
        before = self._states.get(task_id, "none")
        if state == before:
            return
        now = time.monotonic()
        took = now - self._since.get(task_id, now)
        self.durations[task_id, before] = self.durations.get((task_id, before), 0.0) + took
        self._states[task_id], self._since[task_id] = state, now
        if state == "scheduled":
            return  # it is over in a moment, and tells a reader nothing
        note = {
            "deferred": "the triggerer waits for dbt, the worker is free",
            "failed": f"try {try_number}",
        }.get(state, "")
        was = f"{before} for {took:.1f} s → " if before in ("running", "deferred") else ""
        text = f"{was}{state}" + (f" ({note})" if note else "")
        self._narrator.say(task_id, text, COLOURS.get(state, ""))

    def _dbt_run(self, task_id: str) -> None:
        run_id = self._stack.airflow.api.xcom(*self._dag, task_id, "job_run_id")
        if run_id is None:
            return
        before, steps = self._dbt_runs.get(int(run_id), ("", {}))
        if before in ("Success", "Error", "Cancelled"):
            return
        try:
            run = self._stack.emulator.client.get_run(run_id, ["run_steps", "job"])
        except DbtCloudError:
            return  # it is only for show: the next look may see more
        state = run.status.humanized
        if not before:
            job = run.job.name if run.job else run.job_definition_id
            self._narrator.say("dbt", f"run {run.id} of the job {job!r}: {run.href}")
        self._steps(run, steps)
        if state != before:
            self._narrator.say("dbt", f"run {run.id}: {state.lower()}", COLOURS.get(state.lower(), ""))
        self._dbt_runs[run.id] = (state, steps)

    def _steps(self, run: Run, known: dict[str, str]) -> None:
        for step in run.run_steps:
            name, state = str(step.name), step.status.humanized
            if known.get(name) == state or state in ("Queued", "Starting"):
                continue
            known[name] = state
            text = f"step {step.index}, {name}: {state.lower()}"
            if step.duration is not None and step.finished_at is not None:
                text += f" after {step.duration.total_seconds():.0f} s"
            if totals := DBT_TOTALS.search(step.logs or ""):
                text += f", {totals[0]}"
            self._narrator.say("dbt", text, "red" if state == "Error" else "")

    def _workers(self, task_id: str) -> None:
        slots = int(self._stack.airflow.api.pool()["running_slots"])
        processes = len(self._stack.airflow.task_processes())
        waiting = self.waiting
        first = processes == 0 and waiting.looks_without_process == 0
        waiting.looks += 1
        waiting.looks_without_process += processes == 0
        waiting.slots_in_use.append(slots)
        waiting.seconds = time.monotonic() - self._since[task_id]
        if first:
            text = f"{task_id} is deferred: {processes} task processes, {slots} worker slots in use"
            self._narrator.say("workers", text, "magenta")
