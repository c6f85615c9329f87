"""Runs with real dbt-core on DuckDB."""

import http.client
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from urllib.parse import urlsplit

import duckdb
import pytest
import requests

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator


@pytest.fixture
def emu(tiny_project):
    """The tiny project, served."""
    with emulator(tiny_project / "emulator.yaml", state_dir=tiny_project / "state", lag=0) as running:
        yield running


def until(condition, seconds=60.0):
    """Wait for something that another process does."""
    patience = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < patience, "It did not happen."
        time.sleep(0.05)
    return found


def ended(api, run_id):
    """Wait for a run's end and return it with its steps."""

    def look():
        run = api.data(f"/runs/{run_id}/", include_related="run_steps,debug_logs")
        return run if run["is_complete"] else None

    return until(look)


def processes(state):
    """Return the ids of the processes that were started for runs of a state folder."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as environment:
                    if f"DBT_TARGET_PATH={state}".encode() in environment.read():
                        found.append(int(entry))
            except OSError:
                continue
    return found


def tables(tiny_project, schema):
    with duckdb.connect(str(tiny_project / "warehouse.duckdb"), read_only=True) as warehouse:
        query = "select table_name from information_schema.tables where table_schema = ?"
        return {name for (name,) in warehouse.execute(query, [schema]).fetchall()}


@pytest.fixture(scope="module")
def built(lasting_project, make_api):
    """A run that succeeded, with overrides, as `(client, run, files of the project before it)`."""
    before = sorted(lasting_project.glob("dbt/**/*"))
    served = emulator(lasting_project / "emulator.yaml", state_dir=lasting_project / "state", lag=0)
    with served as running:
        client = make_api(running)
        steps = ["dbt build --vars '{column: id}'"]
        run_id = client.trigger(schema_override="elsewhere", threads_override=3, steps_override=steps)
        yield client, ended(client, run_id), before


def test_a_run_succeeds_with_its_steps(built):
    """Every step is a success and is called as dbt Cloud calls it."""
    _, run, _ = built

    assert (run["status"], run["artifacts_saved"]) == (10, True)
    assert [(step["name"], step["status"]) for step in run["run_steps"]] == [
        ("Clone git repository", 10),
        ("Create profile from connection duckdb", 10),
        ("Invoke dbt with `dbt build --vars '{column: id}'`", 10),
    ]


def test_steps_hold_what_dbt_printed_and_its_debug_log(built):
    """The logs are dbt's own."""
    step = built[1]["run_steps"][2]

    assert "PASS=2" in step["logs"]
    assert "Concurrency: 3 threads" in step["logs"]
    assert "Running with dbt" in step["debug_logs"]


def test_the_schema_override_works(built, lasting_project):
    """The models are in the schema that the trigger asked for."""
    assert tables(lasting_project, "elsewhere") == {"good", "bad"}


def test_the_project_stays_as_it_was(built, lasting_project):
    """Nothing is written into the user's project."""
    assert sorted(lasting_project.glob("dbt/**/*")) == built[2]


def test_the_runs_files_are_for_their_owner_alone(built, lasting_project):
    """The copy of the profile may hold passwords, and the logs data: other users see neither."""
    folder = lasting_project / "state" / "runs" / str(built[1]["id"])
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "profiles.yml")]

    assert modes == [0o700, 0o600]


def test_artifacts_are_those_of_the_step_or_the_last_one(built):
    """`step` counts from 1; a step that ran no dbt has none."""
    client, run, _ = built
    path = f"/runs/{run['id']}/artifacts/run_results.json"

    assert {one["status"] for one in client.get(path).json()["results"]} == {"success"}
    assert client.get(path, step=3).content == client.get(path).content
    assert client.get(path, step=2).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["../../../emulator.sqlite", "%2e%2e/%2e%2e/profiles.yml", "..%2f..%2fprofiles.yml", "%2Fetc%2Fpasswd"],
)
def test_no_path_leads_out_of_the_artifacts(built, path):
    """Whatever the path, nothing but an artifact is told."""
    client, run, _ = built
    address = urlsplit(client.base)
    connection = http.client.HTTPConnection(address.netloc, timeout=5)
    headers = {"Authorization": str(client.session.headers["Authorization"])}

    connection.request("GET", f"{address.path}/runs/{run['id']}/artifacts/{path}", headers=headers)

    assert connection.getresponse().status == 404


