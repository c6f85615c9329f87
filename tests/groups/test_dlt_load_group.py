"""The group that loads a source by several tasks: which tasks it makes, and what it refuses."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_dbtcloud_dlt.decorators.dlt import dlt_load_task
from airflow_provider_dbtcloud_dlt.groups import DltLoadGroup, dlt_to_dbt_cloud
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator
from airflow_provider_dbtcloud_dlt.operators.dlt_source import default_pipeline_name


def shop(day: str = "") -> Any:
    """A source of two resources and a transformer."""
    import dlt

    users = dlt.resource([{"id": 1}], name="users")
    details = dlt.transformer(lambda item: [item], name="user_details", data_from=users)
    return [dlt.resource([{"id": 1, "day": day}], name="orders"), users, details]


@pytest.fixture
def dag() -> DAG:
    """A DAG to put tasks into."""
    return DAG("elt")


def task_ids(dag: DAG) -> set[str]:
    """The DAG's tasks."""
    return {one.task_id for one in dag.tasks}


def test_named_resources_get_a_task_each(dag: DAG) -> None:
    """All of them are there when the DAG is parsed, and none waits for another."""
    with dag:
        DltLoadGroup(shop, resources=["orders", ["users", "user_details"]])
    assert task_ids(dag) == {"shop.orders", "shop.users__user_details"}
    assert not any(one.upstream_task_ids for one in dag.tasks)


def test_a_task_loads_what_it_is_named_after(dag: DAG) -> None:
    """A list within the list is one task's."""
    with dag:
        DltLoadGroup(shop, resources=["orders", ["users", "user_details"]])
    assert [one.resource_names for one in dag.tasks] == [["orders"], ["users", "user_details"]]  # type: ignore[attr-defined]


def test_names_are_looked_up_by_a_first_task(dag: DAG) -> None:
    """Without names there is a task that asks the source, and mapped ones after it."""
    with dag:
        DltLoadGroup(shop)
    assert task_ids(dag) == {"shop.list_resources", "shop.load"}
    assert dag.get_task("shop.load").upstream_task_ids == {"shop.list_resources"}
    assert dag.get_task("shop.load").is_mapped


def test_the_first_task_tells_the_parts(dag: DAG) -> None:
    """It calls the source function with its arguments; a transformer stays with its parent."""
    with dag:
        DltLoadGroup(shop, source_args={"day": "{{ ds }}"})
    found: Any = dag.get_task("shop.list_resources")
    assert found.execute({"ti": SimpleNamespace(), "ds": "2013-01-01"}) == [
        ["orders"],
        ["users", "user_details"],
    ]


def test_one_task_for_all(dag: DAG) -> None:
    """Without a split the group is a load as any other."""
    with dag:
        DltLoadGroup(shop, split="none", resources=["orders", ["users"]])
    assert task_ids(dag) == {"shop.load"}
    load: Any = dag.get_task("shop.load")
    assert load.resource_names == ["orders", "users"]


def test_names_of_another_task(dag: DAG) -> None:
    """Whatever returns lists of names may say what is loaded."""
    with dag:

        @task
        def due() -> list[list[str]]:
            return [["orders"]]

        DltLoadGroup(shop, resources=due())
    assert task_ids(dag) == {"due", "shop.load"}
    assert dag.get_task("shop.load").upstream_task_ids == {"due"}


@pytest.mark.parametrize("resources", [["orders", "users"], None])
def test_the_tasks_share_a_name_and_a_dataset(dag: DAG, resources: Any) -> None:
    """Both are the group's by default; each load adds its resources to the pipeline's name."""
    with dag:
        DltLoadGroup(shop, resources=resources, group_id="raw_shop")
    loads = [one for one in dag.tasks if one.task_type == "DltLoadOperator"]
    names = {one.partial_kwargs["pipeline_name"] if one.is_mapped else one.pipeline_name for one in loads}  # type: ignore[attr-defined]
    assert names == {default_pipeline_name("elt", "raw_shop")}


@pytest.mark.parametrize("resources", [["orders", "users"], None])
def test_the_tasks_share_an_alias_for_asset_events(dag: DAG, resources: Any) -> None:
    """It is named after the group's pipeline, and Airflow knows it of mapped tasks too."""
    with dag:
        DltLoadGroup(shop, resources=resources, pipeline_name="shop")
    loads = [one for one in dag.tasks if one.task_type == "DltLoadOperator"]
    assert [[alias.name for alias in one.outlets] for one in loads] == [["dlt:shop"]] * len(loads)


