"""docker-compose.yaml as processes of one machine: nothing of it is lost, or left in a container's terms."""

import re
import subprocess

import pytest
import yaml
from compose_native import ARGUMENTS, COMPOSE, HOME, ONE_MACHINE, PORTS, Host, Native

SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]
AIRFLOW = ["api-server", "dag-processor", "scheduler", "triggerer", "worker"]


@pytest.fixture
def native(tmp_path) -> Native:
    return Native(tmp_path)


def hosts(native: Native, service: str) -> list[Host]:
    return [host for host in native.hosts.values() if host.service == service]


def test_there_is_a_host_for_each_container(native):
    """Every service has as many as the file says it has replicas."""
    assert [host.name for host in hosts(native, "worker")] == ["worker-1", "worker-2"]
    assert {host.service for host in native.hosts.values()} == set(SERVICES)


def test_nothing_is_said_in_a_containers_terms(native):
    """No path, host name or port of a container is left in what is run, and no variable of Compose."""
    foreign = re.compile(
        rf"(?<!\w){HOME}|[@/]({'|'.join([*PORTS, 'postgres'])})[:/]\d*|\$\{{[A-Z_]+:-|\$\$|0\.0\.0\.0"
    )
    for host in native.hosts.values():
        said = [
            *host.argv,
            *(host.check or ()),
            *(host.env[name] for name in native.environment(host.service)),
        ]
        for text in said:
            assert not foreign.search(text.replace(f"{host.root}{HOME}", "HOME")), (host.name, text)


@pytest.mark.parametrize("service", AIRFLOW)
def test_airflow_has_each_of_the_files_settings(native, service):
    """Every setting that the file gives a service reaches its process."""
    for host in hosts(native, service):
        assert set(SERVICES[service]["environment"]) <= set(host.env)


def test_only_what_one_machine_needs_is_added(native):
    """Beyond the file's, a process of Airflow has the settings that are named as such, and no other."""
    added = {name for name in hosts(native, "worker")[0].env if name.startswith("AIRFLOW__")}
    assert added - set(SERVICES["worker"]["environment"]) == {f"AIRFLOW__{name}" for name in ONE_MACHINE}


def test_only_named_arguments_are_added(native):
    """A command is the file's, with the arguments that are named for its service."""
    for service in AIRFLOW:
        for host in hosts(native, service):
            told = ["airflow", *SERVICES[service]["command"].split()]
            assert host.argv[: len(told)] == told
            assert len(host.argv) == len(told) + len(ARGUMENTS.get(service, []))


def test_a_volume_is_one_folder_for_all_that_mount_it(native):
    """What dlt writes on a worker is what the emulator's dbt reads."""
    worker, emulator = hosts(native, "worker")[1], hosts(native, "emulator")[0]
    paths = {(host.root / "opt/airflow/warehouse").resolve() for host in (worker, emulator)}
    assert len(paths) == 1


def test_a_mount_can_be_another_folder(tmp_path):
    """The DAGs may be others than the checkout's."""
    dags = tmp_path / "dags"
    dags.mkdir()
    host = Native(tmp_path / "cluster", {"./dags_examples": dags}).hosts["worker-1"]
    assert (host.root / "opt/airflow/dags").resolve() == dags


def test_each_scheduler_answers_its_health_check_on_a_port_of_its_own(native):
    """Containers have the port for themselves, processes do not."""
    name = "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"
    ports = [host.env[name] for host in hosts(native, "scheduler")]
    assert len(set(ports)) == 2
    assert all(
        f":{port}/" in " ".join(host.check or ())
        for port, host in zip(ports, hosts(native, "scheduler"), strict=True)
    )


def test_a_secret_in_the_file_stays_a_command(native):
    """What is read from the drawn secrets in a container is read from the same file here."""
    host = hosts(native, "worker")[0]
    command = host.env["AIRFLOW__CELERY__BROKER_URL_CMD"]
    (native.volume("secrets") / "broker-url").write_text("redis://here")
    assert (
        subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout == "redis://here"
    )