@pytest.mark.slow
def test_a_failed_model_fails_the_run_and_a_retry_takes_it_up(api, tiny_project):
    """The failing model is in the step's log; after it is mended `dbt retry` builds only that."""
    run_id = api.trigger(1001)
    run = ended(api, run_id)

    assert (run["status"], [one["status"] for one in run["run_steps"]]) == (20, [10, 10, 20, 30])
    assert "nosuch" in run["run_steps"][2]["logs"]
    assert (run["can_retry"], run["retry_not_supported_reason"]) == (True, None)

    (tiny_project / "dbt" / "models" / "bad.sql").write_text("select 2 as id")
    retried = ended(api, api.post(f"/runs/{run_id}/retry/").json()["data"]["id"])

    assert (retried["status"], retried["retrying_run_id"]) == (10, run_id)
    assert "PASS=1 " in retried["run_steps"][2]["logs"]
    assert "tiny.bad" in retried["run_steps"][3]["logs"]


def test_a_target_that_the_profile_lacks_fails_the_second_step(api):
    """A wrong target is told by name before dbt is started."""
    run = ended(api, api.trigger(target_name_override="nope"))

    assert (run["status"], run["retry_not_supported_reason"]) == (20, "RETRY_NO_RUN_RESULTS")
    assert "has no target 'nope'; it has: dev, prod" in run["run_steps"][1]["logs"]


@pytest.mark.slow
def test_the_emulators_own_environment_moves_no_folder(api, tiny_project, monkeypatch):
    """Whatever names dbt has for its settings, the run's own folders count."""
    for name in ("DBT_TARGET_PATH", "DBT_ENGINE_TARGET_PATH", "DBT_ENGINE_LOG_PATH"):
        monkeypatch.setenv(name, str(tiny_project / "elsewhere"))
    run = ended(api, api.trigger())

    assert (run["status"], run["artifacts_saved"]) == (10, True)
    assert not (tiny_project / "elsewhere").exists()


@pytest.mark.slow
def test_the_target_override_works(api, tiny_project):
    """The models are in the schema of the target that the trigger asked for."""
    run = ended(api, api.trigger(target_name_override="prod"))

    assert (run["status"], tables(tiny_project, "production")) == (10, {"good"})


