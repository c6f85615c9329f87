"""The audit of pinned packages: what a database of vulnerabilities answers, and what is made of it.

The database is a server on this machine that speaks OSV's interface.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("pip_audit", reason="pip-audit is not installed")
pytestmark = pytest.mark.slow  # pip-audit takes its time to start

AUDIT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
FOUND = {
    "vulns": [
        {
            "id": "GHSA-aaaa-bbbb-cccc",
            "aliases": ["CVE-2026-12345"],
            "summary": "Reads more than it should.",
            "affected": [
                {
                    "package": {"name": "leaky", "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
                }
            ],
        }
    ]
}


class Database(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((asked["package"]["name"], asked["version"]))
        answer = json.dumps(FOUND if asked["package"]["name"] == "leaky" else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def database():
    """A database that knows a vulnerability of one package."""
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        server.asked, server.status = [], 200
        server.address = f"http://127.0.0.1:{server.server_port}/v1/query"
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def audit(tmp_path, monkeypatch):
    """Runs the audit of pins against an address; returns its status and what it says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(pins, address, ignored="{}"):
        (tmp_path / "pins.txt").write_text("\n".join(pins))
        (tmp_path / "ignored.yaml").write_text(ignored)
        command = [sys.executable, str(AUDIT), str(tmp_path / "pins.txt"), "--address", address]
        command += ["--ignored", str(tmp_path / "ignored.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_packages_without_vulnerabilities_pass(audit, database):
    """Each pin is asked for, except those for another Python."""
    pins = ["sound==2.0", "other==1 ; python_version < '3'"]
    assert audit(pins, database.address)[0] == 0
    assert database.asked == [("sound", "2.0")]


def test_a_vulnerability_fails(audit, database):
    """The message names package, version, vulnerability and the version that mends it."""
    status, told = audit(["sound==2.0", "leaky==1.0"], database.address)
    assert status == 1
    assert "leaky 1.0: CVE-2026-12345 = GHSA-aaaa-bbbb-cccc, mended in 1.1" in told


@pytest.mark.parametrize("name", ["GHSA-aaaa-bbbb-cccc", "CVE-2026-12345"])
def test_what_is_ignored_passes_with_its_reason(audit, database, name):
    """By any of its names; the reason is told."""
    status, told = audit(["leaky==1.0"], database.address, f"{name}: We never call it.")
    assert status == 0
    assert "ignored: We never call it." in told


def test_an_entry_that_is_met_no_more_fails(audit, database):
    """The list of what is ignored does not outlive its reasons."""
    status, told = audit(["sound==2.0"], database.address, "PYSEC-1: Once.")
    assert status == 1
    assert "PYSEC-1" in told


def test_a_database_out_of_reach_is_told_and_passes(audit, database):
    """Neither a server that is not there nor one that fails is the code's fault."""
    database.status = 503
    for address in (database.address, "http://127.0.0.1:1/v1/query"):
        status, told = audit(["sound==2.0"], address)
        assert status == 0
        assert "Not audited" in told


def test_pins_that_cannot_be_read_fail(audit, database):
    """A mistake in the file is not taken for a database that is out of reach."""
    status, told = audit(["this is no requirement"], database.address)
    assert status == 1
    assert "pip-audit has failed" in told
