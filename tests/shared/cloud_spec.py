"""The vendor's OpenAPI spec of dbt Cloud's API v2, patched where reality differs, for what is served.

The file is not part of this project. It is looked for at `DBT_CLOUD_SPEC`, or else beside the repository.
"""

import copy
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import requests
import yaml

ROOT = Path(__file__).parents[2]
BESIDE = ROOT.parent / "shared" / "facts" / "dbt-cloud-openapi-v2.yaml"
ACCOUNT = "/api/v2/accounts/{account_id}"
# What the emulator serves; it may lose none of these unnoticed.
SERVED = (
    "GET /api/v2/accounts/",
    f"GET {ACCOUNT}/",
    f"GET {ACCOUNT}/environments/",
    f"GET {ACCOUNT}/environments/{{id}}/",
    f"GET {ACCOUNT}/jobs/",
    f"GET {ACCOUNT}/jobs/{{id}}/",
    f"GET {ACCOUNT}/jobs/{{job_id}}/artifacts/{{remainder}}",
    f"GET {ACCOUNT}/projects/",
    f"GET {ACCOUNT}/projects/{{id}}/",
    f"GET {ACCOUNT}/runs/",
    f"GET {ACCOUNT}/runs/{{id}}/",
    f"GET {ACCOUNT}/runs/{{run_id}}/artifacts/",
    f"GET {ACCOUNT}/runs/{{run_id}}/artifacts/{{remainder}}",
    f"GET {ACCOUNT}/runs/{{run_id}}/retry/",
    f"GET {ACCOUNT}/steps/{{id}}/",
    f"POST {ACCOUNT}/jobs/{{job_id}}/rerun/",
    f"POST {ACCOUNT}/jobs/{{job_id}}/run/",
    f"POST {ACCOUNT}/runs/{{run_id}}/cancel/",
    f"POST {ACCOUNT}/runs/{{run_id}}/retry/",
)
# The commands that a generated trigger asks for: any other text would have to be a dbt command.
COMMANDS = ["dbt build", "dbt run --select a", "dbt source freshness", "dbt docs generate"]

ABSENT = "The vendor's spec is not here: set DBT_CLOUD_SPEC to the path of its OpenAPI file (API v2)."

ANSWERS = (200, 400, 401, 404, 405)

Json = dict[str, Any]
INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
SECONDS = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?"
SPACED = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {SECONDS}\+00:00$"
OFFSET = SPACED.replace(" ", "T")
ZULU = OFFSET.replace(r"\+00:00", "Z")


@dataclass(frozen=True)
class Patch:
    """A difference between the published spec and the API."""

    reason: str
    apply: Callable[[Json], None]


PATCHES: list[Patch] = []


def _patch(reason: str) -> Callable[[Callable[[Json], None]], Callable[[Json], None]]:
    def register(apply: Callable[[Json], None]) -> Callable[[Json], None]:
        PATCHES.append(Patch(reason, apply))
        return apply

    return register


def find() -> Path | None:
    """Return where the spec is, or None if it is not there.

    Raises:
        RuntimeError: If it is not there although `EXPECT_SPEC` says that it must be.
    """
    given = os.environ.get("DBT_CLOUD_SPEC")
    path = Path(given) if given else BESIDE
    if path.is_file():
        return path
    if os.environ.get("EXPECT_SPEC") == "1":
        raise RuntimeError(f"EXPECT_SPEC is set, but there is no spec at DBT_CLOUD_SPEC={given or BESIDE}.")
    return None


@functools.cache
def load() -> Json | None:
    """Return the patched spec, or None if it is not there."""
    spec = published()
    for patch in PATCHES if spec else ():
        patch.apply(spec)
    return spec


def published() -> Json | None:
    """Return the spec as the vendor publishes it, or None if it is not there."""
    path = find()
    if path is None:
        return None
    # The C reader takes a fifth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec: Json = yaml.load(path.read_text(encoding="utf-8"), loader)  # both loaders are safe
    return spec


def operations(spec: Json) -> Iterator[tuple[str, Json]]:
    """Yield each operation under its name, such as ``GET /api/v2/accounts/``."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def parameters(operation: Json, where: str = "query") -> dict[str, Json]:
    """Return an operation's parameters of one kind by name."""
    return {one["name"]: one for one in operation.get("parameters", []) if one["in"] == where}


def operation_of(method: str, url: str) -> str | None:
    """Return the name of the served operation that a request is one of, or None."""
    path = urlsplit(url).path
    return next((name for name, form in _forms().items() if form.fullmatch(f"{method} {path}")), None)