def released(tiny_project):
    """Commit the project to the branches main and release, and return the commit."""
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["commit", "-qm", "x"],
        ["branch", "release"],
    ):
        subprocess.run([*git, *command], cwd=tiny_project / "dbt", check=True)
    found = subprocess.run(
        [*git, "rev-parse", "release"], cwd=tiny_project / "dbt", check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


@pytest.mark.slow
def test_a_branch_override_runs_what_was_committed_on_it(make_api, tiny_project):
    """The run says which commit it used, and writes where the project in its own folder would."""
    # Relative to the folder of the project, wherever the commit is checked out.
    config = tiny_project / "emulator.yaml"
    config.write_text(
        config.read_text().replace(str(tiny_project / "warehouse.duckdb"), "../warehouse.duckdb")
    )
    head = released(tiny_project)
    (tiny_project / "dbt" / "models" / "good.sql").write_text("select broken")
    # Only the folder has packages, and they cannot be had.
    (tiny_project / "dbt" / "packages.yml").write_text("packages: [{local: nowhere}]\n")

    with emulator(config, state_dir=tiny_project / "state") as emu:
        api = make_api(emu)
        run = ended(api, api.trigger(git_branch="release"))

    assert (run["status"], run["git_branch"], run["git_sha"]) == (10, "release", head)
    assert run["run_steps"][2]["logs"] == "The project has no packages.\n"
    assert tables(tiny_project, "main") == {"good"}


def test_a_branch_that_is_not_there_fails_the_first_step(api, tiny_project):
    """As a clone would; dbt is not started."""
    subprocess.run(["git", "init", "-q"], cwd=tiny_project / "dbt", check=True)
    run = ended(api, api.trigger(git_branch="nope"))

    assert (run["status"], [step["status"] for step in run["run_steps"]]) == (20, [20, 30, 30, 30])
    assert "has no branch nope" in run["run_steps"][0]["logs"]


@pytest.mark.slow
def test_a_branch_may_have_packages_that_the_folder_lacks(api, tiny_project):
    """What is installed is what the commit asks for, and it is installed beside the commit."""
    project = tiny_project / "dbt"
    (project / "shared" / "models").mkdir(parents=True)
    (project / "shared" / "dbt_project.yml").write_text("name: shared\nversion: '1.0'\n")
    (project / "shared" / "models" / "common.sql").write_text("select 1 as id")
    (project / "packages.yml").write_text("packages: [{local: shared}]\n")
    released(tiny_project)
    (project / "packages.yml").unlink()

    run = ended(api, api.trigger(git_branch="release", steps_override=["dbt build --select common"]))

    assert [(step["name"], step["status"]) for step in run["run_steps"]][2:] == [
        ("Invoke dbt with `dbt deps`", 10),
        ("Invoke dbt with `dbt build --select common`", 10),
    ]
    assert not (project / "dbt_packages").exists()


@pytest.fixture
def endless_git(tiny_project, monkeypatch):
    """A git that never ends when it is to write files; returns the id of the process that it waits for."""
    released(tiny_project)
    waiting = tiny_project / "waiting"
    command = tiny_project / "bin" / "git"
    command.parent.mkdir()
    command.write_text(
        "#!/bin/sh\n"
        'case "$*" in *read-tree*)\n'
        f"  sleep 600 & echo $! > {waiting}.new; mv {waiting}.new {waiting}; wait;;\n"
        "esac\n"
        f'exec {shutil.which("git")} "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    return lambda: int(waiting.read_text()) if waiting.exists() else None


def alive(process_id):
    """Whether a process is there and has not ended."""
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_cancel_kills_git(endless_git, api):
    """A checkout may take long; all that git has started is gone, and dbt is not started."""
    run_id = api.trigger(git_branch="release")
    process_id = until(endless_git)
    assert alive(process_id)

    run = api.post(f"/runs/{run_id}/cancel/").json()["data"]
    steps = api.data(f"/runs/{run_id}/", include_related="run_steps")["run_steps"]

    assert (run["status"], run["status_message"]) == (30, "Cancelled by user.")
    assert [step["status"] for step in steps] == [30, 30, 30, 30]
    assert not alive(process_id)


def test_the_timeout_counts_for_git_as_well(endless_git, api):
    """It is the run's, not dbt's."""
    run = ended(api, api.trigger(git_branch="release", timeout_seconds_override=1))

    assert (run["status"], [step["status"] for step in run["run_steps"]]) == (30, [30, 30, 30, 30])
    assert "longer than 1 seconds" in run["status_message"]
    assert not alive(endless_git())


@pytest.mark.slow
def test_dbt_does_not_get_the_variables_of_a_hook(monkeypatch, api, tiny_project):
    """`dbt deps` calls git, which would work on the repository that the variables name."""
    monkeypatch.setenv("GIT_DIR", str(tiny_project / "other"))
    (tiny_project / "dbt" / "models" / "good.sql").write_text(
        "select '{{ env_var('GIT_DIR', 'none') }}' as id"
    )

    run = ended(api, api.trigger(steps_override=["dbt show --select good"]))

    assert "none" in run["run_steps"][2]["logs"]


def test_cancel_kills_dbt(api, tiny_project):
    """The log is there while dbt runs; when the answer to cancel is there, no process of the run is."""
    run_id = api.trigger()

    def log():
        return api.data(f"/runs/{run_id}/", include_related="run_steps")["run_steps"][2]["logs"]

    until(lambda: "Running with dbt" in log())
    assert processes(tiny_project / "state")

    run = api.post(f"/runs/{run_id}/cancel/").json()["data"]

    assert (run["status"], run["status_message"]) == (30, "Cancelled by user.")
    assert processes(tiny_project / "state") == []


def test_a_run_beyond_its_timeout_is_killed(api, tiny_project):
    """The run's own time-out ends dbt too."""
    run = ended(api, api.trigger(timeout_seconds_override=1))

    assert run["status"] == 30
    assert "longer than 1 seconds" in run["status_message"]
    assert processes(tiny_project / "state") == []


@pytest.fixture
def silent_registry(tiny_project):
    """Where the project's only package is: whoever asks for it waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/far.tar.gz"
        (tiny_project / "dbt" / "packages.yml").write_text(f"packages: [{{tarball: '{url}', name: far}}]\n")
        yield server


def test_a_run_that_waits_for_anothers_packages_can_be_cancelled(silent_registry, api):
    """`dbt deps` of one run at a time: another one that waits for its turn ends when it is asked to."""
    installing = api.trigger(1000)
    connection, _ = silent_registry.accept()
    waiting = api.trigger(1001)
    path = f"/runs/{waiting}/"
    until(lambda: [s["status"] for s in api.data(path, include_related="run_steps")["run_steps"]][2:3] == [3])

    assert api.post(f"{path}cancel/").json()["data"]["status"] == 30
    assert api.data(f"/runs/{installing}/")["status"] == 3
    connection.close()


def serve(folder, *what):
    """Start the command line and return its process and address."""
    port = folder / "port"
    port.unlink(missing_ok=True)
    command = [sys.executable, "-m", "airflow_provider_dbtcloud_dlt.emulator"]
    options = ["--state", folder / "state", "--port", "0", "--port-file", port]
    what = what or ("--config", folder / "emulator.yaml")
    process = subprocess.Popen([*command, *what, *options], stdout=subprocess.PIPE, text=True)
    until(port.exists)
    return process, f"http://127.0.0.1:{port.read_text()}/api/v2/accounts/1"


@pytest.mark.slow
def test_a_project_is_built_without_any_configuration(tiny_project, monkeypatch):
    """From the folder to a failed run in the terminal, which names the failing step."""
    monkeypatch.setenv("WAREHOUSE", str(tiny_project / "warehouse.duckdb"))
    monkeypatch.delenv("DBT_PROFILES_DIR", raising=False)
    process, url = serve(tiny_project, "--project", tiny_project / "dbt")
    try:
        headers = {"Authorization": f"Token {(tiny_project / 'state' / 'token').read_text().strip()}"}
        started = requests.post(f"{url}/jobs/1000/run/", headers=headers, json={"cause": "x"}, timeout=5)
        page = f"{url}/runs/{started.json()['data']['id']}/"
        until(lambda: requests.get(page, headers=headers, timeout=5).json()["data"]["is_complete"])
        process.terminate()
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()

    assert "DBT_CLOUD__BASE_API_URL=http://127.0.0.1:" in output
    assert re.search(
        r"dbt build  error  00:00:\d\d  http://\S+  at step 3, Invoke dbt with `dbt build`", output
    )


@pytest.mark.slow
def test_a_killed_emulator_takes_dbt_along_and_knows_its_runs_again(tiny_project):
    """After kill -9 no dbt goes on; the run that executed is an error, the one that waited is done."""
    headers = {"Authorization": "Token secret-token"}
    body = {"cause": "x", "steps_override": ["dbt list"]}
    process, url = serve(tiny_project)
    try:
        for _ in range(2):
            requests.post(f"{url}/jobs/1000/run/", headers=headers, json=body, timeout=5)
        until(lambda: processes(tiny_project / "state"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not processes(tiny_project / "state"), 5)

        process, url = serve(tiny_project)
        first, second = requests.get(f"{url}/runs/", headers=headers, timeout=5).json()["data"]
        assert (first["status"], first["status_message"]) == (
            20,
            "The emulator stopped while this run was executing.",
        )
        page = f"{url}/runs/{second['id']}/"

        def look():
            return requests.get(page, headers=headers, timeout=5).json()["data"]

        until(lambda: look()["is_complete"])
        assert look()["status"] == 10

        process.terminate()
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert f"run {second['id']}  Good  success" in output
    finally:
        process.kill()
        process.wait()
