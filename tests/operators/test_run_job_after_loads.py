"""What the operator makes of the loads before it: skipped or not, which steps, which variables."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG, BaseOperator

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, ServerError
from airflow_provider_dbtcloud_dlt.compat import AirflowSkipException
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator
from airflow_provider_dbtcloud_dlt.operators.dlt import DltLoadOperator

Make = Callable[..., DbtCloudRunJobOperator]
Start = Callable[..., "list[str] | None"]

JOBS = {
    "account": {"id": 1, "token": "emulator-token"},
    "projects": [{"id": 10, "name": "Analytics"}],
    "environments": [{"id": 100, "name": "Production"}],
    "jobs": [
        {
            "id": 1000,
            "name": "Nightly build",
            "steps": ["dbt deps", "dbt build --exclude tag:slow", "dbt test --selector nightly"],
            "script": {"seconds": 0},
        }
    ],
}


def summary(rows: dict[str, int] | None = None, **fields: Any) -> dict[str, Any]:
    """A load's summary, as far as it is used."""
    rows = {"orders": 2} if rows is None else rows
    return {
        "pipeline_name": "shop",
        "dataset_name": "raw_shop",
        "rows": rows,
        "load_ids": ["1700000000.1"],
        "nothing_loaded": not rows,
        **fields,
    }


NOTHING = summary({}, load_ids=[])
MANIFEST = {
    "nodes": {},
    "sources": {
        f"source.shop.raw.{name}": {
            "resource_type": "source",
            "source_name": "raw",
            "name": name,
            "schema": "RAW_SHOP",
            "identifier": name.upper(),
        }
        for name in ("orders", "customers")
    },
}


@pytest.fixture
def emu(connect: Callable[..., None]) -> Any:
    """A job with three steps, and the default connection that leads there."""
    with emulator(JOBS, lag=0) as running:
        connect(host=running.host, login="1", password=running.token)
        yield running


@pytest.fixture
def earlier_run(emu: Emulator) -> Callable[..., int]:
    """Let the job have had a run, with these artifacts."""

    def run(outcome: Any = "success", **artifacts: Any) -> int:
        files = {f"{name}.json": json.dumps(content) for name, content in artifacts.items()}
        emu.script_job(1000, outcome=outcome, artifacts=files)
        run_id = emu.trigger()
        emu.script_job(1000)
        return run_id

    return run


@pytest.fixture
def start(emu: Emulator, make: Make, context: Callable[..., Any]) -> Start:
    """Start a run; return its `steps_override` as dbt Cloud got it."""

    def go(**arguments: Any) -> list[str] | None:
        operator = make(wait_for_termination=False, **arguments)
        operator.render_template_fields(context())
        operator.execute(context())
        steps: list[str] | None = emu.runs()[-1]["trigger"]["steps_override"]
        return steps

    return go


def variables(step: str) -> Any:
    """What a step has in its `--vars`."""
    words = shlex.split(step)
    return yaml.safe_load(words[words.index("--vars") + 1])


# --- skipped or not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loaded", [NOTHING, [NOTHING, NOTHING], [[NOTHING], []]], ids=["one", "two", "three"]
)
def test_nothing_loaded_skips(emu: Emulator, start: Start, loaded: Any) -> None:
    """No new rows, no dbt run: one sentence says so."""
    with pytest.raises(AirflowSkipException, match=r"^Nothing was loaded by shop: no dbt run is started\.$"):
        start(loaded=loaded)
    assert emu.runs() == []


@pytest.mark.parametrize(
    ("rendered", "told"),
    [
        (
            None,
            "^No load has a summary, and loaded is None: that load was skipped, has do_xcom_push=False, or",
        ),
        ([], "^Nothing was loaded, for loaded is an empty list: no dbt run"),
        ([None, [None]], r"^No load has a summary, and loaded\[0\], loaded\[1\]\[0\] is None"),
        ([NOTHING, None], r"^Nothing was loaded by shop, and loaded\[1\] is None"),
    ],
)
def test_loads_without_a_summary_skip(
    make: Make, context: Callable[..., Any], emu: Emulator, rendered: Any, told: str
) -> None:
    """A load that was skipped is one; the sentence says which, and what else it may be."""
    operator = make(loaded=[NOTHING])
    operator.loaded = rendered
    with pytest.raises(AirflowSkipException, match=told):
        operator.execute(context())


