"""What is made of a run's artifacts at its end: copies in an object store, asset events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_dbtcloud_dlt.client import DBTCloudClientV2, InvalidRequestError, Run, RunStatus
from airflow_provider_dbtcloud_dlt.client.logger import Logger
from airflow_provider_dbtcloud_dlt.operators.artifact_store import check_folder, filled, save_all
from airflow_provider_dbtcloud_dlt.operators.assets import check_asset_uri

if TYPE_CHECKING:
    from airflow.sdk import AssetAlias, Context

    from airflow_provider_dbtcloud_dlt.client.artifacts import RunArtifacts
    from airflow_provider_dbtcloud_dlt.results.outcome import Outcome
    from airflow_provider_dbtcloud_dlt.run_results import Use

SAVED_KEY = "dbt_cloud_artifacts"
"""The XCom that says where the artifacts are."""


@dataclass(frozen=True)
class AfterRun:
    """What a task says of its run's end; the arguments are those of `DbtCloudRunJobOperator`.

    Args:
        task_id: for messages.
        waits: whether the task is there when the run ends.
        save_artifacts: a folder's address.
        emit_assets: whether there are asset events.
        asset_uri: how relations are called.
    """

    task_id: str
    waits: bool
    save_artifacts: Any
    emit_assets: bool
    asset_uri: Any

    def check(self) -> None:
        """Refuse, while the DAG file is parsed, what can't be meant.

        Raises:
            ValueError: the sentence says which argument is wrong.
            TypeError: likewise.
        """
        check_folder("save_artifacts", self.save_artifacts)
        check_asset_uri(self.asset_uri)
        if self.asset_uri and not self.emit_assets:
            raise self._refusal("asset_uri says how assets are called: give emit_assets=True as well.")
        wanted = [name for name in ("save_artifacts", "emit_assets") if getattr(self, name)]
        if wanted and not self.waits:
            raise self._refusal(
                f"{' and '.join(wanted)} with wait_for_termination=False: the task does not see the run's "
                "end. A DbtCloudJobRunSensor can wait for it, and DbtCloudAssetEventsOperator or "
                "DbtCloudGetJobRunArtifactOperator follow."
            )

    def _refusal(self, message: str) -> InvalidRequestError:
        return InvalidRequestError(f"Task {self.task_id!r}: {message}")

    def uses(
        self, context: Context, run: Run, client: DBTCloudClientV2, aliases: list[AssetAlias], log: Logger
    ) -> list[Use]:
        """What is to be made of a run that has ended.

        Args:
            context: the task's.
            run: the run.
            client: asks for runs that this one has taken up.
            aliases: by which asset events are emitted.
            log: the task's.
        """
        found: list[Use] = []
        if self.save_artifacts:
            folder = filled(self.save_artifacts, _places(context, run))

            def save(artifacts: RunArtifacts, outcome: Outcome) -> None:
                number = save_all(artifacts, folder)
                log.info("Copied %d artifacts of job run %s to %s", number, run.id, folder)
                context["ti"].xcom_push(key=SAVED_KEY, value=folder)

            found.append(save)
        if self.emit_assets and run.status is RunStatus.SUCCESS:
            # No DAG file needs it.
            from airflow_provider_dbtcloud_dlt.operators.dbt_assets import RelationEvents

            events = RelationEvents(context, aliases, self.asset_uri or None, log)
            found.append(lambda artifacts, outcome: events.emit(client, artifacts.run, outcome))
        elif self.emit_assets:
            log.info(
                "No asset events: Airflow takes none from a task that fails. A DbtCloudAssetEventsOperator "
                "that follows can emit them."
            )
        return found


def _places(context: Context, run: Run) -> dict[str, Any]:
    task_instance = context["ti"]
    names = ("dag_id", "run_id", "task_id", "map_index")
    return {**{name: getattr(task_instance, name) for name in names}, "job_run_id": run.id}
