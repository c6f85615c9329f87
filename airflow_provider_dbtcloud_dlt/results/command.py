"""A step of a job taken apart: which dbt command it is, and where its options are.

What is not changed stays as it was written, quotes included: only dbt Cloud knows how it reads a step. See
https://docs.getdbt.com/reference/dbt-commands for the commands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

COMMANDS = frozenset(
    ("build", "clean", "clone", "compile", "debug", "deps", "docs", "init", "list", "ls", "parse", "retry")
    + ("run", "run-operation", "seed", "show", "snapshot", "source", "test")
)
GROUPS = frozenset(("docs", "source"))
"""The commands that a second word belongs to: ``dbt source freshness``."""

# What may precede the command and takes a value, which may well be called like a command:
# `dbt --target test build`. Written down, since dbt takes a second to import, and a test compares.
GLOBAL_VALUES = frozenset(
    ("--defer-state", "--deprecated-defer", "--deprecated-favor-state", "--deprecated-state")
    + ("--indirect-selection", "--log-file-max-bytes", "--log-format", "--log-format-file", "--log-level")
    + ("--log-level-file", "--log-path", "--partial-parse-file-path", "--printer-width", "--profile")
    + ("--record-timing-info", "--state", "--target", "--warn-error-options")
)
_GLOBAL_SHORT_VALUE = re.compile(r"-[dqvVx]*[rt]")
"""`-t` is --target, `-r` --record-timing-info; `-q` and its like have no value and may stand before them."""

_WORD = re.compile(r"""(?:[^ \t\r\n'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
_SELECT_SHORT = re.compile(r"-(?P<flags>[dfqvVxh]*)(?P<name>[sm])(?P<value>.*)", re.DOTALL)
_SELECT_LONG = ("--select", "--models", "--model")


class StepError(ValueError):
    """A step that must stay as it is; the message goes on from "it stays as it is: "."""


@dataclass(frozen=True)
class Word:
    """A word of a step.

    Attributes:
        text: As it is written, quotes included.
        value: As dbt gets it.
    """

    text: str
    value: str

    @classmethod
    def of(cls, value: str) -> Self:
        """A word that reaches dbt as this value, whatever is in it."""
        return cls(shlex.quote(value), value)

    @property
    def is_option(self) -> bool:
        """Whether dbt takes it for an option, and for the end of the values before it."""
        return self.value.startswith("-")


@dataclass(frozen=True)
class Option:
    """An option of a step.

    Attributes:
        name: As it is written: ``--select``, ``-s``.
        values: What follows it.
        start: Its first word's place in the step.
        end: The place after its last word.
    """

    name: str
    values: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Command:
    """A step's dbt command.

    Attributes:
        words: All of the step.
        name: ``build``, ``source freshness`` …
        at: The place after the command's name: there an option can be put, whatever follows.
    """

    words: tuple[Word, ...]
    name: str
    at: int

    @classmethod
    def read(cls, step: str) -> Self:
        """Take a step apart.

        Raises:
            StepError: It is no dbt command that is known here.
        """
        try:
            values = shlex.split(step)
        except ValueError as error:
            raise StepError(f"it cannot be split into words ({error})") from None
        texts = _WORD.findall(step)
        if len(texts) != len(values) or not values or values[0] != "dbt":
            raise StepError("it is no dbt command")
        words = tuple(map(Word, texts, values))
        at = _next_word(words, 1)
        name = words[at].value if at < len(words) else ""
        if name in GROUPS:
            at = _next_word(words, at + 1)
            name += f" {words[at].value}" if at < len(words) else ""
        elif name not in COMMANDS:
            raise StepError("its dbt command is not known here")
        return cls(words, name, at + 1)

    def __str__(self) -> str:
        return " ".join(word.text for word in self.words)

    def with_words(self, start: int, end: int, values: Sequence[str]) -> Self:
        """The command with these words instead of those from `start` up to `end`."""
        words = (*self.words[:start], *map(Word.of, values), *self.words[end:])
        return replace(self, words=words)

    def has(self, *names: str) -> bool:
        """Whether one of these long options is given, before the command's name or after it."""
        return any(word.value.partition("=")[0] in names for word in self.words)

    def selections(self) -> Iterator[Option]:
        """The options that select, in order. Of several dbt takes all, each with all values that follow it.

        See https://docs.getdbt.com/reference/node-selection/syntax, and ``MultiOption`` of dbt-core.
        """
        at = self.at
        while at < len(self.words):
            start, at = at, at + 1
            word = self.words[start].value
            name, equals, value = word.partition("=")
            if short := _SELECT_SHORT.fullmatch(word):
                flags = f"-{short['flags']} " if short["flags"] else ""
                name, value = f"{flags}-{short['name']}", short["value"]
            elif name not in _SELECT_LONG:
                continue
            if not value and not equals and at < len(self.words):
                value, at = self.words[at].value, at + 1
            values = [value]
            while at < len(self.words) and not self.words[at].is_option:
                values.append(self.words[at].value)
                at += 1
            yield Option(name, tuple(values), start, at)

    def valued(self, name: str) -> Iterator[Option]:
        """The long options of this name, in order, each with its one value. Of several dbt takes the last."""
        at = self.at
        while at < len(self.words):
            start, at = at, at + 1
            word, equals, value = self.words[start].value.partition("=")
            if word != name:
                continue
            if not equals:
                if at == len(self.words):
                    raise StepError(f"its {name} has no value")
                value, at = self.words[at].value, at + 1
            yield Option(name, (value,), start, at)


def _next_word(words: Sequence[Word], at: int) -> int:
    """The place of the first word, from `at` on, that is neither a global option nor the value of one."""
    while at < len(words) and words[at].is_option:
        value = words[at].value
        at += 2 if value in GLOBAL_VALUES or _GLOBAL_SHORT_VALUE.fullmatch(value) else 1
    return at
