"""Every example of the pages runs: DAGs and scripts against the emulator, settings by what reads them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection
from processes import isolated_environment

from airflow_provider_dbtcloud_dlt.emulator import config
from airflow_provider_dbtcloud_dlt.emulator.testing import emulator
from airflow_provider_dbtcloud_dlt.hooks import connection

RUNNER = Path(__file__).with_name("run_airflow_examples.py")
JOB_ID = 67890
RUN_SECONDS = 900
PARSE = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag
found = {}
for file in sys.argv[1:]:
    bag = DagBag(file)
    found[file] = [bag.import_errors, {name: len(dag.tasks) for name, dag in bag.dags.items()}]
found["heavy"] = sorted({"dlt", "duckdb", "pandas"} & set(sys.modules))
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def in_airflow(tmp_path_factory, all_blocks, emulator_folder) -> dict[str, Any]:
    """What the pages' DAGs, and tests of DAGs, did in an Airflow of their own."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(emulator_folder, folder, dirs_exist_ok=True)
    home, answer = folder / "airflow", folder / "answer.json"
    (home / "dags").mkdir(parents=True)
    for block in all_blocks:
        if block.run in {"dag", "airflow"}:
            place = home / "dags" if block.run == "dag" else folder
            (place / block.file).write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(home), str(answer)],
        cwd=folder,
        env=isolated_environment(folder)
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert answer.exists(), done.stdout[-5000:]
    return {**json.loads(answer.read_text(encoding="utf-8")), "log": done.stdout}


@pytest.fixture
def dbt_cloud(tmp_path, monkeypatch, emulator_folder):
    """An emulator that serves the quick start's account, and the environment that leads there both ways."""
    monkeypatch.chdir(tmp_path)
    with emulator(emulator_folder / "emulator.yaml") as emu:
        emu.script_job(JOB_ID, artifacts={"run_results.json": '{"results": []}'})
        monkeypatch.setenv("AIRFLOW_CONN_DBT_CLOUD_DEFAULT", emu.airflow_connection())
        for name, value in emu.settings.items():
            monkeypatch.setenv(name, value)
        yield emu


def test_the_first_example_ends_within_forty_lines(all_blocks):
    """Problem, promise and a complete DAG are on the first screen."""
    first = all_blocks[0]
    assert (first.run, first.line + first.text.count("\n") + 1 <= 40) == ("dag", True)