def test_arguments_are_the_tasks(dag: DAG) -> None:
    """Those of the load go to the tasks that load, those of every operator to all."""
    with dag:
        DltLoadGroup(shop, retries=3, write_disposition="merge", pool="warehouse")
    asking, load = dag.get_task("shop.list_resources"), dag.get_task("shop.load")
    assert (asking.retries, asking.pool) == (3, "warehouse")
    assert (load.retries, load.pool) == (3, "warehouse")
    assert load.partial_kwargs["write_disposition"] == "merge"


@pytest.mark.parametrize("resources", [["orders", "users"], None])
def test_a_dbt_job_follows_all_of_them(dag: DAG, resources: Any) -> None:
    """The group is a load for whatever takes loads."""
    with dag:
        dlt_to_dbt_cloud(DltLoadGroup(shop, resources=resources), job_id=1)
    upstream = dag.get_task("dlt_to_dbt_cloud.transform").upstream_task_ids
    assert upstream == ({"shop.orders", "shop.users"} if resources else {"shop.load"})


def test_mapped_tasks_load_their_part(dag: DAG, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance of the mapped task is a load of the resources that it was mapped to."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    database = tmp_path / "shop.duckdb"

    def warehouse() -> Any:
        import dlt

        return dlt.destinations.duckdb(str(database))

    with dag:
        DltLoadGroup(shop, destination=warehouse, dataset_name="raw", pipelines_dir=str(tmp_path))
    mapped: Any = dag.get_task("shop.load")
    load = mapped.unmap({"resources": ["users", "user_details"]})
    summary = load.execute({"ti": SimpleNamespace(dag_id="elt", task_id="shop.load", map_index=1)})
    assert summary["rows"] == {"users": 1, "user_details": 1}
    assert summary["pipeline_name"] == "elt_shop__user_details__users"


def test_the_scheduler_reads_it(dag: DAG) -> None:
    """What the DAG's parser stores, the scheduler makes a DAG of again."""
    from stored_dags import DagSerialization

    with dag:
        DltLoadGroup(shop, destination="duckdb")
        DltLoadGroup(shop, group_id="named", resources=["orders"])
        DltLoadOperator.partial(task_id="mapped", source=shop).expand(resources=[["orders"], ["users"]])
        dlt_load_task(shop, resources=["orders"]).override(task_id="decorated").expand(day=["1", "2"])
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert {one.task_id for one in again.tasks} == task_ids(dag)


def test_a_decorated_function_that_is_mapped_keeps_its_resources(dag: DAG) -> None:
    """Airflow has a setting of the same name, which is not meant."""
    with dag:
        dlt_load_task(shop, resources=["orders"]).expand(day=["1", "2"])
    mapped: Any = dag.get_task("shop")
    assert mapped.unmap({"op_kwargs": {"day": "1"}}).resource_names == ["orders"]


def test_resources_in_partial() -> None:
    """Airflow would take them for its own setting: the sentence says how to write it."""
    with pytest.raises(TypeError, match=r"resources can't be in \.partial\(\).*Map it, \.expand"):
        DltLoadOperator.partial(task_id="load", source=shop, resources=["orders"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"split": "resources"}, "split='resources' is neither 'resource' nor 'none'"),
        ({"resources": "orders"}, r"resources='orders' is no list of names: write \['orders'"),
        ({"resources": []}, r"resources=\[\] is no list of names"),
        ({"resources": ["orders", 7]}, "is no list of names"),
        ({"resources": ["orders", []]}, "is no list of names"),
        ({"resources": ["orders", ["users", "orders"]]}, "resources names 'orders' more than once"),
        ({"dev_mode": True}, "dev_mode names a dataset after the time"),
        ({"source": dlt_load_task(shop)}, "give it the function without the decorator"),
        ({"source": [1]}, "source is a list"),
        ({"write_disposition": "upsert", "resources": ["orders"]}, "write_disposition='upsert'"),
    ],
)
def test_mistakes_are_told_when_the_dag_is_parsed(dag: DAG, arguments: Any, sentence: str) -> None:
    """Each gets a sentence that names the argument."""
    with dag, pytest.raises((TypeError, ValueError), match=sentence):
        DltLoadGroup(**{"source": shop, **arguments})


DAG_FILE = """
import sys
from airflow.sdk import DAG
from airflow_provider_dbtcloud_dlt.groups import DltLoadGroup

with DAG("shop", schedule=None):
    DltLoadGroup("my_sources.shop:shop", destination="duckdb")
    DltLoadGroup("my_sources.shop:shop", group_id="named", resources=["orders"], destination="duckdb")

assert not [name for name in sys.modules if name.split(".")[0] == "dlt"]
"""


def test_a_dag_file_does_not_import_dlt() -> None:
    """The source is not called and dlt not imported when the DAG is parsed."""
    ended = subprocess.run([sys.executable, "-c", DAG_FILE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
