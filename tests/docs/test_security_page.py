"""Each promise of docs/security.md names tests, and these exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
PROMISES = [
    " ".join(item.split()) for item in re.findall(r"^- (.*?)(?=^- |^$)", PAGE, re.MULTILINE | re.DOTALL)
]
NAMED = sorted(
    {(file, name) for promise in PROMISES for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", promise)}
)


def functions(file: Path) -> set[str]:
    """Return the names of the functions of a file, and of its classes' methods."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: re.sub(r"\W+", "_", promise[:40]))
def test_a_promise_names_its_tests(promise):
    """A sentence that nothing holds to would be a hope."""
    sentence, _, tests = promise.partition("*Tests:*")
    assert re.match(r"\*\*.+\*\*", sentence)
    assert re.fullmatch(r"( `[\w/]+\.py::test_\w+`,?)+", tests)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file, name):
    """By its path below tests/."""
    assert name in functions(TESTS / file)


def test_the_page_has_its_promises():
    """The tests above look at something."""
    assert len(PROMISES) > 20
