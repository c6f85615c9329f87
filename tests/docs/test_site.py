"""The pages as a whole: all in the navigation, none too long, links that hold without a repository."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAVIGATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
README_LINES, PAGE_LINES = 320, 350


def listed(entries):
    """Yield the files of a part of the navigation."""
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [value] if isinstance(value, str) else listed(value)


def test_every_page_is_in_the_navigation_once(pages):
    """README.md and CHANGELOG.md are the first and the last."""
    there = {page.removeprefix("docs/") for page in pages if page != "README.md"}
    files = list(listed(NAVIGATION))
    assert (files[0], files[-1]) == ("index.md", "changelog.md")
    assert sorted(files[1:-1]) == sorted(there)


def test_no_page_is_too_long(pages):
    """Who reads one finds its end."""
    lengths = {page: text.count("\n") for page, text in pages.items()}
    assert lengths["README.md"] <= README_LINES
    assert {page: lines for page, lines in lengths.items() if lines > PAGE_LINES} == {}


def test_every_page_begins_with_its_title(pages):
    """There is one heading of the first level, on the first line."""
    for page, text in pages.items():
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert re.findall(r"^# .*$", prose, re.MULTILINE) == [text.splitlines()[0]], page


def test_the_readme_leads_to_every_page(pages, readme):
    """What the README does not lead to would be found by chance only."""
    led_to = set(re.findall(r"\]\((docs/[^)#]+)", readme))
    beyond = {page for page in pages if page.startswith("docs/reference/")} - {"docs/reference/index.md"}
    assert set(pages) - led_to - beyond == {"README.md"}


@pytest.fixture
def description(readme):
    """What PyPI shows: the README after the substitutions that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for change in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        readme = re.sub(change["pattern"], change["replacement"], readme)
    return readme


def test_the_description_on_pypi_has_no_link_into_the_repository(readme, description):
    """Links to other hosts are all that is left, and all of them are."""
    outside = re.findall(r"\]\((https://[^)]*)\)", readme)
    assert outside
    assert re.findall(r"\]\(([^)]*)\)", description) == outside


def test_the_description_on_pypi_lacks_nothing_else(readme, description):
    """The texts of the links stay, and so do code and tables."""

    def words(text):
        return re.sub(r"!\[.*?\]\(.*?\)|\]\([^)]*\)|\[", "", text).replace("]", "").split()

    assert words(description) == words(readme)


class TestLinksInTheSite:
    """What tools/site_pages.py makes of links that leave docs/."""

    @pytest.fixture
    def site_pages(self):
        pytest.importorskip("mkdocs", reason="mkdocs is not installed")
        import site_pages

        return site_pages

    @pytest.mark.parametrize(
        ("link", "becomes"),
        [
            ("[code](../dags_examples/x.py)", "code"),
            ("[first](../README.md)", "[first](index.md)"),
            ("[limits](../README.md#limits)", "[limits](index.md#limits)"),
            ("[limits](../../README.md#limits)", "[limits](../index.md#limits)"),
            ("[changes](../CHANGELOG.md)", "[changes](changelog.md)"),
            ("[other](other.md#part)", "[other](other.md#part)"),
            ("[out](https://example.com/../x)", "[out](https://example.com/../x)"),
        ],
    )
    def test_a_link_of_a_page(self, site_pages, link, becomes):
        """It leads to a page of the site, or only its text stays."""
        assert site_pages.without_outside(link) == becomes

    @pytest.mark.parametrize(
        ("link", "becomes"),
        [
            ("[page](docs/page.md#part)", "[page](page.md#part)"),
            ("![picture](docs/images/x.svg)", "![picture](images/x.svg)"),
            ("[changes](CHANGELOG.md)", "[changes](../CHANGELOG.md)"),
            ("[here](#here)", "[here](#here)"),
            ("[out](https://example.com)", "[out](https://example.com)"),
        ],
    )
    def test_a_link_of_the_readme(self, site_pages, link, becomes):
        """It is as if the README lay in docs/."""
        assert site_pages.within_docs(link) == becomes
