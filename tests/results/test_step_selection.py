"""A selection is put into a step: what the step runs is in its own selection and in ours."""

import shlex
from itertools import product

import pytest
from dbt.cli.main import cli
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.results.command import GLOBAL_VALUES, Command, StepError
from airflow_provider_dbtcloud_dlt.results.steps import NARROWED, with_selection, with_vars

ORDERS = "source:raw.orders+"
BOTH = (ORDERS, "source:raw.customers+")


@pytest.mark.parametrize("command", sorted(NARROWED))
def test_step_that_selects_nothing_gets_the_selection(command: str) -> None:
    """What builds, tests or checks is narrowed."""
    assert with_selection(f"dbt {command}", [ORDERS]) == f"dbt {command} --select {ORDERS}"


def test_other_options_follow_the_selection() -> None:
    """What the step says otherwise stays as it was written."""
    step = "dbt  --debug build --full-refresh --exclude 'tag:slow  x'"
    assert with_selection(step, BOTH) == (
        "dbt --debug build --select source:raw.orders+ source:raw.customers+ "
        "--full-refresh --exclude 'tag:slow  x'"
    )


@pytest.mark.parametrize(
    ("own", "narrowed"),
    [
        ("--select a", "--select a,X"),
        ("--select a b", "--select a,X b,X"),
        ("--select 'a b' c", "--select a,X b,X c,X"),
        ("--select=a b", "--select a,X b,X"),
        ("-s a", "-s a,X"),
        ("-sa b", "-s a,X b,X"),
        ("-m a", "-m a,X"),
        ("--models a", "--models a,X"),
        ("--model a", "--model a,X"),
        ("-fxs a", "-fx -s a,X"),
        ("--select a --select b", "--select a,X --select b,X"),
        ("--select a,b +c", "--select a,b,X +c,X"),
        ("--select @a 1+b+2", "--select @a,X 1+b+2,X"),
        ("--select a --exclude b", "--select a,X --exclude b"),
        ("--exclude b --threads 4 --select a", "--exclude b --threads 4 --select a,X"),
        ("--resource-type model --select a", "--resource-type model --select a,X"),
    ],
)
def test_own_selection_is_intersected(own: str, narrowed: str) -> None:
    """Each member of the step's own union is intersected with ours."""
    assert with_selection(f"dbt build {own}", ["X"]) == f"dbt build {narrowed}"


def test_two_unions_are_intersected() -> None:
    """Each member of the one with each of the other."""
    assert with_selection("dbt run --select a b", ["X", "Y"]) == "dbt run --select a,X a,Y b,X b,Y"


@pytest.mark.parametrize(
    "step",
    [
        "dbt deps",
        "dbt docs generate",
        "dbt run-operation grant --args '{role: reporter}'",
        "dbt list --select a",
        "dbt retry",
        "dbt compile --inline 'select 1'",
        "dbt debug",
        "dbt seed --select a",
    ],
)
def test_step_that_is_none_of_ours_stays(step: str) -> None:
    """A command that takes no selection, is to be whole, or reads no source is left alone without a word."""
    assert with_selection(step, [ORDERS]) == step


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("dbt build --selector nightly", "dbt ignores --select beside its --selector"),
        ("dbt build --selector=nightly --select a", "dbt ignores --select beside its --selector"),
        ("dbt build --select ''", "its own selection is empty"),
        ("dbt build --select", "its own selection is empty"),
        ("dbt build --select ' -x'", "no selection that is understood here"),
        ("dbt --warn-error build", "with its --warn-error dbt would fail"),
        ("dbt build --warn-error --select a", "with its --warn-error dbt would fail"),
        ("dbt --warn-error-options '{}' test", "with its --warn-error-options dbt would fail"),
        ("dbt build orders", "it has the word 'orders' where dbt expects an option"),
        ("dbt build --select 'a", "it cannot be split into words"),
        ("dbtx build", "it is no dbt command"),
        ("", "it is no dbt command"),
        ("dbt", "its dbt command is not known here"),
        ("dbt frobnicate", "its dbt command is not known here"),
    ],
)
def test_step_that_cannot_be_narrowed(step: str, why: str) -> None:
    """What is not understood, or would not be narrowed, has to stay; the reason is told."""
    with pytest.raises(StepError, match=why):
        with_selection(step, [ORDERS])


