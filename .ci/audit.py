"""Look for known vulnerabilities in pinned packages: `python audit.py CONSTRAINTS`, with pip-audit installed.

A vulnerability that audit-ignore.yaml does not name fails, and so does an entry there that no longer applies.
Where the database can't be reached that is said, and nothing fails: the machine is not the code's fault.
"""
# ruff: noqa: T201

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

IGNORED = Path(__file__).with_name("audit-ignore.yaml")
SECONDS = 300
UNREACHABLE = r"requests\.exceptions\.|ConnectionError|Could not connect|ServiceError"


def ask(pins: Path, address: str | None) -> tuple[list[dict[str, Any]] | None, str]:
    """Return what pip-audit has found of each package, or None and the reason why it has not."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(pins),
            "--no-deps",
            "--disable-pip",
        ]
        command += ["--vulnerability-service", "osv", *(["--osv-url", address] if address else [])]
        command += ["--format", "json", "--output", str(answer), "--progress-spinner", "off"]
        try:
            done = subprocess.run(  # noqa: S603 - our own words
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"there was no answer within {SECONDS} seconds"
        if not answer.exists() or not answer.read_text():
            if not re.search(UNREACHABLE, done.stderr):
                sys.exit(f"pip-audit has failed:\n{done.stderr}")
            return None, done.stderr.strip().splitlines()[-1]
        packages: list[dict[str, Any]] = json.loads(answer.read_text())["dependencies"]
        return packages, ""


def main() -> int:
    """Print what was found; return 1 if it is a reason to fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pins", type=Path)
    parser.add_argument("--ignored", type=Path, default=IGNORED, help="YAML: the vulnerability's id, and why")
    parser.add_argument(
        "--address", help="of the database, which speaks OSV's interface (default: OSV itself)"
    )
    arguments = parser.parse_args()
    reasons: dict[str, str] = yaml.safe_load(arguments.ignored.read_text()) or {}
    packages, why_not = ask(arguments.pins, arguments.address)
    if packages is None:
        print(f"Not audited: the database of vulnerabilities could not be asked ({why_not}).")
        return 0
    wrong, met = [], set()
    for package in packages:
        for found in package.get("vulns", []):
            names = {found["id"], *found["aliases"]}
            known = sorted(names & reasons.keys())
            met.update(known)
            what = f"{package['name']} {package['version']}: {' = '.join(sorted(names))}"
            if known:
                print(f"{what}, ignored: {reasons[known[0]]}")
            else:
                mended = ", ".join(found["fix_versions"]) or "no version yet"
                wrong.append(
                    f"{what}, mended in {mended}: raise it, or say in {arguments.ignored.name} why not."
                )
    wrong += [
        f"{name} of {arguments.ignored.name} is met no more: take it out." for name in reasons.keys() - met
    ]
    print(
        "\n".join(wrong) or f"{len(packages)} packages without known vulnerabilities, but for those ignored."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
