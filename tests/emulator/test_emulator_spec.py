"""The emulator against the vendor's spec: schemathesis asks, the patched spec judges the answers."""

import copy
import json
import re
from pathlib import Path

import cloud_spec
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from airflow_provider_dbtcloud_dlt.emulator.store import FIRST_RUN_ID
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

SPEC = cloud_spec.load()
if SPEC is None:
    pytest.skip(cloud_spec.ABSENT, allow_module_level=True)

CONFIG = {
    "account": {"token": "secret-token", "run_slots": 2},
    "projects": [{"name": "Sales"}, {"name": "Costs"}],
    "environments": [{"name": "Production", "project": "Sales"}, {"name": "Staging", "project": "Costs"}],
    "jobs": [
        {"name": name, "environment": environment, "steps": ["dbt build", "dbt docs generate"], "script": {}}
        for name, environment in (("good", 100), ("bad", 101), ("slow", 100), ("late", 101))
    ],
}
RECORDED = Path(__file__).parents[1] / "client" / "payloads" / "trigger-job-run.json"
RECORDED = Path(__file__).parents[1] / "client" / "payloads" / "trigger-job-run.json"
GOOD, BAD, SLOW, LATE = 1000, 1001, 1002, 1003
ARTIFACTS = {"manifest.json": "{}", "compiled/a.sql": "select 1", "odd ?#%&+ü.txt": "odd"}
# The runs of `populated` in the order in which it starts them, and an id that nobody has.
RUNS = {
    state: FIRST_RUN_ID + number
    for number, state in enumerate(
        ["success", "failed before", "failed", "cancelled", "running", "queued", "starting"], start=1
    )
}
UNKNOWN = 70_403_110_999_999
IDS = {
    "account_id": [1],
    "job_id": [GOOD, BAD, SLOW, LATE, UNKNOWN],
    "run_id": [*RUNS.values(), UNKNOWN],
    "remainder": [*ARTIFACTS, "absent.json"],
}
IDS_OF = {
    "environments": [100, 101, UNKNOWN],
    "jobs": IDS["job_id"],
    "projects": [10, 11, UNKNOWN],
    "runs": IDS["run_id"],
    "steps": [run * 1000 + index for run in RUNS.values() for index in range(1, 10)],
}
RELATED = [
    "trigger,job,environment,repository,run_steps,run_retries,used_repo_cache,repo_cache_restore,audit",
    '["environment", "most_recent_run", "most_recent_completed_run", "fusion_readiness", "debug_logs"]',
    "run_steps",
    "trigger,nonsense",
]
PATH = ParameterLocation.PATH
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.positive_data_acceptance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]


def populate(emu):
    """Make a run in every state, some with steps and artifacts."""
    steps = [("Invoke dbt with `dbt build`", "error", "boom"), ("Invoke dbt with `dbt test`", "success", "")]
    emu.script_job(GOOD, artifacts=ARTIFACTS)
    emu.script_job(BAD, steps=steps, artifacts={"run_results.json": "{}"}, message="Database Error")
    emu.script_job(SLOW, seconds=3600, concurrent=False)
    emu.script_job(LATE, seconds=60, starting_seconds=3600)
    for job_id in (GOOD, BAD, BAD, SLOW):
        started = emu.trigger(job_id)
    emu.engine.cancel(started)
    for job_id in (SLOW, SLOW, LATE):
        emu.trigger(job_id)
        emu.clock.advance(7)


@pytest.fixture
def populated():
    """An emulator with a run in every state, and time that stands still."""
    with emulator(CONFIG, clock="virtual", lag=0) as running:
        populate(running)
        yield running


@pytest.fixture(scope="module")
def static():
    """The same for requests that change nothing."""
    with emulator(CONFIG, clock="virtual", lag=0) as running:
        populate(running)
        yield running


@pytest.fixture
def ask(static):
    """Send a plain request of an operation, with the first of the ids that there are."""

    def asked(name, headers=None, **options):
        method, path = name.split(" ")
        for parameter in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{parameter}}}", str(path_values(parameter, name.split(" ")[1])[0]))
        told = {"Authorization": f"Token {static.token}"} if headers is None else headers
        return requests.request(method, static.url + path, headers=told, timeout=30, **options)

    return asked


def path_values(name, path):
    """Return the values of a path's parameter."""
    return IDS_OF[path.split("/")[-3]] if name == "id" else IDS[name]


def with_values():
    """Return the spec with ids and related objects that there are: invented ones lead nowhere."""
    spec = copy.deepcopy(SPEC)
    for name, operation in cloud_spec.operations(spec):
        for parameter in cloud_spec.parameters(operation, "path").values():
            parameter["schema"] = {"enum": path_values(parameter["name"], name.split(" ")[1])}
        for parameter in cloud_spec.parameters(operation).values():
            if parameter["name"] == "include_related":
                parameter["schema"] = {
                    "anyOf": [{"enum": RELATED}, {"type": "array", "items": {"enum": RELATED}}]
                }
    return spec


SCHEMA = schemathesis.openapi.from_dict(with_values())
# The tests have the token; who has none is in a test of its own.
SCHEMA.config.generation.update(with_security_parameters=False)


