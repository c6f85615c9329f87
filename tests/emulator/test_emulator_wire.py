"""What the emulator answers, seen from a client that knows nothing of it."""

import re
import time

import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

SPACED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?\+00:00"


@pytest.fixture(scope="module")
def idle(make_api):
    """A client for requests that change nothing: one emulator serves them all."""
    with emulator() as running:
        yield make_api(running)


@pytest.mark.parametrize(
    "path",
    ["/", "/projects/", "/environments/", "/jobs/", "/jobs/1000/", "/projects/10/", "/environments/100/"],
)
def test_objects_come_in_an_envelope(idle, path):
    """Every answer has a status and data."""
    body = idle.get(path).json()

    assert body["status"] == {
        "code": 200,
        "is_success": True,
        "user_message": "Success!",
        "developer_message": "",
    }
    assert body["data"]


def test_lists_tell_filters_order_and_totals(idle):
    """A list says which part of how much it is."""
    extra = idle.get("/jobs/", limit=5, project_id=10).json()["extra"]

    assert extra == {
        "filters": {"limit": 5, "offset": 0, "account_id": 1, "project_id": 10},
        "order_by": "id",
        "pagination": {"count": 1, "total_count": 1},
    }


@pytest.mark.parametrize("path", ["/projects/", "/environments/", "/jobs/", "/runs/"])
def test_a_list_may_repeat_the_account(idle, path):
    """The account in the query is no unknown parameter, and that in the path counts."""
    body = idle.get(path, account_id=7).json()

    assert body["status"]["code"] == 200
    assert body["extra"]["filters"]["account_id"] == 1
    assert (
        body["extra"]["pagination"]["total_count"]
        == idle.get(path).json()["extra"]["pagination"]["total_count"]
    )


def test_a_trigger_may_repeat_the_path(api):
    """Account and job in a trigger's body change nothing, and are no part of the trigger."""
    response = api.post("/jobs/1000/run/", cause="x", account_id=1, job_id=1000)

    assert response.status_code == 200
    assert "job_id" not in response.json()["data"]["trigger"]


@pytest.mark.parametrize("scheme", ["Token", "Bearer"])
def test_both_schemes_are_understood(emu, scheme):
    """`Token` and `Bearer` are the same."""
    headers = {"Authorization": f"{scheme} {emu.token}"}

    assert requests.get(f"{emu.url}/api/v2/accounts/1/", headers=headers, timeout=5).status_code == 200


@pytest.mark.parametrize("header", [None, "Token wrong", "Token", "Basic emulator-token"])
def test_a_bad_token_is_a_401(emu, header):
    """Without the token nothing is told."""
    headers = {"Authorization": header} if header else {}
    answer = requests.get(f"{emu.url}/api/v2/accounts/1/", headers=headers, timeout=5)

    assert (answer.status_code, answer.json()["status"]["is_success"]) == (401, False)


def test_another_account_is_a_401(emu, api):
    """The wrong account is the wrong token for it."""
    assert api.session.get(f"{emu.url}/api/v2/accounts/2/", timeout=5).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/jobs/9/", "/runs/9/", "/steps/9/", "/projects/9/", "/runs/9/artifacts/", f"/runs/{10**30}/", "/what/"],
)
def test_what_does_not_exist_is_a_404(idle, path):
    """An unknown id or path is told in the envelope."""
    answer = idle.get(path)

    assert (answer.status_code, answer.json()["status"]["code"]) == (404, 404)


def test_a_missing_slash_is_a_308_that_keeps_the_query(idle):
    """A redirect that keeps the method leads to the path with its slash."""
    answer = idle.get("/runs", limit=3)

    assert (answer.status_code, answer.headers["Location"]) == (308, "/api/v2/accounts/1/runs/?limit=3")


def test_a_doubled_slash_is_a_404(idle):
    """`//` is not forgiven."""
    assert idle.get("//runs/").status_code == 404


def test_a_wrong_method_is_a_405_without_an_envelope(idle):
    """405 looks different from all other errors."""
    answer = idle.ask("DELETE", "/runs/")

    assert (answer.status_code, answer.json()) == (405, {"detail": 'Method "DELETE" not allowed.'})


def test_a_trigger_answers_with_the_queued_run(api):
    """The answer is the run before anything happens to it, with its trigger and job."""
    run = api.post("/jobs/1000/run/", cause="because", git_branch="main").json()["data"]

    assert (run["status"], run["status_humanized"], run["in_progress"]) == (1, "Queued", True)
    assert (run["trigger"]["cause"], run["trigger"]["git_branch"], run["trigger"]["git_sha"]) == (
        "because",
        "main",
        None,
    )
    assert run["job"]["execute_steps"] == ["dbt build"]


