"""Variables are put into a step's ``--vars``: merged with its own, and quoted so that nothing breaks out."""

import shlex
from datetime import date
from enum import Enum
from typing import Any

import pendulum
import pytest
import yaml
from dbt.config.utils import parse_cli_yaml_string
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_dbtcloud_dlt.results.command import StepError
from airflow_provider_dbtcloud_dlt.results.steps import dumped, with_vars


def variables(step: str) -> Any:
    """What dbt reads of a step's last ``--vars``."""
    words = shlex.split(step)
    return parse_cli_yaml_string(words[len(words) - words[::-1].index("--vars")], "vars")


@pytest.mark.parametrize(
    "step",
    [
        "dbt build",
        "dbt docs generate",
        "dbt run-operation grant --args '{role: reporter}'",
        "dbt source freshness --select source:raw",
        "dbt -q --target prod seed",
    ],
)
def test_every_command_gets_the_variables(step: str) -> None:
    """They follow the command's name, before whatever else it has."""
    given = with_vars(step, {"day": "2026-01-01"})
    assert given.replace(""" --vars '{"day": "2026-01-01"}'""", "") == step
    assert variables(given) == {"day": "2026-01-01"}


@pytest.mark.parametrize(
    "own",
    [
        "--vars '{a: 1, b: x}'",
        "--vars='{a: 1, b: x}'",
        """--vars '{"a": 1, "b": "x"}'""",
        """--vars "a: 1\nb: x" """,
        "--vars '{c: 9}' --vars '{a: 1, b: x}'",
    ],
)
def test_own_variables_are_kept(own: str) -> None:
    """Those that the step has stay, but for those that are given anew; of several dbt takes the last."""
    step = with_vars(f"dbt build {own} --threads 2", {"b": "y", "c": [2]})
    assert variables(step) == {"a": 1, "b": "y", "c": [2]}
    assert step.count("--vars") == 1
    assert step.endswith(" --threads 2")


def test_own_variables_keep_their_types() -> None:
    """What YAML takes for a date is one for dbt afterwards too."""
    step = with_vars("dbt build --vars '{day: 2026-01-01, yes: no, n: 1e3}'", {})
    assert variables(step) == {"day": date(2026, 1, 1), True: False, "n": "1e3"}


@pytest.mark.parametrize("own", ["[a]", "", "{", "a", "2026-13-45: x"])
def test_own_variables_that_are_none(own: str) -> None:
    """What dbt would refuse is left for it to refuse."""
    with pytest.raises(StepError, match="its --vars are no YAML mapping"):
        with_vars(f"dbt build --vars {shlex.quote(own)}", {"a": 1})


def test_vars_without_a_value() -> None:
    """A step that is broken stays as it is."""
    with pytest.raises(StepError, match="its --vars has no value"):
        with_vars("dbt build --vars", {"a": 1})


def test_type_without_a_form() -> None:
    """A value that is no data is named."""
    with pytest.raises(ValueError, match=r"<Colour.RED: 1> is a Colour, which YAML has no form for"):
        dumped({"colour": Enum("Colour", "RED")["RED"]})


def test_time_of_airflows_context() -> None:
    """A pendulum time is a time in YAML."""
    assert yaml.safe_load(dumped({"at": pendulum.datetime(2026, 1, 2, 3)})) == {
        "at": pendulum.datetime(2026, 1, 2, 3)
    }


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text("'\"\\$`;&|<>(){}[]#:,!%@*? \n\r\t\0\x85\xa0\u2028\ufeff")
    | st.sampled_from(["yes", "null", "~", "1e5", "0o7", "1_000", "2026-01-01", "<<", "=", ".inf", "- a"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=200), inner))
VARIABLES = st.dictionaries(st.text(max_size=200), VALUES, max_size=4)


@pytest.mark.slow
@given(VARIABLES)
def test_dbt_gets_every_value_as_it_was(given_vars: dict[str, Any]) -> None:
    """Whatever the values are: as dbt splits and reads the step, they are what was given."""
    step = with_vars("dbt build --select a", given_vars)
    words = shlex.split(step)
    assert [*words[:3], *words[4:]] == ["dbt", "build", "--vars", "--select", "a"]
    assert variables(step) == given_vars


@pytest.mark.slow
@given(VARIABLES)
def test_no_value_breaks_out(given_vars: dict[str, Any]) -> None:
    """The variables are one line of printable ASCII without the quote that is around them."""
    text = dumped(given_vars)
    assert text.isascii()
    assert text.isprintable()
    assert "'" not in text