def test_one_load_of_several_is_enough(start: Start) -> None:
    """A run is started when any of the loads has loaded something."""
    assert start(loaded=[NOTHING, summary()]) is None


def test_run_all_the_same(start: Start) -> None:
    """With "run" the job runs as it is."""
    assert start(loaded=NOTHING, when_nothing_loaded="run") is None


def test_emptied_table_is_a_load(start: Start) -> None:
    """A table that `replace` has emptied is not nothing."""
    assert start(loaded=summary({"orders": 0}, nothing_loaded=False)) is None


def test_later_try_goes_on_with_its_run(
    emu: Emulator, make: Make, context: Callable[..., Any], start: Start
) -> None:
    """A run that an earlier try has started is the task's, whatever the loads say by now."""
    start(loaded=summary())
    operator = make(loaded=NOTHING, wait_for_termination=False)
    assert operator.execute(context(try_number=2)) == emu.runs()[-1]["id"]
    assert len(emu.runs()) == 1


# --- selection ----------------------------------------------------------------------------------------


def test_steps_are_narrowed_to_the_loaded_tables(earlier_run: Callable[..., int], start: Start) -> None:
    """The job's own steps, those that can be narrowed, build what depends on the loaded tables."""
    earlier_run(manifest=MANIFEST)
    assert start(loaded=summary(), select_loaded=True) == [
        "dbt deps",
        "dbt build --select source:raw.orders+ --exclude tag:slow",
        "dbt test --selector nightly",
    ]


