"""What the operator sends when it starts a run: its arguments, the connection's defaults, the cause."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_dbtcloud_dlt.client import InvalidRequestError, JobLookupError, RejectedRequestError
from airflow_provider_dbtcloud_dlt.client.marker import Marker
from airflow_provider_dbtcloud_dlt.emulator.testing import Emulator, emulator
from airflow_provider_dbtcloud_dlt.operators.dbt_cloud import DbtCloudRunJobOperator

Make = Callable[..., DbtCloudRunJobOperator]
Start = Callable[..., dict[str, Any]]
MARKER = re.compile(r"\[af:[0-9a-f]{16}/0\] ")


@pytest.fixture
def start(emu: Emulator, make: Make, context: Callable[..., Any], connect: Callable[..., None]) -> Start:
    """Start a run; return its trigger as dbt Cloud got it."""

    def go(extra: object = None, **arguments: Any) -> dict[str, Any]:
        connect(host=emu.host, login="1", password=emu.token, extra=extra)
        operator = make(wait_for_termination=False, **arguments)
        operator.render_template_fields(context())
        operator.execute(context())
        return dict(emu.runs()[-1]["trigger"])

    return go


FIELDS: dict[str, tuple[object, object]] = {
    "steps_override": (["dbt run", "dbt test"], ["dbt run", "dbt test"]),
    "schema_override": ("dev", "dev"),
    "git_sha": ("abc123", "abc123"),
    "git_branch": ("feature", "feature"),
    "dbt_version_override": ("1.9.0-latest", "1.9.0-latest"),
    "target_name_override": ("dev", "dev"),
    "threads_override": ("8", 8),
    "timeout_seconds_override": (900, 900),
    "generate_docs_override": ("false", False),
    "azure_pull_request_id": (1, 1),
    "github_pull_request_id": ("2", 2),
    "gitlab_merge_request_id": (3, 3),
    "non_native_pull_request_id": (4, 4),
}
"""Every field of the trigger's body beside the cause: what a task gives, what dbt Cloud gets."""


@pytest.mark.parametrize(("name", "given", "sent"), [(name, *pair) for name, pair in FIELDS.items()])
def test_argument_is_sent(start: Start, name: str, given: object, sent: object) -> None:
    """Each argument reaches dbt Cloud, in the API's type although templates render to texts."""
    assert start(**{name: given})[name] == sent


def test_every_field_is_an_argument() -> None:
    """No field of the body is missing among the arguments."""
    assert set(DbtCloudRunJobOperator.trigger_fields) == set(FIELDS)


def test_additional_run_config_is_sent(start: Start) -> None:
    """Fields of additional_run_config are sent beside the arguments."""
    sent = start(schema_override="dev", additional_run_config={"threads_override": 8})
    assert (sent["schema_override"], sent["threads_override"]) == ("dev", 8)


def test_unknown_field_is_the_apis_to_refuse(start: Start) -> None:
    """A field that nobody knows is refused by the API, which names it."""
    with pytest.raises(RejectedRequestError, match="thread_override"):
        start(additional_run_config={"thread_override": 8})


def test_config_that_is_no_dictionary(start: Start) -> None:
    """An additional_run_config that rendered to a text is refused in words."""
    with pytest.raises(InvalidRequestError, match="additional_run_config must be a dictionary"):
        start(additional_run_config="{{ 'threads' }}")


def test_steps_that_rendered_to_a_text(start: Start) -> None:
    """A template for steps_override that rendered to a text is refused in words."""
    with pytest.raises(InvalidRequestError, match="steps_override must be a list"):
        start(steps_override="{{ 'dbt run' }}")


def test_connections_defaults_are_sent(start: Start) -> None:
    """What the task does not say, the connection may."""
    defaults = {"git_branch": "main", "git_sha": "abc", "schema_override": "prod"}
    sent = start(extra=defaults)
    assert {name: sent[name] for name in defaults} == defaults


def test_argument_comes_before_the_connection(start: Start) -> None:
    """The task's schema is used instead of the connection's."""
    assert start(extra={"schema_override": "prod"}, schema_override="dev")["schema_override"] == "dev"


def test_config_comes_before_the_connection(start: Start) -> None:
    """Likewise for additional_run_config."""
    sent = start(extra={"schema_override": "prod"}, additional_run_config={"schema_override": "dev"})
    assert sent["schema_override"] == "dev"


def test_argument_that_rendered_to_nothing_leaves_the_default(start: Start) -> None:
    """An empty argument is no argument."""
    assert start(extra={"schema_override": "prod"}, schema_override="{{ '' }}")["schema_override"] == "prod"


@pytest.mark.parametrize(
    "given", [{"git_branch": "feature"}, {"additional_run_config": {"git_branch": "feature"}}]
)
def test_default_commit_is_not_of_the_tasks_branch(start: Start, given: dict[str, Any]) -> None:
    """The connection's commit is not sent beside a branch of the task's own."""
    sent = start(extra={"git_sha": "abc", "git_branch": "main"}, **given)
    assert (sent["git_branch"], sent["git_sha"]) == ("feature", None)


