"""The operator that downloads an artifact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, NotFoundError
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudGetJobRunArtifactOperator

Download = Callable[..., Path]


@pytest.fixture
def download(context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """Execute the operator in a folder of its own; return the file's path as the operator tells it."""
    monkeypatch.chdir(tmp_path)

    def go(**arguments: Any) -> Path:
        operator = DbtCloudGetJobRunArtifactOperator(task_id="fetch", **arguments)
        operator.render_template_fields(context())
        return Path(operator.execute(context()))

    return go


@pytest.fixture
def run_id(emu: Emulator) -> int:
    """A run that has left artifacts."""
    emu.script_job(
        emu.job_id,
        artifacts={"manifest.json": '{"nodes": {}}', "compiled/my/model.sql": "select 1"},
    )
    return emu.trigger()


def test_file_is_written(run_id: int, download: Download) -> None:
    """The artifact is written into the working directory, under the run's and its own name."""
    written = download(run_id=run_id, path="manifest.json")
    assert written == Path(f"{run_id}_manifest.json")
    assert written.read_text() == '{"nodes": {}}'


def test_path_becomes_a_file_name(run_id: int, download: Download) -> None:
    """A path with folders becomes one file name."""
    assert download(run_id=run_id, path="compiled/my/model.sql").name == f"{run_id}_compiled-my-model.sql"


def test_file_name_can_be_told(run_id: int, download: Download, tmp_path: Path) -> None:
    """The task may say where to write; folders are made."""
    target = tmp_path / "deep" / "manifest.json"
    download(run_id=run_id, path="manifest.json", output_file_name=str(target))
    assert target.read_text() == '{"nodes": {}}'


def test_step_is_asked_for(emu: Emulator, run_id: int, download: Download) -> None:
    """A step whose template rendered to a text is asked for by its number."""
    download(run_id=run_id, path="manifest.json", step="{{ 1 + 2 }}")
    assert emu.requests[-1][1].endswith("/artifacts/manifest.json?step=3")


def test_artifact_that_does_not_exist(run_id: int, download: Download, tmp_path: Path) -> None:
    """A missing artifact fails the task, and leaves no file behind."""
    with pytest.raises(NotFoundError, match=r"catalog\.json"):
        download(run_id=run_id, path="catalog.json")
    assert not list(tmp_path.iterdir())


def test_run_that_rendered_to_nothing(download: Download) -> None:
    """A run id that rendered to nothing is told as that."""
    with pytest.raises(InvalidRequestError, match="run_id is empty: its template rendered to nothing"):
        download(run_id="{{ None }}", path="manifest.json")


@pytest.mark.parametrize("arguments", [{"run_id": "latest"}, {"run_id": 7, "step": "last"}])
def test_numbers_that_are_none(arguments: dict[str, Any]) -> None:
    """A run id or a step that is no number is refused at parse time, by its name."""
    with pytest.raises(InvalidRequestError, match=f"{list(arguments)[-1]} must be a positive whole number"):
        DbtCloudGetJobRunArtifactOperator(task_id="fetch", path="manifest.json", **arguments)