def wrong_parts(case):
    """Return which parts of a generated request are wrong, as what is meant to be."""
    wrong = {where for where, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
    data = case.meta.phase.data
    made_wrong = [(one.parameter_location, one.schema_pointer) for one in data.mutations] or [
        (data.parameter_location, f"/properties/{data.parameter}")
    ]
    if all(
        where is PATH or pointer.startswith("/properties/include_related") for where, pointer in made_wrong
    ):
        # Any text is allowed in it, once or repeated: there is nothing to be wrong about it.
        wrong -= {ParameterLocation.QUERY}
    return wrong


def judge(case, emu):
    """Send a generated request and check its answer in every way."""
    lawful = case.method == case.operation.method.upper()
    wrong = wrong_parts(case)
    if wrong - {PATH} or not lawful:
        # All that is wrong lies elsewhere: an id that leads nowhere would hide it behind a 404.
        case.path_parameters = {name: path_values(name, case.path)[0] for name in case.path_parameters}
        wrong -= {PATH}
    response = case.call(base_url=emu.url, headers={"Authorization": f"Token {emu.token}"})
    status = response.status_code
    used = list(CHECKS)
    if not wrong:
        used.remove(checks.negative_data_rejection)
    if case.path.endswith("/retry/") and status == 400 and not wrong:
        # What is wrong here is the run, not the request.
        assert list(response.json()["data"]) == ["retry_not_supported_reason"]
        used.remove(checks.positive_data_acceptance)
    cloud_spec.generated_for.add(case.operation.label)
    # Taken back below: what raises is a failure.
    cloud_spec.tally.update([str(status), "negative" if wrong or not lawful else "positive", "failed"])
    case.validate_response(response, checks=used)
    if not lawful:
        assert status == 405
    elif status >= 400 and wrong - {PATH}:
        assert status == 400, case.meta
    cloud_spec.tally["failed"] -= 1


QUIET = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), max_examples=12
)


@SCHEMA.parametrize()
@QUIET
def test_generated_requests_get_answers_as_in_the_spec(case, populated):
    """Right and wrong requests of each operation are answered as the patched spec says."""
    judge(case, populated)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(QUIET, max_examples=150)
def test_many_generated_requests_get_answers_as_in_the_spec(case, populated):
    """The same with many more of them."""
    judge(case, populated)


@pytest.mark.parametrize("name", cloud_spec.SERVED)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_nothing_is_told_without_the_token(ask, name, headers):
    """Each operation answers 401, in the envelope, to whom does not know the token."""
    answer = ask(name, headers)

    assert (answer.status_code, cloud_spec.problems(name, 401, answer.content)) == (401, [])


@pytest.mark.parametrize("name", cloud_spec.SERVED)
def test_unknown_parameters_are_refused(ask, name):
    """Each operation answers 400 to a query parameter that the spec does not list, and names it."""
    answer = ask(name, params={"nosuch": "1"})

    assert (answer.status_code, answer.json()["data"]) == (
        400,
        "Additional properties are not allowed ('nosuch' was unexpected)",
    )


def listed():
    """Yield each operation with each of its query parameters."""
    for name, operation in cloud_spec.operations(SPEC):
        for parameter, described in cloud_spec.parameters(operation).items():
            yield name, parameter, described


@pytest.mark.parametrize(("name", "parameter"), [(name, parameter) for name, parameter, _ in listed()])
def test_every_parameter_of_the_spec_is_known(ask, name, parameter):
    """No parameter that the spec lists for an operation is called unknown."""
    answer = ask(name, params={parameter: "{"})

    assert "not allowed" not in answer.text


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name, parameter, described in listed()
        if described.get("schema", {}).get("type") != "string" or "enum" in described["schema"]
    ],
)
def test_ill_typed_parameters_are_refused(ask, name, parameter):
    """Each parameter that is no free text is answered with 400 and its name when it is ill-typed."""
    answer = ask(name, params={parameter: "{"})

    assert (answer.status_code, list(answer.json()["data"])) == (400, [parameter])


@pytest.mark.parametrize("related", RELATED)
@pytest.mark.parametrize("state", RUNS)
def test_a_run_of_any_state_is_shown_as_in_the_spec(ask, state, related):
    """Whatever happened to a run, it has the form of the spec with and without its related objects."""
    name = "GET /api/v2/accounts/{account_id}/runs/"
    answer = ask(name, params={"pk": RUNS[state], "include_related": related})
    one = ask(name.replace("runs/", f"runs/{RUNS[state]}/"), params={"include_related": related})

    assert answer.json()["extra"]["pagination"]["count"] == 1
    assert cloud_spec.problems(name, 200, answer.content) == []
    assert cloud_spec.problems(f"{name}{{id}}/", 200, one.content) == []
    assert state.split()[0] in one.json()["data"]["status_humanized"].lower().replace("error", "failed")


def test_the_recorded_answer_is_one_of_the_spec():
    """What the API answered to a trigger passes the patched spec: no patch contradicts it."""
    name = "POST /api/v2/accounts/{account_id}/jobs/{job_id}/run/"

    assert cloud_spec.problems(name, 200, RECORDED.read_bytes()) == []


def test_the_published_spec_refuses_the_recorded_answer():
    """The patches are needed: without them the spec does not even allow what the API answered."""
    published = cloud_spec.published()
    schema = {"$ref": "#/components/schemas/RunResponseEnveloped", "components": published["components"]}

    assert list(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(RECORDED.read_text())))
