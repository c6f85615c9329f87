"""What a dbt task makes of the loads before it: whether it runs at all, on what, and with which variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_args

from airflow_provider_dbtcloud_dlt.arguments import is_plain
from airflow_provider_dbtcloud_dlt.client import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RunStatus,
)
from airflow_provider_dbtcloud_dlt.client.checks import check_steps
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.compat import AirflowSkipException
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.results.command import StepError
from airflow_provider_dbtcloud_dlt.results.manifest import Manifest
from airflow_provider_dbtcloud_dlt.results.selection import Table, select
from airflow_provider_dbtcloud_dlt.results.steps import with_selection, with_vars

WhenNothingLoaded = Literal["skip", "run"]

MANIFEST = "manifest.json"
SUMMARY_KEYS = frozenset(("pipeline_name", "dataset_name", "rows", "load_ids", "nothing_loaded"))
"""What is used of a load's summary."""
_NO_SUMMARY = "give the output of a task of DltLoadOperator or @task.dlt_load, or a list of such outputs"


@dataclass(frozen=True)
class AfterLoads:
    """What a task says of the loads before it; the arguments are those of `DbtCloudRunJobOperator`.

    Args:
        task_id: for messages.
        given: whether `loaded` was given: that of a load which was skipped is None too, once it is rendered.
        loaded: a load's summary, or any number of them.
        when_nothing_loaded: what is done then.
        select_loaded: whether the steps are narrowed to what depends on the loaded tables.
        dbt_source: the dbt source that these belong to.
        dbt_vars: variables for the steps.
        pass_load_ids: whether these include the load ids.
    """

    task_id: str
    given: bool
    loaded: Any
    when_nothing_loaded: str
    select_loaded: bool
    dbt_source: str | None
    dbt_vars: Any
    pass_load_ids: bool

    def check(self) -> None:
        """Refuse, while the DAG file is parsed, what can't be meant.

        Raises:
            InvalidRequestError: the sentence says which argument is wrong.
        """
        if self.when_nothing_loaded not in get_args(WhenNothingLoaded):
            raise self._refusal(
                f"when_nothing_loaded={self.when_nothing_loaded!r} is neither 'skip' nor 'run'."
            )
        needing = [name for name in ("select_loaded", "pass_load_ids") if getattr(self, name)]
        if needing and not self.given:
            raise self._refusal(f"{' and '.join(needing)} without loaded: {_NO_SUMMARY}.")
        if self.dbt_source is not None and not self.select_loaded:
            raise self._refusal("dbt_source says where select_loaded looks: give select_loaded=True as well.")
        for one in self.loaded if isinstance(self.loaded, list | tuple) else [self.loaded]:
            if hasattr(one, "output") and hasattr(one, "task_id"):
                raise self._refusal(f"loaded is the task {one.task_id!r} itself: give its output.")
            if isinstance(one, str) and is_plain(one):
                raise self._refusal(f"loaded={one!r} is a text: {_NO_SUMMARY}.")
        if is_plain(self.dbt_vars):
            self._check_vars()

    def _check_vars(self) -> None:
        names = self.dbt_vars if isinstance(self.dbt_vars, Mapping) else (None,)
        if self.dbt_vars is not None and not all(isinstance(name, str) for name in names):
            raise self._refusal(f"dbt_vars must be a dict of values by their names, got {self.dbt_vars!r}.")

    def _refusal(self, message: str) -> InvalidRequestError:
        return InvalidRequestError(f"Task {self.task_id!r}: {message}")

    def steps(self, hook: DbtCloudHook, job_id: int, given: Any, log: Logger) -> list[str] | None:
        """The steps for the run, once all templates are rendered; None when they are to be the job's own.

        Args:
            hook: is asked for the job's steps and its latest manifest, if need be.
            job_id: the job.
            given: the task's `steps_override`.
            log: is told what becomes of the steps.

        Raises:
            AirflowSkipException: nothing was loaded, and there is to be no run then.
            InvalidRequestError: an argument rendered to what can't be used.
        """
        self._check_vars()
        if self.given and not self._loads and self.when_nothing_loaded == "skip":
            raise AirflowSkipException(f"{self._nothing_loaded} no dbt run is started.")
        changes: list[Callable[[str], str]] = []
        if self.select_loaded and (selection := self._selection(hook, job_id, log)):
            changes.append(selection)
        if variables := self._variables():
            changes.append(partial(with_vars, variables=variables))
        own = None if given is None else check_steps(given)
        if not changes:
            return own
        before = own or list(hook.get_job(job_id).execute_steps)
        after = [self._changed(step, changes, log) for step in before]
        if after == before:
            return own
        log.info("The run's steps: %s", "; ".join(after))
        return after

    def _changed(self, step: str, changes: Iterable[Callable[[str], str]], log: Logger) -> str:
        for change in changes:
            try:
                step = change(step)
            except StepError as why:
                log.warning("The step %r stays as it is: %s.", step, why)
            except ValueError as error:
                raise self._refusal(f"dbt_vars can't be handed to dbt: {error}.") from None
        return step

    @cached_property
    def _summaries(self) -> list[Mapping[str, Any]]:
        """The summaries of the loads that were not skipped."""
        found = [one for one in _flat(self.loaded) if one is not None]
        for one in found:
            if not isinstance(one, Mapping) or not {*one} >= SUMMARY_KEYS:
                raise self._refusal(
                    f"loaded holds {str(one)[:80]!r}, which is no load's summary: {_NO_SUMMARY}."
                )
        return found

    @property
    def _loads(self) -> list[Mapping[str, Any]]:
        """The loads that loaded something."""
        return [one for one in self._summaries if not one["nothing_loaded"]]

    @property
    def _nothing_loaded(self) -> str:
        names = dict.fromkeys(str(one["pipeline_name"]) for one in self._summaries)
        return f"Nothing was loaded by {', '.join(names) or 'any load, for all were skipped'}:"

    def _selection(self, hook: DbtCloudHook, job_id: int, log: Logger) -> Callable[[str], str] | None:
        """What narrows a step to the loaded tables; None, with a warning, when all stay as they are."""
        if not self._loads:
            log.warning("%s all steps stay as they are.", self._nothing_loaded)
            return None
        manifest = self._manifest(hook, job_id, log)
        if manifest is None:
            return None
        tables = [Table.of(one, name) for one in self._loads for name in one["rows"]]
        selection = select(manifest.sources, tables, self.dbt_source or None)
        if selection.unknown:
            log.warning(
                "No source of the dbt project%s is: %s. What depends on these tables is not selected.",
                f" called {self.dbt_source!r}" if self.dbt_source else "",
                ", ".join(map(str, selection.unknown)),
            )
        if not selection.selectors:
            log.warning("No loaded table is a source of the dbt project: all steps stay as they are.")
            return None
        return partial(
            with_selection, selection=selection.selectors, default_selector=manifest.default_selector
        )

    def _manifest(self, hook: DbtCloudHook, job_id: int, log: Logger) -> Manifest | None:
        """The manifest of the job's latest successful run; None, with a warning, when there is none."""
        runs = hook.list_job_runs(
            job_definition_id=job_id, status__in=[RunStatus.SUCCESS], order_by="-id", limit=1
        )
        if not runs:
            log.warning(
                "Job %s has no successful run yet, whose manifest would say which tables are sources: all "
                "steps stay as they are.",
                job_id,
            )
            return None
        run_id = runs[0].id
        try:
            return Manifest.read(hook.get_job_run_artifact(run_id, MANIFEST))
        except (NotFoundError, PermissionDeniedError, ValueError) as error:
            log.warning(
                "The %s of job run %s, the job's latest successful one, can't be had: all steps stay as they "
                "are. %s",
                MANIFEST,
                run_id,
                error,
            )
            return None

    def _variables(self) -> dict[str, Any]:
        """The variables for all steps; those of `dbt_vars` come first."""
        given = dict(self.dbt_vars or {})
        if not self.pass_load_ids:
            return given
        ids = [str(load_id) for one in self._loads for load_id in one["load_ids"]]
        datasets = list(dict.fromkeys(str(one["dataset_name"]) for one in self._summaries))
        if len(datasets) > 1 and "dlt_dataset" not in given:
            raise self._refusal(
                f"pass_load_ids can't tell which of the datasets {', '.join(datasets)} is to be the variable "
                "dlt_dataset: give it in dbt_vars."
            )
        return {"dlt_load_ids": ids, **({"dlt_dataset": datasets[0]} if datasets else {}), **given}


def _flat(loaded: Any) -> Iterator[Any]:
    """The summaries in what may be one, a list of them, or what a mapped task has returned."""
    if isinstance(loaded, Sequence) and not isinstance(loaded, str | bytes):
        for one in loaded:
            yield from _flat(one)
    else:
        yield loaded
