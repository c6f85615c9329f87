"""docker-compose.yaml, without a Docker engine: its form against the specification, and what it promises."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
CONTENT = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
ONE_SHOT = {"init", "login", "secrets"}
LASTING = sorted(set(SERVICES) - ONE_SHOT)
AIRFLOW = ["api-server", "dag-processor", "scheduler", "triggerer", "worker"]


def test_the_file_follows_the_compose_specification():
    """The schema of the specification, which the package check-jsonschema ships, accepts the file."""
    answer = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_whole_airflow_is_there():
    """Database, broker, every process of Airflow and the emulator."""
    assert set(LASTING) == {*AIRFLOW, "emulator", "postgres", "redis"}


@pytest.mark.parametrize("name", ["scheduler", "triggerer", "worker"])
def test_there_are_two_of_what_can_die(name):
    """A scheduler, a worker or a triggerer can be killed, and another takes over."""
    assert SERVICES[name]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", LASTING)
def test_whatever_lasts_is_watched(name):
    """Each lasting service has a health check and comes back after a crash."""
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_whatever_ends_is_not_started_again(name):
    """A service that does one thing ends for good."""
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_can_come_true(name):
    """A service that ends is waited for until it has, one that lasts until it is healthy; both exist."""
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert wait["condition"] == expected, other


def all_before(name: str) -> set[str]:
    """Return all that a service waits for, directly or by way of others."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*(all_before(other) for other in direct))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"secrets"}))
def test_nothing_starts_before_the_secrets_are_drawn(name):
    """Every service comes after the one that builds the image and draws the passwords."""
    assert "secrets" in all_before(name)


@pytest.mark.parametrize("name", AIRFLOW)
def test_airflow_starts_after_its_tables_are_made(name):
    """Every process of Airflow comes after `init`."""
    assert "init" in all_before(name)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_named_volumes_are_declared(name):
    """A volume that a service mounts is one of the file's, or a folder of the checkout that exists."""
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        assert source in CONTENT["volumes"] or (source.startswith("./") and (ROOT / source).is_dir()), mount


@pytest.mark.parametrize("name", ["worker", "emulator"])
def test_dlt_and_dbt_share_the_warehouse(name):
    """Where the worker's dlt loads to is where the emulator's dbt reads, in a volume that both mount."""
    variables = SERVICES[name]["environment"]
    path = variables.get("DBT_DUCKDB_PATH") or variables["DESTINATION__DUCKDB__CREDENTIALS"].removeprefix(
        "duckdb:///"
    )
    assert path == "/opt/airflow/warehouse/flights.duckdb"
    assert "warehouse:/opt/airflow/warehouse" in SERVICES[name]["volumes"]


def test_the_connection_is_ready_and_leads_to_the_emulator():
    """`init` adds the default connection: our type, the emulator's address and its account."""
    script = SERVICES["init"]["command"][-1]
    emulator = yaml.safe_load((ROOT / "dags_examples/flights/emulator.yaml").read_text())
    for part in (
        "connections add dbt_cloud_default",
        "--conn-type dbt_cloud_dlt",
        "--conn-host http://emulator ",
        '--conn-password "$$(cat /opt/airflow/secrets/emulator-token)"',
        "--conn-port 8580",
        f"--conn-login {emulator['account']['id']}",
        '"allow_http": true',
    ):
        assert part in script, part
    assert emulator["account"]["token_env"] in SERVICES["emulator"]["command"][-1]


SECRET = re.compile(
    r"password|passwd|secret|token|fernet|_conn(_cmd)?$|broker_url|result_backend", re.IGNORECASE
)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_secret_is_written_in_the_file(name):
    """Whatever is named like a secret is read from the file that `secrets` drew, and none is a default."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.fullmatch(r"(cat )?/opt/airflow/secrets/[a-z.-]+", value), variable


def test_a_password_in_an_address_is_a_drawn_one():
    """No address in the file holds a password, except those that `secrets` puts together."""
    assert set(re.findall(r"://[^/\s:@]*:([^/\s@]+)@", COMPOSE.read_text())) == {"{database}", "{broker}"}


def test_secrets_are_drawn_once_and_differ(tmp_path):
    """The service `secrets`, run as it is, makes every file that others read, and keeps them later."""
    script = (
        SERVICES["secrets"]["command"][0].replace("$$", "$").replace("/opt/airflow/secrets", str(tmp_path))
    )
    read_by_others = set(re.findall(r"/opt/airflow/secrets/([a-z.-]+)", COMPOSE.read_text()))

    def drawn() -> dict[str, str]:
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    first = drawn()
    assert read_by_others <= set(first)
    assert len(set(first.values())) == len(first)
    assert drawn() == first


@pytest.mark.parametrize("name", sorted(name for name in SERVICES if "ports" in SERVICES[name]))
def test_ports_are_open_to_this_machine_only(name):
    """No port is published to the network."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@pytest.mark.parametrize(("name", "version"), [("postgres", r"\d+\.\d+"), ("redis", r"\d+\.\d+\.\d+")])
def test_images_are_pinned(name, version):
    """An image of others names its version in full."""
    assert re.fullmatch(rf"{name}:{version}-bookworm", SERVICES[name]["image"])


def test_the_image_is_of_the_airflow_that_ci_tests():
    """The version of the official image is the pinned one."""
    pinned = re.search(r"^apache-airflow==(\S+)", (ROOT / ".ci/constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"FROM apache/airflow:{pinned[1]}-python3.11" in SERVICES["secrets"]["build"]["dockerfile_inline"]


def test_what_the_image_copies_reaches_the_builder():
    """Each file that the image is made of exists and is let through by .dockerignore."""
    lets_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    instructions = SERVICES["secrets"]["build"]["dockerfile_inline"].splitlines()
    copied = {word for line in instructions if line.startswith("COPY") for word in line.split()[2:-1]}
    assert copied == lets_through
    # The package itself is not beside these tests when they run against a wheel.
    assert all((ROOT / path).exists() for path in copied - {"airflow_provider_dbtcloud_dlt"})


def test_the_example_of_settings_names_those_that_there_are():
    """.env.example and the file know the same variables."""
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE.read_text()))
    offered = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == offered
