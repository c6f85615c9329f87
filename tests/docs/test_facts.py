"""What the pages say of code and checkout is so: names, parameters, defaults, versions, links."""

import dataclasses
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_dbtcloud_dlt import helpers
from airflow_provider_dbtcloud_dlt.hooks.connection import JOB_DEFAULTS, Settings
from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook
from airflow_provider_dbtcloud_dlt.loads.address import READERS
from airflow_provider_dbtcloud_dlt.loads.mappings import MAPPINGS, ConnectionMapping, where
from airflow_provider_dbtcloud_dlt.loads.summary import LoadSummary
from airflow_provider_dbtcloud_dlt.provider_info import CONNECTION_FIELDS, CONNECTION_FORM

PACKAGE = "airflow_provider_dbtcloud_dlt"
ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
README = TEXTS["README.md"]
LINKS = [
    (name, target)
    for name, text in TEXTS.items()
    for target in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", text)
]
TABLES = [
    table
    for text in TEXTS.values()
    for table in re.findall(r"<!-- parameters: (\S+) -->\n((?:\|.*\n)+)", text)
]
MODULES = (
    "operators.dbt_cloud",
    "operators.dlt",
    "operators.dlt_resources",
    "groups",
    "sensors.dbt_cloud",
    "hooks.dbt_cloud",
    "triggers.dbt_cloud",
    "triggers.job_runs",
)


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table's rows, without those of its head."""
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table.splitlines()[2:]]


def section(title: str, page: str) -> str:
    """Return what stands on a page under a heading, up to the next of the same or a higher level."""
    text = TEXTS[page]
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, title
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table_after(text: str, head: str) -> list[list[str]]:
    """Return the rows of the table whose head begins so."""
    match = re.search(rf"^\| ?{re.escape(head)}.*\n(?:\|.*\n?)+", text, re.MULTILINE)
    assert match, head
    return rows(match[0])


def code(cell: str) -> list[str]:
    """Return what is set as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a text."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_a_link_leads_somewhere(name, target):
    """The file is there, and so is the heading."""
    file, _, anchor = target.partition("#")
    path = (ROOT / name).parent / file if file else ROOT / name
    assert path.exists()
    if anchor:
        assert anchor in anchors(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", MODULES)
def test_every_public_class_is_told_of(module):
    """Whatever a module offers is named on a page that people wrote, not only in the reference."""
    told = "".join(text for page, text in TEXTS.items() if "reference/" not in page)
    found = importlib.import_module(f"{PACKAGE}.{module}")
    names = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if inspect.isclass(value) and value.__module__ == found.__name__ and not name.startswith("_")
    ]
    errors = {"DbtCloudConnectionError", "DbtCloudJobRunException"}
    assert [name for name in names if name not in errors and name not in told] == []


@pytest.mark.parametrize("module", [*MODULES, "client", "helpers"])
def test_every_public_name_is_in_the_reference(module):
    """Once, on the page of the module that it comes from."""
    found = importlib.import_module(f"{PACKAGE}.{module}")
    shown = re.findall(rf"^::: {PACKAGE}\.(\S+)$", "\n".join(TEXTS.values()), re.MULTILINE)
    assert len(set(shown)) == len(shown)
    names = {path.rpartition(".")[2] for path in shown}
    own = [name for name in vars(found) if getattr(vars(found)[name], "__module__", "") == found.__name__]
    public = getattr(found, "__all__", None) or [name for name in own if not name.startswith("_")]
    assert [name for name in public if name not in names] == []


@pytest.mark.parametrize(("path", "table"), TABLES, ids=[path for path, _ in TABLES])
def test_a_table_has_exactly_the_parameters(path, table):
    """No parameter is missing from the table, and none of it is made up."""
    module, _, name = path.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)).parameters
    told = [word for cells in rows(table) for word in code(cells[0])]
    assert sorted(told) == sorted(name for name in parameters if name != "kwargs")


@pytest.mark.parametrize(("path", "table"), TABLES, ids=[path for path, _ in TABLES])
def test_a_table_has_the_defaults(path, table):
    """A default that is set as code is the signature's; one that is empty is None."""
    module, _, name = path.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)).parameters
    for cells in rows(table):
        for word in code(cells[0]):
            default = parameters[word].default
            if re.fullmatch(r"`[^`]+`", cells[1]):
                assert default == yaml.safe_load(cells[1].strip("`")), word
            elif cells[1] == "required":
                assert default is inspect.Parameter.empty, word
            elif cells[1] == "7 days":
                assert default == 7 * 24 * 60 * 60, word
            else:
                assert default in (None, False), word


