"""Every block of code is of a kind that is run or checked; what can't be says why."""

import configparser
import json
import re
import tomllib

import sqlglot
import yaml

WAYS = {
    "python": {"dag", "python", "pytest", "airflow"},
    "toml": {None, "connection"},
    "yaml": {None, "yaml", "quickstart"},
    "json": {None},
    "ini": {None},
    "env": {None},
    "sh": {None, "connection", "quickstart"},
    "console": {None},
    "sql": {None, "quickstart"},
    "text": {None},
}
"""How blocks of a language are run; None: nothing is said, and a test of its language looks at them."""


def test_every_block_is_run_or_checked(all_blocks):
    """A block has a language, and a comment that says how it is run where that has to be said."""
    known = [block for block in all_blocks if block.run in WAYS.get(block.language, ())]
    assert [str(block) for block in all_blocks if block not in known and block.run != "no"] == []


def test_a_block_that_is_not_run_says_why(all_blocks):
    """The reason is a sentence's worth of words."""
    reasons = {str(block): block.file for block in all_blocks if block.run == "no"}
    assert {block: reason for block, reason in reasons.items() if len(reason.split()) < 4} == {}


def test_no_fence_is_overlooked(pages, all_blocks):
    """The taking apart has found as many blocks as there are fences."""
    for page, text in pages.items():
        fences = re.findall(r"^ *```", text, re.MULTILINE)
        assert len(fences) == 2 * len([block for block in all_blocks if block.page == page]), page


def test_data_can_be_read(data_block):
    """YAML, TOML, JSON, INI, SQL and lines of NAME=value are what they claim to be."""
    text = data_block.text
    if data_block.language == "yaml":
        assert yaml.safe_load(text)
    elif data_block.language == "toml":
        assert tomllib.loads(text)
    elif data_block.language == "json":
        assert json.loads(text)
    elif data_block.language == "ini":
        assert configparser.ConfigParser(interpolation=None).read_string(text) is None
    elif data_block.language == "sql":
        assert sqlglot.parse_one(re.sub(r"\{\{.*?\}\}", "a_relation", text))
    else:
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not re.match(r"[A-Z][A-Z0-9_]*=", line)] == []
