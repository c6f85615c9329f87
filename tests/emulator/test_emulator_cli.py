"""The command line."""

import stat

import pytest

from airflow_provider_dbtcloud_dlt.emulator import __main__ as emulator_command
from airflow_provider_dbtcloud_dlt.emulator import project
from airflow_provider_dbtcloud_dlt.emulator.__main__ import main
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


def test_help_tells_the_options_and_the_file(capsys):
    """`--help` is all that a new user needs."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out

    for word in (
        "--config",
        "--project",
        "--lag",
        "--seed",
        "--tls",
        "pk_in_ignored",
        "trigger_job",
        "/emulator/faults",
        "--state",
        "--host",
        "--port",
        "--port-file",
        "--public-url",
        "environments:",
        "steps:",
    ):
        assert word in shown


def test_a_wrong_configuration_ends_with_a_sentence(tmp_path, capsys):
    """A mistake is told on standard error, without a traceback."""
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err


def test_a_machine_without_dbt_is_told_at_the_start(tiny_project, capsys, mocker):
    """Not when the first run fails."""
    mocker.patch.object(emulator_command, "find_spec", return_value=None)
    assert main(["--config", str(tiny_project / "emulator.yaml"), "--port", "0"]) == 2
    assert "a job runs dbt, which is not installed: pip install" in capsys.readouterr().err


def test_a_state_folder_that_is_in_use_is_refused(tiny_project, capsys):
    """Two emulators would not know of each other's runs."""
    with emulator(state_dir=tiny_project / "state"):
        code = main(
            [
                "--config",
                str(tiny_project / "emulator.yaml"),
                "--state",
                str(tiny_project / "state"),
                "--port",
                "0",
            ]
        )
    assert code == 2
    assert "is used by another emulator" in capsys.readouterr().err


@pytest.fixture
def profile(tiny_project, monkeypatch):
    """Where dbt would look for a profile: nowhere but in the project, unless a test says so."""
    monkeypatch.delenv("DBT_PROFILES_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tiny_project / "home"))
    return tiny_project / "dbt" / "profiles.yml"


def test_a_project_is_served_without_configuration(profile, tiny_project):
    """One account, one job that builds, with the profile from the project's own folder."""
    config = project.served(tiny_project / "dbt", "secret")
    (job,) = config.jobs

    assert (config.account.id, config.tokens[0].secret) == (1, "secret")
    assert (job.id, job.steps) == (1000, ("dbt build",))
    assert job.environment.project.dir == job.environment.project.profiles_dir == tiny_project / "dbt"


@pytest.mark.parametrize("place", ["DBT_PROFILES_DIR", "home/.dbt"])
def test_the_profile_is_found_where_dbt_looks(profile, tiny_project, monkeypatch, place):
    """The variable, or the home folder, where the project has none."""
    folder = tiny_project / place
    folder.mkdir(parents=True)
    profile.rename(folder / "profiles.yml")
    if place.isupper():
        monkeypatch.setenv(place, str(folder))

    (job,) = project.served(tiny_project / "dbt", "secret").jobs

    assert job.environment.project.profiles_dir == folder


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("no project", "dbt_project.yml cannot be read: No such file or directory"),
        ("no profile", "asks for the profile 'tiny', which is not in"),
        ("no yaml", "dbt_project.yml is not YAML"),
    ],
)
def test_a_project_that_cannot_be_served_is_told_in_a_sentence(profile, tiny_project, capsys, damage, told):
    """Before anything listens."""
    if damage == "no project":
        (tiny_project / "dbt" / "dbt_project.yml").unlink()
    if damage == "no profile":
        profile.unlink()
    if damage == "no yaml":
        (tiny_project / "dbt" / "dbt_project.yml").write_text("a: [")

    assert main(["--project", str(tiny_project / "dbt"), "--state", str(tiny_project / "state")]) == 2
    assert told in capsys.readouterr().err


def test_the_token_is_made_once_and_for_its_owner_alone(tmp_path):
    """Clients are told of it once, and other users of the machine cannot start dbt."""
    first = project.kept_token(tmp_path)

    assert len(first) == 40
    assert project.kept_token(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_an_empty_token_of_a_start_that_was_killed_is_made_anew(tmp_path):
    """It would stop every later start."""
    (tmp_path / "token").touch()

    assert len(project.kept_token(tmp_path)) == 40
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_the_state_is_for_its_owner_alone_and_never_committed(tmp_path):
    """It holds the token, logs and what triggers said."""
    with emulator(state_dir=tmp_path / "new" / "state"):
        pass
    state = tmp_path / "new" / "state"

    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state / ".gitignore").read_text() == "*\n"


def test_the_command_line_makes_such_a_state_too(tiny_project):
    """Also if it comes no further."""
    main(["--config", "none.yaml", "--state", str(tiny_project / "state")])

    assert stat.S_IMODE((tiny_project / "state").stat().st_mode) == 0o700
    assert (tiny_project / "state" / ".gitignore").read_text() == "*\n"


def test_a_state_folder_that_is_there_stays_as_it_is(tmp_path):
    """Whoever made it decides who may look into it, and what is committed."""
    tmp_path.chmod(0o755)
    with emulator(state_dir=tmp_path):
        pass

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert not (tmp_path / ".gitignore").exists()


@pytest.mark.parametrize("lag", ["-1", "soon", "nan", "inf"])
def test_a_lag_that_is_no_time_is_told_in_a_sentence(capsys, lag):
    """In words that a user knows."""
    with pytest.raises(SystemExit):
        main(["--config", "a", f"--lag={lag}"])
    assert f"a number of seconds from 0 is expected, not '{lag}'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--config", "a", "--project", "b"]])
def test_either_a_configuration_or_a_project_is_served(options, capsys):
    """Neither and both are mistakes."""
    with pytest.raises(SystemExit):
        main(options)
    assert "--project" in capsys.readouterr().err