@functools.cache
def _forms() -> dict[str, re.Pattern[str]]:
    forms = {}
    for name in SERVED:
        form = re.escape(name).replace(r"\{remainder\}", ".+")
        forms[name] = re.compile(re.sub(r"\\\{\w+\\\}", "[0-9]+", form), re.DOTALL)
    return forms


@functools.cache
def validator(operation: str, status: int) -> jsonschema.Draft202012Validator | None:
    """Return what checks the JSON of an operation's answer, or None if such an answer has none."""
    spec = load() or {}
    method, path = operation.split(" ", 1)
    response = spec["paths"][path][method.lower()]["responses"][str(status)]
    content = response.get("content", {}).get("application/json")
    if content is None:
        return None
    return jsonschema.Draft202012Validator({**content["schema"], "components": spec["components"]})


def problems(operation: str, status: int, body: bytes) -> list[str]:
    """Tell what of an answer the patched spec does not allow."""
    check = validator(operation, status)
    if check is None:
        return []
    errors = check.iter_errors(json.loads(body))
    return [f"{operation} {status}: {error.json_path}: {error.message[:300]}" for error in errors]


def check(answer: requests.Response) -> None:
    """Check an answer of a served operation, if the spec is here.

    Raises:
        AssertionError: If the patched spec does not allow it.
    """
    operation = operation_of(str(answer.request.method), answer.url)
    if load() is None or operation is None or answer.status_code not in ANSWERS:
        return
    found = problems(operation, answer.status_code, answer.content)
    tally["checked"] += 1
    assert not found, "\n".join(found)


# What the checks came to, for the lines at the end of the tests.
tally: Counter[str] = Counter()
generated_for: set[str] = set()


def summary() -> Iterator[str]:
    """Yield lines that tell what was checked against the spec."""
    if generated_for:
        statuses = ", ".join(f"{tally[name]} x {name}" for name in sorted(tally) if name.isdigit())
        yield (
            f"conformance with the vendor's spec: {len(generated_for)} operations, "
            f"{tally['positive'] + tally['negative']} generated requests ({tally['positive']} right, "
            f"{tally['negative']} wrong), answers {statuses}, {tally['failed']} failures"
        )
    if tally["checked"]:
        yield f"conformance with the vendor's spec: {tally['checked']} answers checked in other tests"


# --- what is patched -------------------------------------------------------------------------------------


@_patch("only what the emulator serves is checked")
def _served_only(spec: Json) -> None:
    paths: Json = {}
    for name in SERVED:
        method, path = name.split(" ", 1)
        paths.setdefault(path, {})[method.lower()] = spec["paths"][path][method.lower()]
    spec["paths"] = paths


@_patch("schemas become plain JSON Schema, which knows null, and a null as a default is no longer invalid")
def _json_schema(spec: Json) -> None:
    spec["openapi"] = "3.1.0"
    for schema in spec["components"]["schemas"].values():
        for one in _walk(schema):
            one.pop("default", None)


@_patch("`Token X` is what the vendor's own text asks for; the spec declares `Bearer X` only")
def _both_schemes(spec: Json) -> None:
    scheme = {"type": "apiKey", "in": "header", "name": "Authorization"}
    spec["components"]["securitySchemes"] = {"BearerAuthentication": scheme}


@_patch("the server is the one under test")
def _no_servers(spec: Json) -> None:
    del spec["servers"]


# What the API leaves empty; in a run that was just triggered most of these are null in the recorded answer.
NULLABLE: dict[str, str] = {
    "RunResponse": "git_branch git_sha status_message owner_thread_id executed_by_thread_id deferring_run_id "
    "artifact_s3_path dequeued_at started_at finished_at last_checked_at last_heartbeat_at should_start_at "
    "trigger job environment retrying_run_id retry_not_supported_reason is_running used_repo_cache",
    "RunTrigger": "git_branch git_sha azure_pull_request_id github_pull_request_id gitlab_merge_request_id "
    "non_native_pull_request_id schema_override dbt_version_override threads_override target_name_override "
    "generate_docs_override timeout_seconds_override steps_override",
    "InternalJobDefinition": "dbt_version deferring_environment_id deferring_job_definition_id",
    "JobDefinitionTriggers": "git_provider_webhook on_merge custom_branch_only",
    "RunAuditResult": "cancellation",
    "RunStepResponse": "log_path debug_log_path started_at finished_at run_step_command run_step_invocation",
    "ListOfStringsEnveloped": "data",
    "HumanReadableJobDefinitionResponse": "dbt_version deferring_environment_id deferring_job_definition_id "
    "lifecycle_webhooks_url raw_dbt_version account project environment",
    "EnvironmentV2Response": "connection_id credentials_id repository_id extended_attributes_id "
    "custom_branch dbt_project_subdirectory created_by_id repository connection custom_environment_variables",
    "ProjectResponse": "connection_id repository_id semantic_layer_config_id dbt_project_subdirectory "
    "docs_job_id freshness_job_id connection repository docs_job freshness_job default_version",
    "AccountResponse": "lock_reason lock_cause unlocked_at billing_email_address enterprise_login_slug "
    "starter_repo_url trial_end_date static_subdomain vanity_subdomain run_locked_until docs_job_id "
    "freshness_job_id copilot_locked_until",
}


