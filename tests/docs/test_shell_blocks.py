"""The commands that the pages show name what exists: targets, modules, files, extras, services, options.

They are not run: each would be understood by the program that it names.
"""

import ast
import functools
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from airflow.cli import cli_parser
from airflow.sdk import Connection
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command; of a console, of the lines behind its prompts."""
    if text.startswith("$ "):
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    text = re.sub(r"(^|[ \t])#.*$", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    words: list[str] = []
    for word in lexer:
        if word and set(word) <= set(";&|\n"):
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def check(words: list[str]) -> None:
    """Fail unless the command names what exists."""
    while (set_for_it := ASSIGNMENT.fullmatch(words[0])) is not None:
        check_variable(set_for_it[1], set_for_it[2])
        if not (words := words[1:]):
            return
    program = words[0].removeprefix(".venv/bin/")
    assert program in CHECKS, f"this test knows no {program}: teach it, or mark the block with a reason"
    CHECKS[program](words[1:])


def check_variable(name: str, value: str) -> None:
    if name.startswith("AIRFLOW_CONN_"):
        read = Connection.from_json if value.startswith("{") else Connection.from_uri
        assert read(value, conn_id="any").conn_type


def check_exports(words: list[str]) -> None:
    for word in words:
        match = ASSIGNMENT.fullmatch(word)
        assert match, word
        check_variable(match[1], match[2])


def check_make(words: list[str]) -> None:
    assert {word for word in words if "=" not in word} <= TARGETS
    for word in words:
        if (match := ASSIGNMENT.fullmatch(word)) is not None:
            assert match[1] in VARIABLES
            tool = ROOT / "tools" / f"{words[0]}.py"
            if tool.exists():
                assert_options(match[2].split(), tool.read_text(encoding="utf-8"))


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words[1]
        assert_options(words[2:], help_of(words[1]))
    elif words[0] == "-c":
        ast.parse(words[1])
    else:
        assert_options(words[1:], (ROOT / words[0]).read_text(encoding="utf-8"))


def check_pytest(words: list[str]) -> None:
    markers = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    if "-m" in words:
        place = words.index("-m")
        assert set(words[place + 1].split()) <= markers | {"not", "and", "or"}
        words = words[:place] + words[place + 2 :]
    for word in words:
        assert word.startswith("-") or (ROOT / word).exists(), word


def check_pip(words: list[str]) -> None:
    assert words[0] in {"install", "uninstall"}
    extras = PROJECT["project"]["optional-dependencies"]
    for word in words[1:]:
        if word.startswith("-") or (ROOT / word).is_file():
            continue
        requirement = Requirement(re.sub(r"^\.(?=\[|$)", PROJECT["project"]["name"], word))
        if requirement.name == PROJECT["project"]["name"]:
            assert requirement.extras <= extras.keys()


def check_airflow(words: list[str]) -> None:
    try:
        cli_parser.get_parser().parse_args(words)
    except SystemExit as error:
        assert error.code == 0, words  # noqa: PT017 - argparse has no other way to tell


def check_docker(words: list[str]) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
    assert words[0] == "compose"
    named = {word for word in words[2:] if not word.startswith("-")}
    assert named <= services.keys()


def check_file(path: str) -> Callable[[list[str]], None]:
    def check_words(_: list[str]) -> None:
        assert (ROOT / path).is_file()

    return check_words


def check_nothing(_: list[str]) -> None:
    """Take the word of whoever wrote it: the program is the system's."""


CHECKS: dict[str, Callable[[list[str]], None]] = {
    **dict.fromkeys(("apt-get", "grep", "sed", "xargs"), check_nothing),
    ".ci/run": check_file(".ci/run"),
    "airflow": check_airflow,
    "docker": check_docker,
    "export": check_exports,
    "make": check_make,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
}


@functools.cache
def help_of(module: str) -> str:
    """Return what a module of ours says about its command line."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def assert_options(words: list[str], told: str) -> None:
    """Fail if an option is none of those that a help text or a source tells of."""
    assert {word.partition("=")[0] for word in words if OPTION.match(word)} <= set(OPTION.findall(told))


def test_the_commands_name_what_exists(shell_block):
    """Each command of the block would be understood."""
    found = list(commands(shell_block.text))
    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize(
    "wrong",
    [
        "make nonsense",
        "make test NONSENSE=1",
        "make faults FAULTS_ARGS='--nonsense'",
        "python -m airflow_provider_dbtcloud_dlt.emulator --nonsense",
        "python -m airflow_provider_dbtcloud_dlt.nonsense",
        "python tools/nonsense.py",
        "pytest -m nonsense",
        "pytest tests/nonsense",
        'pip install ".[nonsense]"',
        "airflow backfill create --nonsense",
        "docker compose logs nonsense",
        "nonsense",
        "export AIRFLOW_CONN_X='{\"nonsense\": 1}'",
    ],
)
def test_a_wrong_command_is_noticed(wrong):
    """The checks above see what does not exist."""
    (words,) = commands(wrong)
    with pytest.raises((AssertionError, OSError, TypeError)):
        check(words)


def test_commands_are_taken_apart_as_a_shell_does():
    """Comments, continued lines, quotes over several lines, and several commands in a line."""
    text = "make a # not b\nexport X='{\n 1}' && make \\\n c; make d\n"
    assert list(commands(text)) == [["make", "a"], ["export", "X={\n 1}"], ["make", "c"], ["make", "d"]]


def test_the_targets_and_options_in_the_text_exist(pages):
    """Each `make` target set as code in a sentence, and each option behind one."""
    told = {name for text in pages.values() for name in re.findall(r"`make ([a-z-]+)", text)}
    assert {"demo", "airflow", "docs", "release", "test"} <= told <= TARGETS


def test_the_extras_in_the_text_exist(pages):
    """Each extra of ours that is to be installed."""
    told = {name for text in pages.values() for name in re.findall(r'pip install "\.\[(\w+)\]"', text)}
    assert told
    assert told <= PROJECT["project"]["optional-dependencies"].keys()


def test_the_emulators_options_in_the_text_exist(pages):
    """Its pages, and the quick start, tell of no other options than it has; dbt's are named as dbt's."""
    texts = [text for page, text in pages.items() if "emulator" in page or "quickstart" in page]
    told = {name for text in texts for name in re.findall(r"`(--[a-z][a-z-]+)", text)}
    dbts = {"--vars", "--target-path", "--project-dir", "--help"}
    assert {"--project", "--config", "--tls"} <= told
    assert told - dbts <= set(OPTION.findall(help_of("airflow_provider_dbtcloud_dlt.emulator")))


def test_json_in_a_console_is_json(all_blocks):
    """A connection that is written as JSON can be read as it stands."""
    shown = [
        text for block in all_blocks for text in re.findall(r"AIRFLOW_CONN_\w+='(\{.*?\})'", block.text, re.S)
    ]
    assert shown
    assert all("conn_type" in json.loads(text) for text in shown)
