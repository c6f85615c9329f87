"""README.md and the pages in docs/ taken apart: their examples run as they stand.

A comment before a block says how it is run: ``<!-- run: dag -->``, or why not: ``<!-- run: no, REASON -->``;
a name in it is that of the block as a file. A test that names ``dag_block`` is run for each of them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
"""The text of each page that the documentation consists of, by its path."""

SHELLS = ("sh", "console")
DATA = ("yaml", "toml", "json", "ini", "env", "sql")
_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- run: (?P<run>\w+)(?:,? (?P<name>[^\n]+?))? -->\n *)?```(?P<language>\w*)\n"
    r"(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    run: str | None
    """How it is run, as the comment before it says."""
    file: str
    """The name that it has as a file; of a block that is not run, the reason."""
    text: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


def blocks(markdown: str, page: str) -> list[Block]:
    """Return the fenced blocks of a text, in order."""
    found = []
    for match in _BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, match.start("text"))
        name = match["name"] or f"{Path(page).stem}_line_{line}.py".lower().replace("-", "_")
        found.append(Block(page, line, match["language"], match["run"], name, match["text"]))
    return found


BLOCKS = [block for page, text in PAGES.items() for block in blocks(text, page)]


KINDS = {
    "dag_block": lambda block: block.run == "dag",
    "python_block": lambda block: block.run == "python",
    "connection_block": lambda block: block.run == "connection",
    "data_block": lambda block: block.language in DATA,
    "shell_block": lambda block: block.language in SHELLS and block.run != "no",
}
"""Which blocks a test is run for that names such an argument."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, wanted in KINDS.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [block for block in BLOCKS if wanted(block)], ids=str)


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The text of each page, by its path."""
    return PAGES


@pytest.fixture(scope="session")
def readme() -> str:
    """The text of the README."""
    return PAGES["README.md"]


@pytest.fixture(scope="session")
def all_blocks() -> list[Block]:
    """The fenced blocks of all pages, those of the README first."""
    return BLOCKS


@pytest.fixture(scope="session")
def emulator_folder(tmp_path_factory: pytest.TempPathFactory, all_blocks: list[Block]) -> Path:
    """The folder that the quick start makes: emulator.yaml, and the dbt project that it names."""
    folder = tmp_path_factory.mktemp("quickstart")
    files = [block for block in all_blocks if block.run == "quickstart" and block.language != "sh"]
    assert "emulator.yaml" in [block.file for block in files]
    for block in files:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    return folder