@_patch("the spec marks nothing as nullable; the recorded run holds null in most of these places")
def _nullable(spec: Json) -> None:
    for name, fields in NULLABLE.items():
        properties = spec["components"]["schemas"][name]["properties"]
        for field in fields.split():
            properties[field] = {"anyOf": [properties[field], {"type": "null"}]}


# Where times are written in another way than in jobs and other objects.
TIMES = {"RunResponse": SPACED, "RunStepResponse": SPACED, "InternalJobDefinition": ZULU}


@_patch("times have a form for each place, with a space in runs and steps; ids are plain integers")
def _formats(spec: Json) -> None:
    for name, schema in spec["components"]["schemas"].items():
        for one in _walk(schema):
            form = one.pop("format", None) if isinstance(one.get("format"), str) else None
            if form == "date-time":
                one["pattern"] = TIMES.get(name, OFFSET)


TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
ID = {"type": "integer"}
AT = {"type": "string", "pattern": SPACED}
BLANK = {"type": "null"}
# Shown by the API, but not declared. With these every object is closed: a misspelt field is an error.
UNDECLARED: dict[str, Json] = {
    # From the recorded answer.
    "RunTrigger": {"id": ID, "created_at": AT, "cause_humanized": TEXT, "job": BLANK},
    "InternalJobDefinition": {
        "id": ID,
        "created_at": {"type": "string", "pattern": ZULU},
        "updated_at": {"type": "string", "pattern": ZULU},
        "deactivated": FLAG,
        "is_deferrable": FLAG,
        "job_completion_trigger_condition": BLANK,
        "lifecycle_webhooks_url": {"type": ["string", "null"]},
        "raw_dbt_version": {"type": ["string", "null"]},
        "run_failure_count": ID,
    },
    "HumanReadableJobDefinitionResponse": {
        "deactivated": FLAG,
        "most_recent_run": {"anyOf": [{"$ref": "#/components/schemas/RunResponse"}, BLANK]},
        "most_recent_completed_run": {"anyOf": [{"$ref": "#/components/schemas/RunResponse"}, BLANK]},
    },
    "RunResponse": {
        "run_retries": {"type": "array", "items": {"$ref": "#/components/schemas/RunResponse"}},
        "repository": BLANK,
    },
}


@_patch(
    "fields that the recorded run has and the spec lacks, and related objects that it names in words only"
)
def _undeclared(spec: Json) -> None:
    schemas = spec["components"]["schemas"]
    for name, fields in UNDECLARED.items():
        schemas[name]["properties"].update(fields)
    # A run shows the same as what is had singly. The spec's short forms lack the ids and the times.
    schemas["RunStep"] = {"$ref": "#/components/schemas/RunStepResponse"}
    schemas["EnvironmentV2"] = {"$ref": "#/components/schemas/EnvironmentV2Response"}
    for schema in schemas.values():
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False


@_patch("the job inside the recorded run lacks these fields, which the spec requires")
def _not_required(spec: Json) -> None:
    required = spec["components"]["schemas"]["InternalJobDefinition"]["required"]
    for name in ("errors_on_lint_failure", "run_lint"):
        required.remove(name)


@_patch("an array is one parameter that holds a JSON array; the spec's default would be to repeat it")
def _arrays(spec: Json) -> None:
    for _, operation in operations(spec):
        for one in operation.get("parameters", []):
            if one["schema"].get("type") == "array":
                schema = one.pop("schema")
                if schema["items"].get("format") == "date-time":
                    # Two times make a range, as in the vendor's example.
                    times = ["2023-09-01 01:41:25+00:00", "2030-01-01T00:00:00Z"]
                    schema = {"type": "array", "items": {"enum": times}, "minItems": 2, "maxItems": 2}
                elif schema["items"]["type"] == "integer":
                    schema = {"type": "array", "items": {"type": "integer", **INT64}}
                one["content"] = {"application/json": {"schema": schema}}


