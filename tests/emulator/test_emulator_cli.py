"""The command line."""

import pytest

from airflow_provider_dbtcloud_dlt.emulator import __main__ as emulator_command
from airflow_provider_dbtcloud_dlt.emulator.__main__ import main
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


def test_help_tells_the_options_and_the_file(capsys):
    """`--help` is all that a new user needs."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out

    for word in (
        "--config",
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
