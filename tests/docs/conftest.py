"""README.md and the guides taken apart: their examples run as they stand.

A comment before a block says how it is run: ``<!-- run: dag -->``. A test that names ``dag_block`` is run for
each such block.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "docs/connection.md", "docs/migration.md")
"""What is told of the package and run as it stands; the guides have tests of their own."""
KINDS = ("dag", "python", "pytest", "connection", "emulator")

_BLOCK = re.compile(
    r"^(?:<!-- run: (?P<run>\w+) ?(?P<name>\S+)? -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
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
    text: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


def blocks(markdown: str, page: str = "") -> list[Block]:
    """Return the fenced blocks of a text, in order."""
    found = []
    for match in _BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, match.start("text"))
        name = match["name"] or f"{Path(page).stem}_line_{line}.py".lower()
        found.append(Block(page, line, match["language"], match["run"], name, match["text"]))
    return found


def blocks_of_pages() -> list[Block]:
    """Return the fenced blocks of all pages, those of the README first."""
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    return [block for page, text in texts.items() for block in blocks(text, page)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for kind in KINDS:
        if f"{kind}_block" in metafunc.fixturenames:
            chosen = [block for block in blocks_of_pages() if block.run == kind]
            metafunc.parametrize(f"{kind}_block", chosen, ids=str)


@pytest.fixture(scope="session")
def markdown_blocks() -> Callable[[str], list[Block]]:
    """How to take another text apart."""
    return blocks


@pytest.fixture(scope="session")
def readme() -> str:
    """The text of the README."""
    return README


@pytest.fixture(scope="session")
def readme_blocks() -> list[Block]:
    """The fenced blocks of the README and of the pages that go with it."""
    return blocks_of_pages()


@pytest.fixture(scope="session")
def emulator_folder(tmp_path_factory: pytest.TempPathFactory, readme_blocks: list[Block]) -> Path:
    """A folder with the README's emulator.yaml and the dbt project that it names."""
    folder = tmp_path_factory.mktemp("emulator")
    (text,) = [block.text for block in readme_blocks if block.language == "yaml"]
    (folder / "emulator.yaml").write_text(text, encoding="utf-8")
    (folder / "dbt").mkdir()
    (folder / "dbt" / "dbt_project.yml").write_text("name: analytics\n", encoding="utf-8")
    return folder
