"""What the API accepts: query parameters and bodies, with its way of refusing others.

dbt Cloud checks requests against JSON schemas: an unknown name is told as a string, an ill-typed value as an
object that names the field. Arrays are one parameter that holds a JSON array.
"""

import json
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from airflow_provider_dbtcloud_dlt.emulator import answers
from airflow_provider_dbtcloud_dlt.emulator.store import Selection
from airflow_provider_dbtcloud_dlt.emulator.webhooks import EventType

MAX_PAGE = 100


class InvalidRequestError(ValueError):
    """The request is answered with 400; `data` is what the answer says about it."""

    def __init__(self, data: str | dict[str, str]) -> None:
        super().__init__(str(data))
        self.data = data


def _json(text: str | bytes) -> object:
    try:
        content = json.loads(text)
        # What cannot be written again cannot be kept either: half a surrogate pair is no text.
        json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content


def _json_array(value: object) -> object:
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, list):
        raise ValueError("not a JSON array")
    return value


def _micros(value: str) -> int:
    at = datetime.fromisoformat(value)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return (at - _EPOCH) // timedelta(microseconds=1)


def _time(value: str) -> str:
    _micros(value)
    return value


def _integer(value: object) -> object:
    # Python reads more as a number than the API does: "1_0", " 1", "1.0", digits of other scripts.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError("not an integer")
    return value


def _whole(value: object) -> object:
    # As JSON Schema counts, 1.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: object) -> object:
    # The API shows the ids of a webhook's jobs as text, and clients send back what they were shown.
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value) else _whole(value)


def _boolean(value: object) -> object:
    # Python's clients write the capital letter.
    if value in ("true", "True"):
        return True
    if value in ("false", "False"):
        return False
    raise ValueError("not a boolean")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
StrictInteger = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=-(2**63), lt=2**63)]
StrictText = Annotated[str, Field(strict=True)]
Integer = Annotated[int, BeforeValidator(_integer), Field(ge=-(2**63), lt=2**63)]
Integers = Annotated[list[StrictInteger], BeforeValidator(_json_array)]
Texts = Annotated[list[StrictText], BeforeValidator(_json_array)]
Times = Annotated[
    list[Annotated[StrictText, AfterValidator(_time)]],
    BeforeValidator(_json_array),
    Field(min_length=2, max_length=2),
]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
State = Literal["1", "2", "active", "deleted", "all"]


class NoQuery(BaseModel):
    """The query of what changes something: it has no parameters."""

    model_config = ConfigDict(extra="forbid")


class Query(NoQuery):
    """The query parameters that every GET has."""

    include_related: str | None = None


