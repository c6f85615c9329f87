"""What importing a module of ours imports: DAG files are read every few seconds, and dlt takes its time.

The contracts in `.importlinter` say who may import whom at all; here it is about *when*.
"""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import official_provider
import pytest

import airflow_provider_dbtcloud_dlt as package

NAME = package.__name__
ROOT = Path(package.__file__).parent
MAY_IMPORT_DLT = (f"{NAME}.helpers", f"{NAME}.loads")
MODULES = {
    ".".join((NAME, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Return whether a module is one of these or lies in one."""
    return any(module == one or module.startswith(f"{one}.") for one in packages)


def executed(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported: none in functions or for type checkers."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from executed(node.orelse)
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from executed(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from executed(handler.body)


def imported(module: str, path: Path) -> set[str]:
    """Return what a module imports at its top: modules, and for a `from` each name in them too."""
    parent = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in executed(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parent[: len(parent) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if not within(name, MAY_IMPORT_DLT)])
def test_dlt_waits_until_a_function_needs_it(module):
    """Outside `helpers` and `loads` no module imports dlt, or one of these two, at its top."""
    forbidden = ("dlt", *MAY_IMPORT_DLT)
    assert [name for name in imported(module, MODULES[module]) if within(name, forbidden)] == []


@pytest.mark.parametrize(
    "source", ["import dlt", "from dlt.common import x", "try:\n  import dlt\nexcept: pass"]
)
def test_an_import_that_runs_is_found(tmp_path, source):
    """The check above sees through the forms that an import can take."""
    path = tmp_path / "module.py"
    path.write_text(source)
    assert any(within(name, ("dlt",)) for name in imported("package.module", path))


@pytest.mark.parametrize(
    "source", ["def f():\n  import dlt", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import dlt"]
)
def test_an_import_that_waits_is_let_pass(tmp_path, source):
    """The check above minds neither functions nor what only a type checker reads."""
    path = tmp_path / "module.py"
    path.write_text(source)
    assert not any(within(name, ("dlt",)) for name in imported("package.module", path))


@functools.cache
def added(statement: str, base: str = "") -> frozenset[str]:
    """Return the names of what a statement loads beyond another, in an interpreter of its own."""
    code = f"import sys\n{base}\nbefore = {{*sys.modules}}\n{statement}\nprint(*({{*sys.modules}} - before))"
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    return frozenset(answer.stdout.splitlines()[-1].split())


def added_to_airflow(*modules: str) -> frozenset[str]:
    """Return what importing these modules loads beyond `airflow.sdk`, which every DAG file imports."""
    return added(f"import {', '.join(modules)}", base="import airflow.sdk")


def test_importing_the_package_imports_neither_airflow_nor_dlt():
    """The package itself is only a name and a version."""
    assert added(f"import {NAME}").isdisjoint({"airflow", "dlt", "requests"})


def test_importing_the_client_imports_neither_airflow_nor_dlt():
    """The client works where neither is installed."""
    assert added(f"import {NAME}.client").isdisjoint({"airflow", "dlt"})


def test_a_dag_file_that_imports_everything_imports_nothing_heavy():
    """Operators, sensor and decorator bring in nothing heavy beyond what Airflow itself imports."""
    modules = ("operators.dbt_cloud", "operators.dlt", "sensors.dbt_cloud", "decorators.dlt")
    airflow = "import airflow.sdk, airflow.sdk.bases.decorator, airflow.triggers.base"
    loaded = added("\n".join(f"import {NAME}.{module}" for module in modules), base=airflow)
    assert loaded.isdisjoint(
        {"dlt", "dbt", "duckdb", "fastapi", "numpy", "pandas", "rich", "sqlglot", "uvicorn"}
    )


@pytest.mark.parametrize("module", ["operators.dbt_cloud", "sensors.dbt_cloud"])
def test_what_a_dag_file_imports_cannot_talk_to_a_server_yet(module):
    """Operators and sensor leave the HTTP library to the first client that is made."""
    assert added_to_airflow(f"{NAME}.{module}").isdisjoint({"requests", "urllib3", "aiohttp", "httpx"})


def test_airflows_processes_load_nothing_for_the_plugin():
    """All of them load plug-ins: what serves the page waits until somebody opens it."""
    loaded = added(f"import {NAME}.plugin", base="import airflow.plugins_manager")
    assert loaded <= {NAME, f"{NAME}.compat", f"{NAME}.plugin"}


@pytest.mark.slow
def test_a_dag_file_loads_a_fraction_of_what_the_official_provider_does():
    """Operators and sensor load at most 60 % of the modules that the official provider's load."""
    official_provider.require()
    ours = added_to_airflow(f"{NAME}.operators.dbt_cloud", f"{NAME}.sensors.dbt_cloud")
    official = "airflow.providers.dbt.cloud"
    theirs = added_to_airflow(f"{official}.operators.dbt", f"{official}.sensors.dbt")
    assert len(ours) <= 0.6 * len(theirs)


def test_a_dag_file_does_not_load_what_reads_results():
    """A run's results, projects and commands are read when there is a run."""
    loaded = added(f"import {NAME}.operators.dbt_cloud, {NAME}.operators.dlt, {NAME}.sensors.dbt_cloud")
    assert [name for name in loaded if name.startswith((f"{NAME}.results", f"{NAME}.run_results"))] == []


def test_a_dag_file_does_not_load_openlineage():
    """Nor what tells it of runs; of its provider Airflow itself reads the description."""
    loaded = added(f"import {NAME}.operators.dbt_cloud, {NAME}.operators.dlt, {NAME}.sensors.dbt_cloud")
    provider = "airflow.providers.openlineage"
    known = {provider, f"{provider}.get_provider_info"}
    assert [name for name in loaded - known if "openlineage" in name.split(".")] == []
