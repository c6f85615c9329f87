"""What mkdocs has to be told of this repository: a hook that mkdocs.yml names.

The site's first page is README.md, its last CHANGELOG.md, neither of which lies in ``docs/``. Links to other
files of the repository lead nowhere in the site: their text stays.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"\[(?P<text>[^\[\]]+)\]\((?P<up>(?:\.\./)+)(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside ``docs/``."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=within_docs(text)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn links that leave ``docs/`` into links to the site's pages, or into their text."""
    return without_outside(markdown)


def within_docs(text: str) -> str:
    """Return a page of the repository's top with its links as if it lay in ``docs/``."""
    return re.sub(r"\]\((?!https?:|#)(docs/)?", lambda match: "](" if match[1] else "](../", text)


def without_outside(text: str) -> str:
    """Return a page of ``docs/`` without its links to files beside it, except to those that are pages too."""

    def inside(match: re.Match[str]) -> str:
        page = PAGES.get(match["path"])
        below = match["up"].removeprefix("../")  # the way up to docs/ itself, from a folder in it
        return f"[{match['text']}]({below}{page}{match['anchor'] or ''})" if page else match["text"]

    return _LINK.sub(inside, text)
