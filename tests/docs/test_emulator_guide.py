"""What the emulator's pages say is so: their examples run, their tables are complete."""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from processes import isolated_environment

from airflow_provider_dbtcloud_dlt.emulator import admin, config, faults, scripted, testing
from airflow_provider_dbtcloud_dlt.emulator.api import app as api

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("emulator.md", "emulator-tests.md", "emulator-conformance.md")
GUIDE = "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in NAMES)


@pytest.fixture(scope="session")
def guide_blocks(all_blocks):
    """The fenced blocks of the emulator's pages."""
    return [block for block in all_blocks if block.page.removeprefix("docs/") in NAMES]


def code_in_rows(head: str) -> list[str]:
    """Return what is set as code in the first cells of the table whose head begins so."""
    (table,) = re.findall(rf"^\| {re.escape(head)}.*\n\|[-|]+\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    cells = [line.split("|")[1] for line in table.splitlines()]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.slow
def test_the_examples_of_tests_pass(guide_blocks, tmp_path):
    """All of the guide's Python is tests, and those that need no Airflow's database pass."""
    python = [block for block in guide_blocks if block.language == "python"]
    assert {block.run for block in python} == {"pytest", "airflow"}
    for block in (block for block in python if block.run == "pytest"):
        (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=isolated_environment(tmp_path) | {"AIRFLOW_HOME": str(tmp_path / "airflow")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_configuration_is_served(guide_blocks, tmp_path):
    """The YAML is one that the emulator accepts."""
    block = next(block for block in guide_blocks if block.language == "yaml")  # the other is a dbt profile
    (tmp_path / "dbt").mkdir()
    (tmp_path / "dbt" / "dbt_project.yml").write_text("name: analytics\n")
    served = config.parse(yaml.safe_load(block.text), tmp_path)
    assert (len(served.jobs), len(served.tokens), len(served.faults), served.seed) == (2, 3, 1, 1)
    assert (served.webhooks.hosts, len(served.webhooks.pauses)) == (("receiver.internal",), 5)


def test_every_key_of_the_configuration_is_told_of(guide_blocks):
    """The YAML leaves no key of the file out."""
    block = next(block for block in guide_blocks if block.language == "yaml")  # the other is a dbt profile
    assert set(yaml.safe_load(block.text)) == set(config._File.model_fields)


def test_every_kind_of_fault_is_told_of():
    """In the order of the code."""
    assert code_in_rows("`kind`") == list(get_args(faults.Kind))


def test_every_endpoint_is_told_of():
    """By the name that faults have for it."""
    assert set(code_in_rows("Endpoint")) == api.ENDPOINTS


def test_every_request_to_the_emulator_is_told_of():
    """In the guide and in the module's own words."""
    told = {re.sub(r"\{\w+\}", "ID", request) for request in code_in_rows("Request |")}
    known = {
        f"{method} {re.sub(r'{[^}]+}', 'ID', route.path)}"
        for route in admin._router.routes
        for method in route.methods
    }
    assert told == known


def test_every_argument_of_the_context_manager_is_told_of():
    """In its order."""
    assert code_in_rows("Argument of `emulator()`") == list(inspect.signature(testing.emulator).parameters)


def test_every_key_of_a_script_is_told_of():
    """As the file has them."""
    assert set(code_in_rows("Key")) == {field.name for field in dataclasses.fields(scripted.Script)}


def test_what_it_yields_has_what_is_told():
    """Each name in the sentence is an attribute or a method."""
    (sentence,) = re.findall(r"What it yields knows (.*?)\n\n", GUIDE, re.DOTALL)
    names = {name.removesuffix("()") for name in re.findall(r"`(\w+(?:\(\))?)`", sentence)}
    source = inspect.getsource(testing.Emulator)
    attributes = set(dir(testing.Emulator)) | set(re.findall(r"self\.(\w+)\b", source))
    assert names <= attributes
    assert len(names) > 10
