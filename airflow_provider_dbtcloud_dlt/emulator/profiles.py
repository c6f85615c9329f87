"""What dbt's own files say: a project's, and the user's profiles, of which a run gets a copy."""

import contextlib
from pathlib import Path
from typing import Any

import yaml


class FileError(Exception):
    """A file of the user's does not allow what is wanted; the message says what to do."""


def mapping(file: Path) -> dict[str, Any]:
    """Return what a YAML file holds.

    Raises:
        FileError: If it cannot be read, or holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{file} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise FileError(f"{file} is not a mapping.")
    return content


def write_profile(
    project_dir: Path,
    profiles_dir: Path,
    folder: Path,
    *,
    target: str | None = None,
    schema: str | None = None,
    threads: int | None = None,
) -> str:
    """Write the run's own profiles.yml: the user's, with the run's target, schema and threads.

    Args:
        project_dir: Where the project's files are.
        profiles_dir: Where the user's profile is.
        folder: Where to write: a folder that is there.
        target: Which target of the profile; None leaves that to the profile.
        schema: In place of the schema of the profile's targets, or None.
        threads: In place of the threads of the profile's targets, or None.

    Returns:
        What to say about it in the step's log.

    Raises:
        FileError: If the user's files do not allow it.
    """
    name = mapping(project_dir / "dbt_project.yml").get("profile")
    source = profiles_dir / "profiles.yml"
    profile = mapping(source).get(str(name))
    if not isinstance(profile, dict) or not isinstance(profile.get("outputs"), dict):
        raise FileError(f"{source} has no profile {name!r}, which dbt_project.yml asks for.")
    outputs: dict[str, Any] = profile["outputs"]
    if target is not None:
        if target not in outputs:
            known = ", ".join(outputs)
            raise FileError(f"The profile {name!r} in {source} has no target {target!r}; it has: {known}.")
        profile["target"] = target
    for output in outputs.values():
        if schema is not None:
            output["schema"] = schema
        if threads is not None:
            output["threads"] = threads
    copy = folder / "profiles.yml"
    copy.touch(mode=0o600)
    copy.write_text(yaml.safe_dump({name: profile}), encoding="utf-8")
    return (
        f"Profile {name}, target {profile.get('target', 'default')}, schema {schema or 'as in the profile'}\n"
    )


def connection_type(project_dir: Path, profiles_dir: Path) -> str | None:
    """Return what the profile connects to, such as `duckdb`, or None if it does not say."""
    with contextlib.suppress(FileError, AttributeError, KeyError, TypeError):
        profile = mapping(profiles_dir / "profiles.yml")[mapping(project_dir / "dbt_project.yml")["profile"]]
        return str(next(iter(profile["outputs"].values()))["type"])
    return None


def has_packages(project_dir: Path) -> bool:
    """Whether `dbt deps` has something to install."""
    return any((project_dir / name).is_file() for name in ("packages.yml", "dependencies.yml"))
