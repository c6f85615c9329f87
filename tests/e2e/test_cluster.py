"""The Airflow of docker-compose.yaml, without Docker: Celery, and two of everything that may be killed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import ACCOUNT_ID, KINDS, Cluster, Count, dags, settings, trials
from local_cluster import LocalCluster
from postgres_server import find_program
from progress import Narrator
from rich.console import Console

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

RUNS = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, all of whose containers have passed their health checks."""
    if os.environ.get("EXPECT_DATABASES") != "1":
        pytest.importorskip("airflow.providers.celery", reason="needs `pip install '.[cluster]'`")
        if not (shutil.which("redis-server") and find_program("initdb")):
            pytest.skip("needs PostgreSQL and Redis: apt-get install postgresql redis-server")
    folder: Path = tmp_path_factory.mktemp("cluster")
    kinds = trials(RUNS)
    narrator = Narrator(Console())
    with LocalCluster(
        folder, dags(folder, kinds), ACCOUNT_ID, env=settings(kinds), say=narrator.say
    ) as airflow:
        yield Cluster(airflow, narrator)


@pytest.fixture(scope="module")
def counts(cluster: Cluster) -> dict[str, Count]:
    """What became of tasks while workers, a triggerer and a scheduler were killed."""
    return cluster.play(trials(RUNS))


def test_an_example_runs_on_celery_workers(cluster: Cluster) -> None:
    """dlt loads on one worker what the emulator's dbt reads, and the task waits in a triggerer."""
    assert cluster.run_examples(["flights_elt"])


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_each_task_has_its_runs_result(counts: dict[str, Count], kind: str) -> None:
    """Whatever is killed, no run is started twice or left, and each task ends as its run does."""
    assert counts[kind].is_clean, counts[kind]


def test_all_tasks_are_counted(counts: dict[str, Count]) -> None:
    """Nothing has got lost on the way."""
    assert sum(count.tasks for count in counts.values()) == RUNS