@pytest.mark.parametrize(
    "name", ["DbtCloudGetJobRunArtifactOperator", "DbtCloudListJobsOperator", "DbtCloudListJobRunsOperator"]
)
def test_the_small_operators_have_these_parameters(name):
    """The row of an operator has the parameters beside those that all have."""
    operator = getattr(importlib.import_module(f"{PACKAGE}.operators.dbt_cloud"), name)
    own = set(inspect.signature(operator).parameters)
    own -= {"dbt_cloud_conn_id", "account_id", "hook_params", "kwargs"}
    table = table_after(section("Artifacts and lists", "docs/operators.md"), "Operator | Parameters")
    (cell,) = [cells[1] for cells in table if name in cells[0]]
    assert set(code(cell)) - {"-id"} == own


def test_the_fields_of_the_connection():
    """The table has the form's labels, each with its field."""
    table = {
        cells[0]: code(cells[1]) or [cells[1]]
        for cells in table_after(TEXTS["docs/connection.md"], "In the form")
    }
    labels = {label: [field] for field, label in CONNECTION_FORM["relabeling"].items()}
    labels |= {field["label"]: [name] for name, field in CONNECTION_FIELDS.items()}
    assert table == labels


def test_the_defaults_of_the_connection():
    """The numbers in the table are the code's."""
    defaults = {cells[0]: cells[3] for cells in table_after(TEXTS["docs/connection.md"], "In the form")}
    settings = Settings(origin="", api_token="")
    assert defaults["Request time-out"] == "{:.0f} and {:.0f}".format(*settings.timeout)
    assert defaults["Outage tolerance"] == f"{settings.outage_tolerance:.0f}"
    assert f"https://{defaults['Access URL'].strip('`')}/api" == settings.base_api_url


def test_the_fields_of_dlts_configuration():
    """The text about dlt's section names every field that it has."""
    text = section("dlt's configuration", "docs/connection.md")
    told = set(code(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)))
    told |= set(re.findall(r"^(\w+) =", text, re.MULTILINE))
    assert set(helpers.DBTCloudConfiguration().keys()) <= told
    assert set(JOB_DEFAULTS) <= told


def mapping_cells(mapping: ConnectionMapping) -> list[str]:
    """What the table says of a mapping: types, destination, and where dlt's fields come from."""
    readings = {**mapping.credentials, **mapping.settings}
    fields = [
        f"`{name}`" if where(reading) == name else f"`{name}` ← {where(reading)}"
        for name, reading in readings.items()
    ]
    at = f" at {', '.join(f'`{protocol}://`' for protocol in mapping.protocols)}" if mapping.protocols else ""
    types = ", ".join(f"`{conn_type}`" for conn_type in mapping.conn_types)
    refused = ", ".join(f"`{key}`" for key in mapping.refused)
    return [types, f"`{mapping.destination}`{at}", "; ".join(fields), refused]


def test_the_connections_for_destinations():
    """The table is the code's: each type, destination, field and refused extra."""
    table = table_after(
        section("Destinations from Airflow connections", "docs/destinations.md"), "Connection type"
    )
    assert table == [mapping_cells(mapping) for mapping in MAPPINGS]


def test_the_uris_of_tables():
    """The table has each destination whose tables have a URI of their own accord."""
    table = table_after(section("Assets of loads", "docs/assets.md"), "dlt's destination")
    assert [code(cells[0]) for cells in table][-1] == []
    assert {word for cells in table for word in code(cells[0])} == set(READERS)


def test_the_keys_of_a_summary():
    """The table names each key of a load's result."""
    table = table_after(section("The summary of a load", "docs/dlt.md"), "Key | Value")
    told = [word for cells in table for word in code(cells[0])]
    assert sorted(told) == sorted(field.name for field in dataclasses.fields(LoadSummary))


def test_the_official_hooks_methods():
    """Each method in the table of the hook exists, but for those that the table says are not there."""
    for cells in table_after(section("From the official provider", "docs/migration.md"), "Method"):
        there = [hasattr(DbtCloudHook, method) for method in code(cells[0])]
        assert set(there) == {cells[-1] != "not there"}, cells


def test_the_modules_to_import():
    """The table of import lines names modules that exist."""
    told = section("From the official provider", "docs/migration.md")
    ours = re.findall(rf"^\| .* `({PACKAGE}\.\w+\.\w+)` \|$", told, re.MULTILINE)
    assert len(ours) == 4
    for name in ours:
        importlib.import_module(name)


@pytest.mark.parametrize("function", [helpers.run_dbt_cloud_job, helpers.get_dbt_cloud_run_status])
def test_the_helpers_arguments(function):
    """The table has the arguments in their order, with their defaults."""
    (cell,) = [
        cells[1]
        for cells in table_after(TEXTS["docs/client.md"], "Function")
        if code(cells[0]) == [function.__name__]
    ]
    parameters = inspect.signature(function).parameters.values()

    def told(parameter: Any) -> str:
        with_default = parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not None
        return f"{parameter.name}={parameter.default}" if with_default else parameter.name

    assert code(cell) == [told(parameter) for parameter in parameters]


