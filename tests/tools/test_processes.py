"""Processes of the demo and the tests: what is started is stopped, what fails is told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import Service, ServiceError, free_port, isolated_environment, stop, wait_for_file

# Ignores SIGTERM, and has a child that does so too, in a session of its own.
STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "child"], start_new_session=True)
pathlib.Path(sys.argv[1], "-".join(["ready", *sys.argv[2:]])).write_text("yes")
time.sleep(60)
"""


@pytest.fixture
def service(tmp_path):
    """Starts services that are stopped after the test, however it ends."""
    started = []

    def start(*argv):
        new = Service(
            "thing", [sys.executable, *argv], env=os.environ, log=tmp_path / "thing.log", cwd=tmp_path
        )
        started.append(new)
        return new

    yield start
    stop(started, term_seconds=0)


def test_the_stubborn_and_their_children_are_killed(service, tmp_path):
    """What ignores SIGTERM is killed, also a child that left the process group."""
    program = tmp_path / "stubborn.py"
    program.write_text(STUBBORN)
    thing = service(str(program), str(tmp_path))
    for name in ("ready", "ready-child"):
        wait_for_file(tmp_path / name, thing, timeout=30)
    family = [psutil.Process(thing.pid), *psutil.Process(thing.pid).children()]
    stop([thing], term_seconds=0.2)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert (len(family), alive) == (2, [])


def test_who_obeys_is_not_waited_for(service):
    """A service that ends at once on SIGTERM costs no patience."""
    thing = service("-c", "import time; time.sleep(60)")
    before = time.monotonic()
    stop([thing], term_seconds=30)
    assert time.monotonic() - before < 15


def test_stopping_twice_is_harmless(service):
    """A service that has ended can be stopped again."""
    thing = service("-c", "pass")
    thing.popen.wait()
    thing.stop()
    thing.stop()
    assert not thing.alive


def test_an_end_is_told_with_the_logs_tail(service):
    """Whoever checks a service that failed learns its status and what it said last."""
    thing = service("-c", "print('no room left'); raise SystemExit(3)")
    thing.popen.wait()
    with pytest.raises(ServiceError, match=r"(?s)thing ended with status 3\..*no room left"):
        thing.check()


def test_an_end_that_was_wanted_is_no_error(service):
    """Whoever kills a service knows that it has ended."""
    thing = service("-c", "import time; time.sleep(60)")
    thing.kill()
    thing.check()
    assert not thing.alive


def test_waiting_for_a_file_ends_with_the_service(service, tmp_path):
    """A service that dies before it is ready is an error at once."""
    thing = service("-c", "print('bad configuration')")
    with pytest.raises(ServiceError, match="bad configuration"):
        wait_for_file(tmp_path / "port", thing, timeout=30)


def test_waiting_for_a_file_has_an_end(service, tmp_path):
    """A service that is never ready is an error after the time given."""
    thing = service("-c", "import time; time.sleep(60)")
    with pytest.raises(ServiceError, match="not ready within 0 s"):
        wait_for_file(tmp_path / "port", thing, timeout=0.2)


def test_the_environment_is_isolated(monkeypatch, tmp_path):
    """A person's own settings of Airflow, dlt and dbt do not reach the processes; home is the folder."""
    for name in ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_X", "DBT_CLOUD__API_TOKEN", "DESTINATION__X"):
        monkeypatch.setenv(name, "theirs")
    env = isolated_environment(tmp_path)
    assert "theirs" not in env.values()
    assert all(env[name].startswith(str(tmp_path)) for name in ("HOME", "TMPDIR", "DLT_DATA_DIR"))


def test_loopback_needs_no_proxy(monkeypatch, tmp_path):
    """A proxy of the person's is kept, but not used for this machine."""
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert isolated_environment(tmp_path)["NO_PROXY"] == "example.org,127.0.0.1,localhost"


def test_a_free_port_can_be_bound():
    """The port found is one of those that anybody may use."""
    assert 1024 < free_port() < 65536


IMPATIENT = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from processes import exit_on_signals
exit_on_signals(lambda: print("stopping", flush=True))
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
finally:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    print("stopped", flush=True)
"""


def test_a_second_interrupt_does_not_cut_the_stopping_short():
    """The first Ctrl-C is answered by a word; whoever presses again gets the same clean end."""
    tools = str(Path(sys.modules["processes"].__file__).parent)
    ended = subprocess.run(
        [sys.executable, "-c", IMPATIENT, tools], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.split() == ["stopping", "stopped"]
