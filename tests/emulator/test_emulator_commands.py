"""Which steps are taken, and which word of a step is its command."""

import importlib.util

import pytest

from airflow_provider_dbtcloud_dlt.emulator import commands


@pytest.mark.parametrize(
    ("step", "command"),
    [
        ("dbt build", "build"),
        ("dbt --quiet build --select clean", "build"),
        ("dbt -dq --target clean run", "run"),
        ("dbt --target=clean run", "run"),
        ("dbt -xt clean test", "test"),
        ("dbt -tclean test", "test"),
        ("dbt --log-format json --no-use-colors source --quiet freshness --select source:a", "source"),
        ("dbt docs --debug generate --no-compile", "docs"),
        ("dbt run-operation clean --args '{a: 1}'", "run-operation"),
        ("dbt build -s a b --defer --state ../there --vars '{a: --b}' -t prod --output json", "build"),
        ("dbt ls --output json --output-keys name", "ls"),
    ],
)
def test_the_command_is_the_first_word_that_belongs_to_no_option(step, command):
    """Options that dbt knows everywhere may precede it."""
    assert commands.subcommand(commands.words(step)) == command


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("dbt", "has no dbt command"),
        ("dbt --target", "has no dbt command"),
        ("dbt --target build", "has no dbt command"),
        ("dbt clean", "has no dbt command"),
        ("dbt --quiet clean --select build", "has no dbt command"),
        ("dbt --quiet init build", "has no dbt command"),
        ("dbt --target build clean", "has no dbt command"),
        ("dbt -qt build clean", "has no dbt command"),
        ("dbt -tprod clean build", "has no dbt command"),
        ("dbt --warn-error clean build", "has no dbt command"),
        ("dbt docs", "only 'dbt docs generate' is"),
        ("dbt docs serve", "only 'dbt docs generate' is"),
        ("dbt --quiet docs serve", "only 'dbt docs generate' is"),
        ("dbt docs --quiet serve generate", "only 'dbt docs generate' is"),
        ("dbt docs --target generate serve", "only 'dbt docs generate' is"),
        ("dbt docs generate serve", "has the word 'serve'"),
        ("dbt source snapshot-freshness", "only 'dbt source freshness' is"),
        ("dbt build clean", "has the word 'clean'"),
        ("dbt --select build clean", "has the option '--select'"),
        ("dbt --quiet=build clean", "has the option '--quiet=build'"),
        ("dbt -- clean build", "has the option '--'"),
        ("dbt -s build clean", "has the option '-s'"),
        ("dbt build --select 'a\0b'", "holds a NUL"),
    ],
)
def test_what_no_job_can_run_is_refused(step, why):
    """Neither an option in front nor its value hides the command."""
    with pytest.raises(commands.CommandError) as refusal:
        commands.words(step)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    "step",
    [
        "dbt build --target-path ../elsewhere",
        "dbt build --target-path=../elsewhere",
        "dbt --log-path /tmp build",
        "dbt build --log-path=/tmp",
        "dbt build --project-dir ..",
        "dbt build --select a --profiles-dir /home/me/.dbt",
        "dbt --profile other build",
        "dbt build --profile=other",
        "dbt --record-timing-info profile.bin build",
        "dbt -r profile.bin build",
        "dbt -qr build clean",
        "dbt build -xrprofile.bin",
        "dbt build --partial-parse-file-path /tmp/x",
        "dbt source freshness --output /tmp/x.json",
        "dbt source freshness --output=/tmp/x.json",
        "dbt source freshness -o/tmp/x.json",
    ],
)
def test_no_step_moves_a_folder(step):
    """Runs would read each other's files, or write into the project or anywhere else."""
    with pytest.raises(commands.CommandError, match="sets where a run reads and writes itself"):
        commands.words(step)


@pytest.mark.skipif(importlib.util.find_spec("dbt") is None, reason="dbt is not installed")
def test_the_table_of_global_options_is_dbts():
    """An option that is missing, or taken for one without a value, would make another word the command."""
    from dbt.cli.main import cli

    def names(*, flags):
        found = [one for one in cli.params if one.is_flag is flags and one.name != "version"]
        return {name for one in found for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}

    assert names(flags=True) <= commands._GLOBAL_FLAGS
    assert names(flags=False) <= commands._GLOBAL_VALUES | commands._FIXED
    assert not names(flags=True) & (commands._GLOBAL_VALUES | commands._FIXED)
    assert not names(flags=False) & commands._GLOBAL_FLAGS


@pytest.mark.skipif(importlib.util.find_spec("dbt") is None, reason="dbt is not installed")
def test_dbt_takes_no_abbreviation_of_an_option():
    """Otherwise `--target-pat` would move the folder."""
    import click
    from dbt.cli.main import cli

    with pytest.raises(click.NoSuchOption):
        cli.main(["parse", "--target-pat", "/tmp/x"], standalone_mode=False)


def test_a_step_that_is_no_longer_taken_cannot_be_retried():
    """A run that an earlier version made is shown for all that."""
    assert commands.is_retryable("dbt build")
    assert not commands.is_retryable("dbt build --target-path x")