def test_default_selector_is_not_switched_off() -> None:
    """A --select would replace the project's default selector, and might run more than that."""
    with pytest.raises(StepError, match="default selector 'nightly'"):
        with_selection("dbt build", [ORDERS], "nightly")


@pytest.mark.parametrize("own", ["--select a", "--exclude a"])
def test_default_selector_is_for_steps_that_select_nothing(own: str) -> None:
    """Where a step selects or excludes, dbt leaves the default selector out itself."""
    assert ORDERS in with_selection(f"dbt build {own}", [ORDERS], "nightly")


def test_empty_selection_is_never_written() -> None:
    """No selection would mean everything: it is a mistake in the code that calls."""
    with pytest.raises(ValueError, match="An empty selection would select everything"):
        with_selection("dbt build", [])


@pytest.mark.parametrize(
    "step", ["dbt --target test build", "dbt -t test build", "dbt -qt test build", "dbt --target=test build"]
)
def test_target_that_is_called_like_a_command(step: str) -> None:
    """The value of a global option is not taken for the command."""
    assert with_selection(step, [ORDERS]) == f"{step} --select {ORDERS}"


# --- against dbt-core ---------------------------------------------------------------------------------


def test_global_options_with_a_value_are_dbts() -> None:
    """The options that may precede the command and take a value are the ones that dbt has."""
    valued = {name for one in cli.params if not one.is_flag for name in one.opts if name.startswith("--")}
    assert valued - {"--version"} == GLOBAL_VALUES


def parsed(step: str) -> dict[str, tuple[str, ...]]:
    """The options of a `dbt build` as dbt's own parser reads them."""
    words = shlex.split(step)
    assert words[:2] == ["dbt", "build"]
    folders = ["--profiles-dir", ".", "--project-dir", "."]
    return cli.commands["build"].make_context("build", [*folders, *words[2:]]).params


def members(step: str) -> set[frozenset[str]]:
    """A selection as dbt reads it: a union of intersections. See ``parse_union`` of dbt-core."""
    return {
        frozenset(member.split(","))
        for value in parsed(step)["select"]
        for member in value.split(" ")
        if member
    }


NAMES = st.text("abcxyz0*?.:/@+_", min_size=1, max_size=5)
UNIONS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(",".join), min_size=1, max_size=4)
SPELLINGS = st.sampled_from(
    [
        lambda union: ["--select", *union],
        lambda union: ["--select", " ".join(union)],
        lambda union: [f"--select={union[0]}", *union[1:]],
        lambda union: ["-s", *union],
        lambda union: [f"-fs{union[0]}", *union[1:]],
        lambda union: ["--models", *union],
        lambda union: [part for member in union for part in ("-m", member)],
    ]
)
OTHERS = st.lists(
    st.sampled_from(
        ["--full-refresh", "--threads 4", "--exclude q 'r s'", "--vars '{a: 1}'", "-x", "-t prod"]
    ),
    unique=True,
    max_size=3,
)


@given(UNIONS, SPELLINGS, OTHERS, OTHERS, st.lists(NAMES, min_size=1, max_size=3))
def test_nothing_is_selected_that_the_step_would_not(own, spelling, before, after, ours) -> None:
    """As dbt reads it, each member of the result is in one of the step's own and in one of ours."""
    step = " ".join(["dbt build", *before, shlex.join(spelling(own)), *after])
    narrowed = with_selection(step, ours)
    expected = {a | {b} for a, b in product(members(step), ours)}
    assert members(narrowed) == expected


@given(UNIONS, SPELLINGS, OTHERS, NAMES)
def test_nothing_else_of_the_step_changes(own, spelling, others, ours) -> None:
    """All other options reach dbt as before."""
    step = " ".join(["dbt build", shlex.join(spelling(own)), *others])
    before, after = parsed(step), parsed(with_vars(with_selection(step, [ours]), {"a": 1}))
    assert {**after, "select": ()} == {**before, "select": (), "vars": {"a": 1}}


@given(st.text("ab \t'\"\\$`;", max_size=12))
def test_words_are_the_shells(text: str) -> None:
    """A step is split into the words into which a shell splits it, and put together again from them."""
    step = f"dbt build {text}"
    try:
        words = shlex.split(step)
    except ValueError:
        with pytest.raises(StepError):
            Command.read(step)
    else:
        command = Command.read(step)
        assert [word.value for word in command.words] == words == shlex.split(str(command))