def test_cause_begins_with_the_marker(start: Start) -> None:
    """The run bears the mark of its task, then a reason that names task and DAG."""
    cause = start()["cause"]
    assert MARKER.match(cause)
    assert "task 'transform'" in cause


def test_reason_is_the_cause(start: Start) -> None:
    """The task's reason follows the marker."""
    assert MARKER.sub("", start(trigger_reason="month {{ 1 + 1 }}")["cause"]) == "month 2"


@pytest.mark.parametrize(
    "given", [{"extra": {"cause": "nightly"}}, {"additional_run_config": {"cause": "nightly"}}]
)
def test_cause_from_elsewhere(start: Start, given: dict[str, Any]) -> None:
    """The connection or additional_run_config may have the reason."""
    assert MARKER.sub("", start(**given)["cause"]) == "nightly"


def test_long_reason_is_cut_with_a_warning(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason that does not fit is cut to 255 characters in all, and the log says so."""
    cause = start(trigger_reason="x" * 300)["cause"]
    assert len(cause) == 255
    assert "trigger_reason is 300 characters long and was cut to" in capsys.readouterr().out


def test_reason_that_just_fits_is_not_cut(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The longest reason that fits is sent whole, without a warning."""
    length = Marker("0" * 16, 0).reason_length
    assert start(trigger_reason="x" * length)["cause"].endswith(" " + "x" * length)
    assert "was cut" not in capsys.readouterr().out


def test_deployments_are_told_apart(start: Start) -> None:
    """The connection's deployment is part of the mark."""
    assert start(extra={"deployment": "blue"})["cause"] != start(extra={"deployment": "green"})["cause"]


# --- which job ---------------------------------------------------------------------------------------


def test_job_by_its_names(emu: Emulator, start: Start) -> None:
    """A job is found by project, environment and name."""
    assert start(job_name="Nightly build", project_name="Analytics", environment_name="Production")
    assert emu.runs()[-1]["job_definition_id"] == emu.job_id


def test_job_of_the_connection(emu: Emulator, start: Start) -> None:
    """A task that names no job runs the connection's."""
    start(extra={"job_id": emu.job_id}, job_id=None)
    assert emu.runs()[-1]["job_definition_id"] == emu.job_id


def test_no_job_at_all(start: Start) -> None:
    """Without any job all the places where it can be named are told."""
    with pytest.raises(InvalidRequestError, match="'transform' names no job: give job_id, or job_name"):
        start(job_id=None)


def test_job_template_that_rendered_to_nothing(start: Start) -> None:
    """A job id that rendered to nothing is told before anything is sent."""
    with pytest.raises(InvalidRequestError, match="job_id is empty: its template rendered to nothing"):
        start(job_id="{{ None }}")


JOBS = {
    "account": {"id": 1, "token": "emulator-token"},
    "projects": [{"id": 10, "name": "Analytics"}],
    "environments": [{"id": 100, "name": "Production"}, {"id": 101, "name": "Staging"}],
    "jobs": [
        {"id": 1, "name": "Build", "environment": 100, "steps": ["dbt build"], "script": {}},
        {"id": 2, "name": "Build", "environment": 101, "steps": ["dbt build"], "script": {}},
        {"id": 3, "name": "Weekly docs", "environment": 101, "steps": ["dbt build"], "script": {}},
    ],
}


@pytest.fixture
def find(make: Make, context: Callable[..., Any], connect: Callable[..., None]) -> Callable[..., int]:
    """Start a run of one of several jobs; return which."""

    def go(extra: object = None, **names: str) -> int:
        with emulator(JOBS) as emu:
            connect(host=emu.host, login="1", password=emu.token, extra=extra)
            make(wait_for_termination=False, **names).execute(context())
            return int(emu.runs()[-1]["job_definition_id"])

    return go


def test_ambiguous_name(find: Callable[..., int]) -> None:
    """A name that two jobs bear is refused, with both."""
    with pytest.raises(JobLookupError, match=r"job_name 'Build' is ambiguous, 2 jobs bear it: 1 .*2 "):
        find(job_name="Build")


def test_environment_decides(find: Callable[..., int]) -> None:
    """The environment's name tells them apart."""
    assert find(job_name="Build", environment_name="Staging") == 2


def test_connections_environment_decides(find: Callable[..., int]) -> None:
    """So does the connection's default environment."""
    assert find(extra={"environment_id": 101}, job_name="Build") == 2


def test_near_matches(find: Callable[..., int]) -> None:
    """A name that nothing bears is answered with what was probably meant."""
    with pytest.raises(JobLookupError, match=r"'weekly doc' was not found\. Did you mean 'Weekly docs'"):
        find(job_name="weekly doc")


def test_near_matches_of_a_project(find: Callable[..., int]) -> None:
    """Likewise for a project."""
    with pytest.raises(JobLookupError, match=r"'Analytic' was not found\. Did you mean 'Analytics'"):
        find(job_name="Build", project_name="Analytic")