@pytest.fixture(scope="module")
def parsed(tmp_path_factory, all_blocks) -> dict[str, Any]:
    """What an interpreter of its own, which has no Airflow database, makes of the DAG files."""
    folder = tmp_path_factory.mktemp("parsed")
    files = [block for block in all_blocks if block.run == "dag"]
    for block in files:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *(block.file for block in files)],
        cwd=folder,
        env=isolated_environment(folder)
        | {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_dag_is_parsed(dag_block, parsed):
    """The file has one DAG, which has tasks."""
    errors, dags = parsed[dag_block.file]
    assert errors == {}
    assert [bool(tasks) for tasks in dags.values()] == [True]


def test_the_dags_have_names_of_their_own(parsed):
    """One Airflow can have all of them at once."""
    names = [name for file, told in parsed.items() if file != "heavy" for name in told[1]]
    assert len(set(names)) == len(names) > 15


def test_parsing_imports_nothing_heavy(parsed):
    """Not one of the files makes Airflow load dlt every few seconds."""
    assert parsed["heavy"] == []


@pytest.mark.slow
def test_a_dag_runs_to_its_end(dag_block, in_airflow):
    """The DAG file is imported, and each of its tasks succeeds."""
    told = in_airflow[dag_block.file]
    errors = [line for line in in_airflow["log"].splitlines() if "[error" in line or "Error" in line]
    assert told.get("state") == "success", told.get("error", "\n".join(errors))
    assert set(told["tasks"].values()) == {"success"}


@pytest.mark.slow
def test_the_marker_is_as_described(in_airflow):
    """A run's cause begins with a marker of the form that the page on guarantees shows."""
    causes = in_airflow["causes"]
    assert causes
    ours = [cause for cause in causes if cause != "Triggered via API"]  # the helpers' own
    assert [cause for cause in ours if not re.match(r"\[af:[0-9a-f]{16}/\d+\] \S", cause)] == []


@pytest.mark.slow
def test_the_load_ids_reach_dbt_cloud(in_airflow):
    """The template that hands dlt's load ids to the cause renders to them."""
    assert [cause for cause in in_airflow["causes"] if re.search(r"\] dlt loads \d+\.\d+$", cause)]


@pytest.mark.slow
def test_a_load_is_an_asset_event(in_airflow):
    """Airflow has an event for the table of the load that the chapter on assets is about."""
    extras = [
        extra
        for uri, alias, extra in in_airflow["asset_events"]
        if uri.endswith("/raw_shop/invoices") and alias.startswith("dlt:invoices_to_the_warehouse_invoices_")
    ]
    assert [(extra["table"], extra["rows"]) for extra in extras] == [("invoices", 1)]


@pytest.mark.slow
def test_the_examples_of_tests_pass(in_airflow):
    """The tests of a DAG that a page shows pass."""
    assert in_airflow["tests"] == 0, in_airflow["log"][-5000:]


def test_a_script_runs(python_block, dbt_cloud, capsys):
    """The script ends without an exception and prints something."""
    exec(compile(python_block.text, str(python_block), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


def exported(text: str) -> dict[str, str]:
    """Return the variables that a block of ``export NAME=value`` lines sets."""
    words = shlex.split(text)
    assert words[0] == "export"
    return dict(word.split("=", 1) for word in words if word != "export")


def settings_of(block: Any, folder: Path) -> connection.Settings:
    """Return what the hook makes of a block that tells of credentials."""
    words = shlex.split(block.text.replace("\\\n", " "))
    environment = {"AIRFLOW_HOME": str(folder), "DLT_PROJECT_DIR": str(folder)}
    if block.language == "toml":
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "secrets.toml").write_text(block.text, encoding="utf-8")
        assert list(tomllib.loads(block.text)) == ["dbt_cloud"]
    elif words[0] == "export":
        environment |= exported(block.text)
    else:
        assert words[:3] == ["airflow", "connections", "add"]
        options = {
            name.removeprefix("--conn-"): value for name, value in zip(words[4::2], words[5::2], strict=True)
        }
        fields = {"conn_type": options.pop("type"), **options}
        return connection.read(Connection(conn_id=words[3], **fields))
    code = (
        "import json, dataclasses\n"
        "from airflow_provider_dbtcloud_dlt.hooks.dbt_cloud import DbtCloudHook\n"
        "print(json.dumps(dataclasses.asdict(DbtCloudHook().settings)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=isolated_environment(folder) | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return connection.Settings(**json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_each_form_of_the_credentials_says_the_same(connection_block, tmp_path):
    """JSON, URI, command line, secrets.toml and variables lead to one and the same account and job."""
    found = settings_of(connection_block, tmp_path)
    assert found.api_token == "the-token"
    assert found.account_id == "12345"
    assert found.base_api_url == "https://ab123.us1.dbt.com/api"
    assert {name: value for name, value in found.defaults.items() if name != "cause"} == {"job_id": "67890"}


def test_the_emulators_file_is_served(emulator_folder):
    """The YAML is a configuration that the emulator accepts, with the names that the examples use."""
    served = config.load(emulator_folder / "emulator.yaml")
    assert {job.id: job.name for job in served.jobs} == {JOB_ID: "Nightly build", 67891: "Pretends"}
    assert (served.account.id, served.tokens[0].secret) == (12345, "the-token")


def test_the_emulators_connection_fits_its_file(emulator_folder, all_blocks):
    """The quick start's connection has the account, the token and the port of the two blocks before it."""
    shell = [block.text for block in all_blocks if block.run == "quickstart" and block.language == "sh"]
    (block,) = [text for text in shell if "AIRFLOW_CONN" in text]
    fields = json.loads(exported(block)["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"])
    served = config.load(emulator_folder / "emulator.yaml")
    assert (fields["login"], fields["password"]) == (str(served.account.id), served.tokens[0].secret)
    assert fields["host"] == "http://127.0.0.1:8580"
    assert any(f"--port {fields['host'].rpartition(':')[2]}" in other for other in shell)
