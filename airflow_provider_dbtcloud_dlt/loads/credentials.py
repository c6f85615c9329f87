"""A destination with the credentials of an Airflow connection, made in memory: no file, no environment."""

from __future__ import annotations

import copy
from typing import Any, cast
from urllib.parse import urlsplit

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigurationException
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.configuration.specs.base_configuration import extract_inner_hint, is_secret_hint
from dlt.common.configuration.utils import deserialize_value
from dlt.common.destination import Destination
from dlt.common.exceptions import MissingDependencyException

from airflow_provider_dbtcloud_dlt.loads.connection import ConnectionFields
from airflow_provider_dbtcloud_dlt.loads.errors import LoadError, not_installed
from airflow_provider_dbtcloud_dlt.loads.mappings import MAPPINGS, ConnectionMapping, value_of, where
from airflow_provider_dbtcloud_dlt.loads.secrets import Secrets

_ASKS_FOR_NOTHING = ("false", "0", "disabled", "preferred")
"""Values of extras that are refused otherwise: as good as none."""


def connected(destination: Any, connection: ConnectionFields, secrets: Secrets) -> Destination[Any, Any]:
    """Give a destination the credentials of an Airflow connection.

    They come from the connection alone: what dlt's configuration has for the destination is not mixed in.

    Args:
        destination: A name, a destination object, the address of a bucket (``"s3://lake/raw"``), or None:
            what the connection's type says.
        connection: The connection.
        secrets: Told of the connection's secrets before anything can put them into a message.

    Raises:
        LoadError: The connection's type has no mapping or belongs to another destination, or a field is
            missing or malformed.
    """
    known = _known(connection)
    settings: dict[str, Any] = {}
    if isinstance(destination, str) and "://" in destination:
        destination, settings = "filesystem", {"bucket_url": destination}
    reference = destination or _default(connection, known).destination
    made: Destination[Any, Any] = copy.copy(cast(Any, Destination.from_reference(reference)))
    given = {**made.config_params, **settings}
    if given.get("credentials") is not None:
        raise connection.error("the destination has credentials of its own. Leave one of the two out.")
    mapping = _chosen(connection, known, made, given.get("bucket_url"))
    _refuse(connection, mapping)
    settings = {name: value_of(reading, connection) for name, reading in mapping.settings.items()}
    made.config_params = {name: value for name, value in settings.items() if value is not None} | given
    if mapping.credentials:
        made.config_params["credentials"] = _credentials(connection, mapping, made, secrets)
    return made


def _known(connection: ConnectionFields) -> list[ConnectionMapping]:
    """The mappings that a connection's type has; as staging, those of file systems."""
    staging = connection.argument == "staging_conn_id"
    usable = [mapping for mapping in MAPPINGS if not staging or mapping.destination == "filesystem"]
    known = [mapping for mapping in usable if connection.conn_type in mapping.conn_types]
    if not known:
        types = sorted({conn_type for mapping in usable for conn_type in mapping.conn_types})
        purpose = "no bucket to stage files in" if staging else "none of dlt's destinations"
        raise connection.error(
            f"a connection of this type leads to {purpose}. Types that do: {', '.join(types)}. For another "
            "give the task a destination object, or put the credentials into dlt's configuration."
        )
    return known


def _default(connection: ConnectionFields, known: list[ConnectionMapping]) -> ConnectionMapping:
    """The destination that a connection means when the task names none."""
    return next((mapping for mapping in known if mapping.by_default(connection)), known[0])


def _chosen(
    connection: ConnectionFields, known: list[ConnectionMapping], made: Destination[Any, Any], bucket: Any
) -> ConnectionMapping:
    """The mapping from the connection's type to the destination that was made."""
    wanted = made.destination_type.rpartition(".")[2]
    fitting = [mapping for mapping in known if mapping.destination == wanted]
    argument = connection.argument.removesuffix("_conn_id")
    if not fitting:
        # A named destination's type is in dlt's configuration: the task's author knows its name.
        name = made.destination_name
        types = [conn_type for m in MAPPINGS if m.destination == wanted for conn_type in m.conn_types]
        hint = f"one of type {' or '.join(dict.fromkeys(types))}" if types else "credentials of its own"
        leads = " or ".join(dict.fromkeys(repr(mapping.destination) for mapping in known))
        raise connection.error(
            f"it leads to {leads}, but the task says {argument}={name!r}, which needs {hint}."
        )
    if not bucket:
        return fitting[0]
    protocol = urlsplit(str(bucket)).scheme or "file"
    for mapping in fitting:
        if not mapping.protocols or protocol in mapping.protocols:
            return mapping
    addresses = ", ".join(f"{p}://" for mapping in fitting for p in mapping.protocols)
    raise connection.error(f"it opens {addresses}, but the task's {argument} is at {protocol}://.")