def test_step_that_stays_is_named(
    earlier_run: Callable[..., int], start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that can't be narrowed is told, with the reason."""
    earlier_run(manifest=MANIFEST)
    start(loaded=summary(), select_loaded=True)
    said = capsys.readouterr().out
    assert "dbt test --selector nightly' stays as it is: dbt ignores --select beside its --selector." in said
    assert "dbt deps' stays" not in said


def test_steps_of_the_task_are_narrowed(earlier_run: Callable[..., int], start: Start) -> None:
    """With `steps_override` these are the basis."""
    earlier_run(manifest=MANIFEST)
    steps = start(
        loaded=[summary(), summary({"customers": 1})], select_loaded=True, steps_override=["dbt run -s a"]
    )
    assert steps == ["dbt run -s a,source:raw.orders+ a,source:raw.customers+"]


def test_table_that_is_no_source_is_named(
    earlier_run: Callable[..., int], start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are selected; dlt's own are not told of."""
    earlier_run(manifest=MANIFEST)
    rows = {"orders": 1, "orders__items": 3, "_dlt_loads": 1}
    steps = start(loaded=summary(rows), select_loaded=True, steps_override=["dbt run"])
    assert steps == ["dbt run --select source:raw.orders+"]
    assert "No source of the dbt project is: raw_shop.orders__items." in capsys.readouterr().out


def test_source_that_is_given(earlier_run: Callable[..., int], start: Start) -> None:
    """With `dbt_source` the dataset may be called otherwise."""
    earlier_run(manifest=MANIFEST)
    elsewhere = summary(dataset_name="dev_shop")
    steps = start(loaded=elsewhere, select_loaded=True, dbt_source="raw", steps_override=["dbt run"])
    assert steps == ["dbt run --select source:raw.orders+"]


def test_latest_successful_run_has_the_manifest(earlier_run: Callable[..., int], start: Start) -> None:
    """Neither an older run nor one that failed is asked."""
    earlier_run(manifest={"sources": {}})
    earlier_run(manifest=MANIFEST)
    earlier_run("error", manifest={"sources": {}})
    assert start(loaded=summary(), select_loaded=True, steps_override=["dbt run"]) != ["dbt run"]


@pytest.mark.parametrize(
    ("artifacts", "loaded", "warning"),
    [
        (None, summary(), "Job 1000 has no successful run yet"),
        ({"run_results": {}}, summary(), "The manifest.json of job run"),
        ({"manifest": {}}, summary(), "it is no manifest"),
        ({"manifest": MANIFEST}, summary({"payments": 1}), "No loaded table is a source of the dbt project"),
        (
            {"manifest": MANIFEST},
            [summary(), summary({}, nothing_loaded=False)],
            "What shop loaded before a retry is not known: all steps stay as they are",
        ),
        ({"manifest": MANIFEST}, NOTHING, "Nothing was loaded by shop: all steps stay as they are"),
    ],
)
def test_steps_stay_where_nothing_can_be_selected(
    earlier_run: Callable[..., int],
    start: Start,
    capsys: pytest.CaptureFixture[str],
    artifacts: Any,
    loaded: Any,
    warning: str,
) -> None:
    """The job runs as it is, with a warning, and never on an empty selection."""
    if artifacts is not None:
        earlier_run(**artifacts)
    assert start(loaded=loaded, select_loaded=True, when_nothing_loaded="run") is None
    said = capsys.readouterr().out
    assert warning in said
    assert "all steps stay as they are" in said


def test_default_selector_of_the_project(earlier_run: Callable[..., int], start: Start) -> None:
    """A step on which it has its say stays as it is."""
    selector = {"nightly": {"default": True, "definition": {"method": "tag", "value": "nightly"}}}
    earlier_run(manifest={**MANIFEST, "selectors": selector})
    steps = start(loaded=summary(), select_loaded=True, steps_override=["dbt run", "dbt run -s a"])
    assert steps == ["dbt run", "dbt run -s a,source:raw.orders+"]


def test_outage_is_no_missing_manifest(
    emu: Emulator, earlier_run: Callable[..., int], make: Make, context: Callable[..., Any]
) -> None:
    """When dbt Cloud is away for a moment the job is not built in full: the task fails, for another try."""
    earlier_run(manifest=MANIFEST)
    emu.fail_next(50, path="manifest")
    task = make(loaded=summary(), select_loaded=True, hook_params={"retry_budget": 0})
    with pytest.raises(ServerError):
        task.execute(context())
    assert len(emu.runs()) == 1


# --- variables ----------------------------------------------------------------------------------------


def test_load_ids_are_passed(start: Start) -> None:
    """The ids of all loads and their dataset are variables of each step."""
    steps = start(loaded=[summary(), summary(load_ids=["1700000000.2"]), NOTHING], pass_load_ids=True)
    assert steps is not None
    assert [variables(step) for step in steps] == [
        {"dlt_load_ids": ["1700000000.1", "1700000000.2"], "dlt_dataset": "raw_shop"}
    ] * 3


def test_variables_are_merged_with_a_steps_own(start: Start) -> None:
    """A step keeps those that the task does not give."""
    steps = start(dbt_vars={"day": "{{ 1 + 1 }}"}, steps_override=["dbt run --vars '{day: 1, x: 2}'"])
    assert steps is not None
    assert variables(steps[0]) == {"day": "2", "x": 2}


def test_variables_come_before_the_load_ids(start: Start) -> None:
    """What is given in `dbt_vars` is used instead."""
    steps = start(
        loaded=[summary(), summary(dataset_name="other")],
        pass_load_ids=True,
        dbt_vars={"dlt_dataset": "both"},
        steps_override=["dbt run"],
    )
    assert steps is not None
    assert variables(steps[0])["dlt_dataset"] == "both"


def test_two_datasets(start: Start) -> None:
    """Which of them the variable is to be is asked for."""
    with pytest.raises(InvalidRequestError, match=r"datasets raw_shop, other .*: give it in dbt_vars"):
        start(loaded=[summary(), summary(dataset_name="other")], pass_load_ids=True)


def test_selection_and_variables(earlier_run: Callable[..., int], start: Start) -> None:
    """Both are put into a step."""
    earlier_run(manifest=MANIFEST)
    steps = start(loaded=summary(), select_loaded=True, dbt_vars={"a": 1}, steps_override=["dbt run"])
    assert steps == ["""dbt run --vars '{"a": 1}' --select source:raw.orders+"""]


def test_variable_that_is_no_data(start: Start) -> None:
    """A value that can't be written down is refused in words."""
    with pytest.raises(InvalidRequestError, match=r"dbt_vars can't be handed to dbt: .* is a object"):
        start(dbt_vars={"a": object()})


@pytest.mark.parametrize("given", [{"pass_load_ids": False}, {"dbt_vars": {}}])
def test_nothing_to_change(emu: Emulator, start: Start, given: Any) -> None:
    """Without any of it the job is not asked for its steps."""
    assert start(loaded=summary(), **given) is None
    assert [path for method, path in emu.requests if method == "GET"] == []


# --- where the load's summary is used by a template ---------------------------------------------------


def test_schema_of_the_load(emu: Emulator, make: Make, context: Callable[..., Any]) -> None:
    """Schema and target may come from the summary, by a template as anywhere."""
    task = make(
        loaded=summary(dataset_name="raw_shop_dev"),
        schema_override="{{ ti.xcom_pull(task_ids='load')['dataset_name'] | replace('raw_', '') }}",
        target_name_override="{{ ti.xcom_pull(task_ids='load')['destination'] }}",
        wait_for_termination=False,
    )
    now = context()
    now["ti"].xcom_pull = lambda task_ids: {"dataset_name": "raw_shop_dev", "destination": "staging"}
    task.render_template_fields(now)
    task.execute(now)
    trigger = emu.runs()[-1]["trigger"]
    assert (trigger["schema_override"], trigger["target_name_override"]) == ("shop_dev", "staging")


# --- refused while the DAG file is parsed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select_loaded": True}, "select_loaded without loaded: give the output of a task"),
        ({"pass_load_ids": True}, "pass_load_ids without loaded"),
        ({"loaded": NOTHING, "dbt_source": "raw"}, "give select_loaded=True as well"),
        ({"loaded": NOTHING, "when_nothing_loaded": "fail"}, "'fail' is neither 'skip' nor 'run'"),
        ({"loaded": "load"}, "loaded='load' is a text"),
        ({"loaded": BaseOperator(task_id="load")}, "loaded is the task 'load' itself: give its output"),
        ({"loaded": [BaseOperator(task_id="load")]}, "loaded is the task 'load' itself: give its output"),
        ({"dbt_vars": "a: 1"}, "dbt_vars must be a dict of values by their names, got 'a: 1'"),
        ({"dbt_vars": {1: 2}}, "dbt_vars must be a dict of values by their names"),
    ],
)
def test_arguments_that_cannot_be_meant(make: Make, arguments: Any, message: str) -> None:
    """Each refusal names the argument and what to do."""
    with pytest.raises(InvalidRequestError, match=f"Task 'transform': .*{message}"):
        make(**arguments)


def test_result_that_is_no_summary(start: Start) -> None:
    """The output of another task is refused when it is seen."""
    with pytest.raises(
        InvalidRequestError, match=r"loaded holds \"{'rows': 1}\", which is no load's summary"
    ):
        start(loaded={"rows": 1})


def test_output_makes_the_dependency(make: Make) -> None:
    """The dbt task follows the loads whose outputs it is given."""
    with DAG("elt"):
        loads = [DltLoadOperator(task_id=name, source=print) for name in ("orders", "customers")]
        transform = make(loaded=[load.output for load in loads], dbt_vars={"n": loads[0].output})
    assert transform.upstream_task_ids == {"orders", "customers"}