def test_ids_need_64_bits_and_differ(api):
    """A run's id does not fit in 32 bits and is not its trigger's."""
    run = api.post("/jobs/1000/run/", cause="x").json()["data"]

    assert run["id"] > 2**32
    assert run["trigger_id"] not in (run["id"], run["job_id"])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, {"cause": "required key not provided"}),
        ({"cause": None}, {"cause": "None is not valid under any of the given schemas"}),
        ({"cause": "x" * 256}, {"cause": "Ensure this field has no more than 255 characters."}),
        (
            {"cause": "x", "threads_override": "4"},
            {"threads_override": "'4' is not valid under any of the given schemas"},
        ),
        (
            {"cause": "x", "steps_override": "dbt run"},
            {"steps_override": "'dbt run' is not valid under any of the given schemas"},
        ),
        ({"cause": "x", "vars": {}}, "Additional properties are not allowed ('vars' was unexpected)"),
    ],
)
def test_a_bad_trigger_body_is_a_400_that_names_the_field(idle, body, named):
    """What is wrong with a body stands in `data`, and no run begins."""
    answer = idle.ask("POST", "/jobs/1000/run/", json=body)

    assert (answer.status_code, answer.json()["data"]) == (400, named)
    assert idle.data("/runs/") == []


@pytest.mark.parametrize("body", [b"{", b"[1]", b"[" * 5000, b"\xff"])
def test_a_body_that_is_no_json_object_is_a_400(idle, body):
    """Rubbish is refused like everything else."""
    assert idle.ask("POST", "/jobs/1000/run/", data=body).status_code == 400


def test_a_cause_of_255_characters_is_accepted(api):
    """The limit itself is legal."""
    assert api.trigger(cause="ü" * 255)


def test_nulls_in_a_trigger_body_are_accepted(api):
    """A field that is null is a field that was not given."""
    assert api.trigger(git_sha=None, steps_override=None, timeout_seconds_override=None)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "dbt",
        "dbt init",
        "dbt build; ls",
        "python -m dbt build",
        'dbt "',
        "dbt --quiet clean --log-path build",
        "dbt build --target-path=/tmp/elsewhere",
    ],
)
def test_only_dbt_commands_are_taken(idle, command):
    """A step that is no dbt command is refused before a run begins."""
    answer = idle.post("/jobs/1000/run/", cause="x", steps_override=[command])

    assert (answer.status_code, list(answer.json()["data"])) == (400, ["steps_override"])


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("id__in=[1]", "Additional properties are not allowed ('id__in' was unexpected)"),
        ("status__in=1", {"status__in": "'1' is not valid under any of the given schemas"}),
        ("status__in=[1", {"status__in": "'[1' is not valid under any of the given schemas"}),
        (
            "status__in=1&status__in=2",
            {"status__in": "['1', '2'] is not valid under any of the given schemas"},
        ),
        ('pk__in=["1"]', {"pk__in": "'1' is not valid under any of the given schemas"}),
        ("limit=101", {"limit": "'101' is not valid under any of the given schemas"}),
        ("offset=-1", {"offset": "'-1' is not valid under any of the given schemas"}),
        ("order_by=cause", {"order_by": "'cause' is not valid under any of the given schemas"}),
        ("job_definition_id=x", {"job_definition_id": "'x' is not valid under any of the given schemas"}),
        (
            'created_at__range=["a","b"]',
            {"created_at__range": "'a' is not valid under any of the given schemas"},
        ),
    ],
)
def test_a_bad_query_is_a_400_that_names_the_parameter(idle, query, named):
    """Unknown and ill-typed parameters are refused, each in its way."""
    answer = idle.get(f"/runs/?{query}")

    assert (answer.status_code, answer.json()["data"]) == (400, named)


def test_related_objects_are_null_unless_asked_for(api):
    """A run is shown bare by default."""
    run = api.data(f"/runs/{api.trigger()}/")

    assert (run["trigger"], run["job"], run["environment"], run["run_steps"]) == (None, None, None, [])