class ListQuery(Query):
    """The query parameters that every list has."""

    limit: Annotated[Integer, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE
    offset: Annotated[Integer, Field(ge=0)] = 0
    order_by: str = "id"
    # Of the path, told among the filters; dagster's client repeats it in the query.
    account_id: Integer | None = None
    pk: Integer | None = None
    state: State = "all"

    def filters(self) -> dict[str, Any]:
        """Return the filters that were given, as the answer repeats them."""
        return self.model_dump(exclude_unset=True, exclude={"order_by", "include_related"})


Order = Literal["id", "-id", "name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"]


class ProjectQuery(ListQuery):
    """The query parameters of the list of projects."""

    order_by: Order = "id"
    name__icontains: str | None = None
    pk__gt: Integer | None = None
    pk__in: Integers | None = None


class EnvironmentQuery(ListQuery):
    """The query parameters of the list of environments."""

    order_by: Order | Literal["project_id", "-project_id"] = "id"
    dbt_version: str | None = None
    dbt_version__in: Texts | None = None
    project_id: Integer | None = None
    project_id__in: Integers | None = None


class EnvironmentQueryV3(EnvironmentQuery):
    """The same in version 3 of the API, which also looks for names."""

    name__icontains: str | None = None


class JobQuery(ListQuery):
    """The query parameters of the list of jobs."""

    order_by: Order | Literal["project_id", "-project_id", "environment_id", "-environment_id"] = "id"
    dbt_version__in: Texts | None = None
    environment_id: Integer | None = None
    is_fusion_ready: Boolean | None = None
    is_system: Boolean | None = None
    name__icontains: str | None = None
    project_id: Integer | None = None
    project_id__in: Integers | None = None
    triggers_schedule: Boolean | None = None


class RunQuery(ListQuery):
    """The query parameters of the list of runs."""

    order_by: Literal["id", "-id", "created_at", "-created_at", "finished_at", "-finished_at"] = "id"
    created_at__range: Times | None = None
    finished_at__range: Times | None = None
    dbt_version: str | None = None
    dbt_version__in: Texts | None = None
    deferring_run_id: Integer | None = None
    environment_id: Integer | None = None
    has_docs_generated: Boolean | None = None
    has_sources_generated: Boolean | None = None
    id__gt: Integer | None = None
    job_definition_id: Integer | None = None
    pk__in: Integers | None = None
    project_id: Integer | None = None
    project_id__in: Integers | None = None
    status: Integer | None = None
    status__in: Integers | None = None

    def selection(self, projects: Collection[int] | None = None) -> Selection:
        """Return the same for the store.

        Args:
            projects: The only projects that exist for whoever asks; None for all of them.
        """
        conditions: list[str] = []
        values: list[object] = []
        columns = {"pk": "id", "job_definition_id": "job_id"}
        given = self.model_dump(
            exclude_none=True,
            exclude={"account_id", "include_related", "limit", "offset", "order_by", "state"},
        )
        for name, value in given.items():
            field, _, operator = name.partition("__")
            column = columns.get(field, field)
            if operator == "in":
                conditions.append(f"{column} IN ({', '.join('?' * len(value))})")
                values += value
            elif operator == "range":
                conditions.append(f"{column} BETWEEN ? AND ?")
                values += map(_micros, value)
            else:
                conditions.append(f"{column} {'>' if operator == 'gt' else '='} ?")
                values.append(value)
        if self.state in ("2", "deleted"):
            conditions.append("0")
        if projects is not None:
            conditions.append(f"project_id IN ({', '.join('?' * len(projects))})")
            values += projects
        column, direction = self.order_by.lstrip("-"), "DESC" if self.order_by.startswith("-") else "ASC"
        # The id decides between equals, so that pages neither overlap nor leave gaps.
        order = f"{column} {direction}, id {direction}"
        return Selection(conditions, values, order, self.limit, self.offset)


class ArtifactQuery(Query):
    """The query parameters of a run's artifacts."""

    step: Annotated[Integer, Field(ge=1)] | None = None


class WebhookQuery(Query):
    """The query parameters of the list of webhooks."""

    limit: Annotated[Integer, Field(ge=1, le=MAX_PAGE)] = 10
    offset: Annotated[Integer, Field(ge=0)] = 0


class NoBody(BaseModel):
    """The body of what needs none: empty, or an empty object."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Check a request's body.

        Raises:
            InvalidRequestError: If it is not what the API accepts.
        """
        try:
            content = _json(body or b"{}")
        except ValueError:
            raise InvalidRequestError("The body is not JSON.") from None
        return _checked(cls, content)


Text = Annotated[str, Field(min_length=1)]
# What dbt Cloud keeps in 32 bits and dbt makes use of.
Count = Annotated[int, BeforeValidator(_whole), Field(lt=2**31)]


class TriggerBody(NoBody):
    """The body of a trigger: https://docs.getdbt.com/dbt-cloud/api-v2#/operations/Trigger%20Job%20Run."""

    cause: Annotated[str, Field(min_length=1, max_length=255)]
    git_sha: Text | None = None
    git_branch: Text | None = None
    azure_pull_request_id: StrictInteger | None = None
    github_pull_request_id: StrictInteger | None = None
    gitlab_merge_request_id: StrictInteger | None = None
    non_native_pull_request_id: StrictInteger | None = None
    schema_override: Text | None = None
    dbt_version_override: Text | None = None
    threads_override: Annotated[Count, Field(ge=1)] | None = None
    target_name_override: Text | None = None
    generate_docs_override: bool | None = None
    timeout_seconds_override: Annotated[Count, Field(ge=0)] | None = None
    steps_override: list[Text] | None = None
    # dbt-cloud-cli repeats what the path says, and is answered.
    account_id: Annotated[StrictInteger | None, Field(exclude=True)] = None
    job_id: Annotated[StrictInteger | None, Field(exclude=True)] = None


class WebhookBody(NoBody):
    """The body of a webhook: https://docs.getdbt.com/docs/deploy/webhooks#create-a-new-webhook-subscription."""

    name: Text
    client_url: Text
    event_types: Annotated[list[EventType], Field(min_length=1)]
    job_ids: list[Annotated[int, BeforeValidator(_number), Field(ge=0, lt=2**63)]] = []
    description: str = ""
    # The Terraform provider leaves out what is false.
    active: bool = False
    # It repeats what the path says.
    id: Annotated[str | None, Field(exclude=True)] = None


_ModelT = TypeVar("_ModelT", bound=BaseModel)


def parse(model: type[_ModelT], params: QueryParams, account_id: int | None = None) -> _ModelT:
    """Check a request's query parameters.

    Args:
        model: What the endpoint accepts.
        params: What came.
        account_id: The account in the path of a list; it counts, whatever the query says.

    Returns:
        The values.

    Raises:
        InvalidRequestError: If a parameter is unknown, ill-typed, or given twice.
    """
    values: dict[str, str] = {}
    for name in dict.fromkeys(params):
        given = params.getlist(name)
        if name == "include_related":
            values[name] = ",".join(given)
        elif len(given) > 1:
            raise InvalidRequestError({name: f"{given} is not valid under any of the given schemas"})
        else:
            values[name] = given[0]
    query = _checked(model, values)
    return query if account_id is None else query.model_copy(update={"account_id": account_id})


def related(query: Query) -> frozenset[str]:
    """Return the related objects that were asked for: comma-separated, as a JSON list, or repeated."""
    text = query.include_related or ""
    return frozenset(word for part in text.split(",") if (word := part.strip(' []"')))


def _checked(model: type[_ModelT], content: object) -> _ModelT:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    unknown = [str(problem["loc"][0]) for problem in problems if problem["type"] == "extra_forbidden"]
    if unknown:
        raise InvalidRequestError(answers.unknown_parameter(*unknown))
    if not all(problem["loc"] for problem in problems):
        raise InvalidRequestError(f"{content!r} is not of type 'object'")
    raise InvalidRequestError(_by_field(problems))


def _by_field(problems: Iterable[Any]) -> dict[str, str]:
    told: dict[str, str] = {}
    for problem in problems:
        name, value = str(problem["loc"][0]), problem["input"]
        if name in told:
            continue
        if problem["type"] == "missing":
            told[name] = "required key not provided"
        elif problem["type"] == "string_too_long":
            told[name] = f"Ensure this field has no more than {problem['ctx']['max_length']} characters."
        else:
            told[name] = f"{value!r} is not valid under any of the given schemas"
    return told