def pins(name: str = "constraints.txt") -> dict[str, str]:
    """The versions that a file of pins names, by distribution."""
    lines = (ROOT / ".ci" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if re.fullmatch(r"[\w.\-]+==\S+", line))


def test_the_required_versions():
    """They are what the package says."""
    required = {cells[0]: cells[1] for cells in table_after(TEXTS["docs/versions.md"], "| Required")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    minimum = dict(re.findall(r"([\w-]+)>=(\d+\.\d+)", " ".join(project["dependencies"])))
    assert required["Apache Airflow"] == f"{minimum['apache-airflow']} or newer"
    assert required["dlt"] == f"{minimum['dlt']} or newer"
    assert required["Python"] == f"{project['requires-python'].removeprefix('>=')} or newer"


def test_the_tested_versions():
    """They are what CI and `make test-all` install, each Airflow by pins of its own."""
    tested = {cells[0]: cells[2] for cells in table_after(TEXTS["docs/versions.md"], "| Required")}
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert tested["Python"] == ", ".join(workflow["jobs"]["checks"]["strategy"]["matrix"]["python"])
    assert tested["dlt"] == pins()["dlt"]
    assert tested["dbt-core, for the emulator"] == pins()["dbt-core"]
    told = re.search(r"^SUPPORTED := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told is not None
    *older, newest = told[1].split()
    assert sorted(re.findall(r"[\d.]+\d", tested["Apache Airflow"])) == sorted([*older, newest])
    assert pins()["apache-airflow"] == newest
    assert all(pins(f"constraints-{version}.txt")["apache-airflow"] == version for version in older)


def test_the_changelog_has_this_version():
    """The newest entry is the package's version."""
    newest = re.search(r"^## (\S+)", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert newest is not None
    assert newest[1] == importlib.import_module(PACKAGE).__version__


def test_examples_with_a_data_interval_have_one(all_blocks):
    """Schedules such as "@daily" have empty ones since Airflow 3: start and end are the same moment."""
    named = [one for one in all_blocks if re.search(r"data_interval_|allow_external_schedulers", one.text)]
    assert named
    assert [str(one) for one in named if "DataIntervalTimetable" not in one.text] == []


def test_the_readmes_faults_are_the_matrixs():
    """Each figure that the README tells of the fault matrix is the matrix's own."""
    matrix = TEXTS["docs/faults.md"].partition("<!-- matrix -->\n")[2].partition("<!-- /matrix -->")[0]
    head = [cell.strip() for cell in matrix.splitlines()[0][1:-1].split("|")]
    counted: dict[tuple[str, str], dict[str, str]] = {}
    what = trials = ""
    for cells in rows(matrix):
        what = cells[0] or what
        counted[what, cells[2]] = dict(zip(head, cells, strict=True))
    told = section("What becomes of runs when things fail", "README.md")
    for cells in table_after(told, "What goes wrong"):
        if cells[0]:
            what, _, trials = cells[0].rpartition(", ")
        for provider, figure in zip(("this provider", "official"), cells[2:], strict=True):
            (row,) = [
                row for (name, who), row in counted.items() if name.startswith(what) and who == provider
            ]
            assert (row["tasks"], row[cells[1]]) == (trials, figure), (what, provider)
    assert f"all {len(counted) // 2} rows" in README


def test_the_readmes_costs_are_the_benchs():
    """Each figure of the README's table is the median in the bench's first tables."""
    bench = TEXTS["docs/bench.md"]
    waits = {cells[1]: cells[2:4] for cells in table_after(bench, "runs | what") if cells[0] == "1,000"}
    stack = {cells[0]: cells[1:3] for cells in table_after(bench[bench.index("## 200 ") :], "what")}
    measured = [
        [waits["requests"]],
        [waits["connections"]],
        [waits["CPU, s"]],
        [waits["memory, MB"]],
        [waits["delay, s"], waits["delay at the 95th percentile, s"]],
        [stack["processes of tasks"]],
        [stack["CPU of all of Airflow, s"]],
        [stack["until all wait, s"]],
    ]
    told = table_after(section("What waiting costs", "README.md"), "| this provider")
    for cells, figures in zip(told, measured, strict=True):
        for place, cell in enumerate(cells[1:]):
            medians = [figure[place].partition(" ")[0] for figure in figures]
            assert re.findall(r"[\d,.]*\d", cell) == medians, cells
