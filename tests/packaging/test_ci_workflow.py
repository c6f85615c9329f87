"""The workflow on GitHub runs what developers run, with no more rights than it needs."""

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
CONTENT = yaml.safe_load(WORKFLOW.read_text())


def test_the_workflow_follows_githubs_schema():
    """The schema of GitHub's workflows accepts the file."""
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            str(WORKFLOW),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_workflow_may_only_read():
    """Neither the workflow nor a job of it may write anything."""
    assert CONTENT["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in CONTENT["jobs"].values())


def test_the_workflow_runs_the_command_that_developers_run():
    """All checks are in `.ci/run`; a check that only the workflow had could not be run at home."""
    commands = [step["run"] for job in CONTENT["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