def _refuse(connection: ConnectionFields, mapping: ConnectionMapping) -> None:
    """Refuse a connection that asks for what dlt lacks: a log-in would become another's, TLS be left out."""
    for key in mapping.refused:
        value = connection.get(f"extra.{key}")
        if value is not None and str(value).strip().lower() not in _ASKS_FOR_NOTHING:
            raise connection.error(
                f"extra {key!r} asks for a way to log in, or to use TLS, that dlt's {mapping.destination!r} "
                "does not have. Give the load a connection with a key, a token or a password, and with TLS "
                "by the fields that docs/destinations.md lists, or a destination object."
            )


def _credentials(
    connection: ConnectionFields,
    mapping: ConnectionMapping,
    made: Destination[Any, Any],
    secrets: Secrets,
) -> CredentialsConfiguration:
    secrets.note(connection.password)
    read = {name: value_of(reading, connection) for name, reading in mapping.credentials.items()}
    values = _nested({name: value for name, value in read.items() if value is not None})
    spec = _spec(mapping, made, values)
    hints = spec.get_resolvable_fields()
    if unknown := [name for name in values if name not in hints]:
        raise connection.error(
            f"the value for {unknown[0]!r} (from {where(mapping.credentials[unknown[0]])}) does not go with "
            "the others, or is too new for the dlt that is installed: leave it out."
        )
    for name, value in values.items():
        if is_secret_hint(hints[name]):
            secrets.note(value)
    secrets.note_revealing(connection.extras)
    _check(connection, mapping, values)
    # What is given explicitly, be it None, dlt does not look up in its configuration.
    defaults = spec()
    explicit = {name: getattr(defaults, name, None) for name in hints}
    for name, value in values.items():
        explicit[name] = _typed(connection, mapping, name, value, hints[name])
    try:
        credentials = resolve_configuration(spec(), explicit_value=explicit)
    except ConfigFieldMissingException as error:
        raise _missing(connection, mapping, error.fields) from None
    except (MissingDependencyException, ModuleNotFoundError) as error:
        raise connection.error(not_installed(error, mapping.destination)) from None
    except Exception as error:  # noqa: BLE001 - the clouds' libraries raise their own, a missing profile for one
        raise connection.error(f"dlt's {mapping.destination!r} does not take it: {error}") from None
    if isinstance(values.get("password"), str):
        credentials["password"] = values["password"]  # dlt strips blanks off, which may be part of it
    return credentials


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Put what belongs into ``query`` there."""
    query = values.pop("query.*", {})
    query |= {name.removeprefix("query."): values.pop(name) for name in list(values) if "query." in name}
    return values | {"query": query} if query else values


def _spec(
    mapping: ConnectionMapping, made: Destination[Any, Any], values: dict[str, Any]
) -> type[CredentialsConfiguration]:
    """The class of credentials that has a field for each value."""
    specs = mapping.specs or (made.spec.credentials_type(),)
    return next((spec for spec in specs if values.keys() <= spec.get_resolvable_fields().keys()), specs[-1])


def _check(connection: ConnectionFields, mapping: ConnectionMapping, values: dict[str, Any]) -> None:
    """Miss what dlt would replace by the worker's own identity, or by nothing."""
    given = values.keys() | {f"query.{name}" for name in values.get("query", {})}
    for names in mapping.needed:
        if not given & set(names):
            raise _missing(connection, mapping, names[:1])
    missing = [name for name in mapping.together if name not in given]
    if missing and len(missing) < len(mapping.together):
        raise _missing(connection, mapping, missing)


def _missing(connection: ConnectionFields, mapping: ConnectionMapping, names: Any) -> LoadError:
    told = [
        f"{name!r} (from {where(mapping.credentials[name])})" if name in mapping.credentials else repr(name)
        for name in names
    ]
    return connection.error(
        f"it has no value for {' and '.join(told)}, which dlt's {mapping.destination!r} needs."
    )


def _typed(connection: ConnectionFields, mapping: ConnectionMapping, name: str, value: Any, hint: Any) -> Any:
    """Make a text, as a URI has it, the number or the object that dlt expects."""
    try:
        return deserialize_value(name, value, extract_inner_hint(hint, preserve_literal=True))
    except ConfigurationException:
        raise connection.error(
            f"the value for {name!r} (from {where(mapping.credentials[name])}) is none that dlt's "
            f"{mapping.destination!r} takes."
        ) from None
