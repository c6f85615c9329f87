"""A dbt project served as it is, without a configuration file: one account with one job, ``dbt build``."""

import os
import secrets
from pathlib import Path

from airflow_provider_dbtcloud_dlt.emulator import config as configuration
from airflow_provider_dbtcloud_dlt.emulator import private
from airflow_provider_dbtcloud_dlt.emulator.config import ConfigError
from airflow_provider_dbtcloud_dlt.emulator.profiles import FileError, mapping
from airflow_provider_dbtcloud_dlt.emulator.served import Config


def served(project_dir: Path, token: str) -> Config:
    """Return what serves a dbt project.

    Args:
        project_dir: The folder with dbt_project.yml.
        token: What opens the account.

    Returns:
        The configuration: account 1, project 10, environment 100, job 1000.

    Raises:
        ConfigError: If the folder is no dbt project, or its profile is nowhere where dbt looks for it.
    """
    folder = project_dir.resolve()
    try:
        project = mapping(folder / "dbt_project.yml")
        name, profile = str(project.get("name") or folder.name), project.get("profile")
        profiles_dir = _profiles_dir(folder, profile)
    except FileError as error:
        raise ConfigError(f"--project: {error}") from error
    content = {
        "account": {"token": token},
        "projects": [{"name": name, "dir": str(folder), "profiles_dir": str(profiles_dir)}],
        "environments": [{"name": "Production"}],
        "jobs": [{"name": "dbt build", "steps": ["dbt build"]}],
    }
    return configuration.parse(content, folder)


def kept_token(state_dir: Path) -> str:
    """Return a token that is made at the first start and stays the same; only its owner can read the file."""
    file = state_dir / "token"
    # One that is empty is left of a start that did not come to its end.
    if not file.is_file() or not file.read_text(encoding="ascii").strip():
        private.write(file, f"{secrets.token_hex(20)}\n")
    return file.read_text(encoding="ascii").strip()


def _profiles_dir(folder: Path, profile: object) -> Path:
    """Return the first folder with the profile among those in which dbt looks."""
    named = os.environ.get("DBT_PROFILES_DIR")
    places = [Path(named).expanduser()] if named else [folder, Path.home() / ".dbt"]
    for place in places:
        if (place / "profiles.yml").is_file() and profile in mapping(place / "profiles.yml"):
            return place.resolve()
    looked = " and ".join(str(place / "profiles.yml") for place in places)
    raise ConfigError(
        f"--project: dbt_project.yml asks for the profile {profile!r}, which is not in {looked}. Put it "
        "there, or name its folder in the environment variable DBT_PROFILES_DIR."
    )