@pytest.mark.parametrize(
    "query",
    [
        "include_related=trigger,run_steps,environment",
        'include_related=["trigger","run_steps","environment"]',
        "include_related=trigger&include_related=run_steps&include_related=environment",
    ],
)
def test_related_objects_are_asked_for_in_three_ways(api, query):
    """A comma, a JSON list and a repeated parameter mean the same."""
    run = api.data(f"/runs/{api.trigger()}/?{query}")

    assert (run["trigger"]["cause"], run["environment"]["name"], len(run["run_steps"])) == (
        "test",
        "Production",
        3,
    )


def test_the_list_does_not_include_steps(api):
    """`run_steps` belongs to a single run."""
    api.trigger()

    assert api.data("/runs/", include_related="run_steps,trigger")[0]["run_steps"] == []


def test_times_have_the_form_of_their_place(api):
    """With a space in runs, with T and an offset in jobs, with Z in the job inside a run."""
    run = api.data(f"/runs/{api.trigger()}/", include_related="job")

    assert re.fullmatch(SPACED, run["created_at"])
    assert re.fullmatch(SPACED.replace(" ", "T"), api.data("/jobs/1000/")["created_at"])
    assert run["job"]["created_at"].endswith("Z")


def test_durations_may_exceed_a_day(emu, api):
    """Hours are counted on past 23."""
    emu.script_job(emu.job_id, seconds=25 * 3600 + 61)
    run_id = api.trigger()
    api.data(f"/runs/{run_id}/")
    emu.clock.advance(30 * 3600)

    run = api.data(f"/runs/{run_id}/")

    assert (run["run_duration"], run["run_duration_humanized"]) == ("25:01:01", "1 day")


def test_href_leads_to_a_page_of_the_emulator(emu, api):
    """A person can open the run's address without a token."""
    run = api.data(f"/runs/{api.trigger()}/")

    assert run["href"] == f"{emu.url}/deploy/1/projects/10/runs/{run['id']}/"
    assert requests.get(run["href"], timeout=5).status_code == 200


def test_no_artifacts_are_null(api):
    """The list of artifacts is null, not empty."""
    assert api.data(f"/runs/{api.trigger()}/artifacts/") is None


def test_an_artifact_is_its_plain_content(emu, api):
    """An artifact has no envelope, and no slash at its end."""
    emu.script_job(emu.job_id, artifacts={"run_results.json": '{"a": 1}', "compiled/x.sql": "select 1"})
    run_id = api.trigger()

    assert api.data(f"/runs/{run_id}/artifacts/") == ["compiled/x.sql", "run_results.json"]
    assert api.get(f"/runs/{run_id}/artifacts/run_results.json").json() == {"a": 1}
    assert api.get(f"/runs/{run_id}/artifacts/compiled/x.sql").text == "select 1"


def test_a_step_is_found_by_its_id(emu, api):
    """A step shows the same by itself and inside its run."""
    emu.script_job(emu.job_id, steps=[("Invoke dbt with `dbt build`", "error", "Database Error in model x")])
    step = api.data(f"/runs/{api.trigger()}/", include_related="run_steps")["run_steps"][2]

    assert (step["index"], step["status"], step["logs"]) == (3, 20, "Database Error in model x")
    assert api.data(f"/steps/{step['id']}/") == step


def test_jobs_are_found_by_name(idle):
    """`name__icontains` takes a part of the name in any case."""
    assert [job["id"] for job in idle.data("/jobs/", name__icontains="NIGHT")] == [1000]
    assert idle.data("/jobs/", name__icontains="hourly") == []


@pytest.mark.parametrize(
    "path",
    [
        "/projects/?name__icontains=ANALYT",
        "/projects/10/",
        "/projects/10/environments/?name__icontains=prod",
        "/projects/10/environments/100/",
    ],
)
def test_version_3_knows_projects_and_environments(idle, path):
    """They look as in version 2: the official provider finds a job by its names there."""
    address = idle.base.replace("/v2/", "/v3/") + path

    assert idle.session.get(address, timeout=5).json()["data"]


@pytest.mark.parametrize("path", ["10/environments/?name__icontains=staging", "11/environments/"])
def test_version_3_filters_by_name_and_project(idle, path):
    """What has another name, or is in another project, is left out."""
    address = idle.base.replace("/v2/", "/v3/") + "/projects/" + path

    assert idle.session.get(address, timeout=5).json()["data"] == []


def test_it_starts_in_under_a_second():
    """A test can afford an emulator of its own: the best of three, as others use this machine too."""

    def took():
        begin = time.monotonic()
        with emulator() as emu:
            requests.get(emu.url, timeout=5)
        return time.monotonic() - begin

    assert min(took() for _ in range(3)) < 1