SIGNED = ("id", "name", "created_at", "updated_at")
ORDERS = {
    "projects": SIGNED,
    "environments": (*SIGNED, "project_id"),
    "jobs": (*SIGNED, "project_id", "environment_id"),
    "runs": ("id", "created_at", "finished_at"),
}


@_patch("limits that the spec tells in words: pages of 100, states 1 and 2, orders; and those of 64 bits")
def _limits(spec: Json) -> None:
    for name, operation in operations(spec):
        known = parameters(operation)
        for one in known.values():
            one.get("schema", {}).pop("default", None)
            if one.get("schema", {}).get("type") == "integer":
                one["schema"].update(INT64)
        if "limit" in known:
            known["limit"]["schema"].update(minimum=1, maximum=100)
            known["offset"]["schema"].update(minimum=0)
            orders = ORDERS[name.split("/")[-2]]
            known["order_by"]["schema"]["enum"] = [sign + order for order in orders for sign in ("", "-")]
            known["state"]["schema"] = {"enum": [1, 2, "active", "deleted", "all"]}
        if "step" in known:
            known["step"]["schema"].update(minimum=1)


@_patch("the API's clients ask for the artifacts of a step when they list them, too")
def _step_of_artifacts(spec: Json) -> None:
    artifacts = f"{ACCOUNT}/runs/{{run_id}}/artifacts/"
    step = parameters(spec["paths"][artifacts + "{remainder}"]["get"])["step"]
    spec["paths"][artifacts]["get"]["parameters"].append(copy.deepcopy(step))


@_patch("clients repeat ids of the path: dagster's in a list's query, dbt-cloud-cli in a trigger's body")
def _repeated_ids(spec: Json) -> None:
    for _, operation in operations(spec):
        if "limit" in parameters(operation):
            account = {"name": "account_id", "in": "query", "schema": {"type": "integer", **INT64}}
            operation["parameters"].append(account)
    properties = spec["components"]["schemas"]["TriggerRunRequestRequest"]["properties"]
    properties |= {name: {"type": "integer"} for name in ("account_id", "job_id")}


@_patch("a trigger's body is JSON, its optional fields may be null, a cause has 255 characters at most")
def _trigger_body(spec: Json) -> None:
    schema = spec["components"]["schemas"]["TriggerRunRequestRequest"]
    properties = schema["properties"]
    properties["cause"]["maxLength"] = 255
    for name, one in properties.items():
        if one["type"] == "integer":
            one.update({"minimum": 0, "maximum": 2**31 - 1} if name.endswith("_override") else INT64)
    properties["threads_override"]["minimum"] = 1
    properties["steps_override"]["items"] = {"type": "string", "enum": COMMANDS}
    for name, one in properties.items():
        if name != "cause":
            properties[name] = {"anyOf": [one, {"type": "null"}]}
    schema["additionalProperties"] = False
    content = spec["paths"][f"{ACCOUNT}/jobs/{{job_id}}/run/"]["post"]["requestBody"]["content"]
    for kind in list(content):
        if kind != "application/json":
            del content[kind]


@_patch("the spec tells of no other answer than 200")
def _errors(spec: Json) -> None:
    status = {
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "is_success": {"const": False},
            "user_message": {"type": "string", "minLength": 1},
            "developer_message": {"type": "string"},
        },
        "required": ["code", "is_success", "user_message", "developer_message"],
        "additionalProperties": False,
    }
    told = {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}]}

    def enveloped(data: Json, code: int) -> Json:
        numbered = copy.deepcopy(status)
        numbered["properties"]["code"] = {"const": code}
        schema = {
            "type": "object",
            "properties": {"status": numbered, "data": data},
            "required": ["status", "data"],
            "additionalProperties": False,
        }
        return {"description": "", "content": {"application/json": {"schema": schema}}}

    bare = {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
        "additionalProperties": False,
    }
    for _, operation in operations(spec):
        operation["responses"] |= {
            "400": enveloped(told, 400),
            "401": enveloped({"type": "null"}, 401),
            "404": enveloped({"type": "null"}, 404),
            "405": {"description": "", "content": {"application/json": {"schema": bare}}},
        }


@_patch("a successful answer says 200 and is_success")
def _success(spec: Json) -> None:
    schema = spec["components"]["schemas"]["ResponseStatus"]
    schema["properties"]["code"] = {"const": 200}
    schema["properties"]["is_success"] = {"const": True}
    schema["required"].append("code")


def _walk(schema: object) -> Iterator[Json]:
    """Yield every object within a schema."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _walk(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _walk(value)
