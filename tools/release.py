"""Build the source distribution and the wheel, and check them as a user would find them. Nothing is uploaded.

python tools/release.py [--dist DIR] [--built]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from processes import isolated_environment

from airflow_provider_dbtcloud_dlt.emulator.testing import emulator

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"


class ReleaseError(Exception):
    """What keeps these files from being released, in a sentence."""


def build(dist: Path) -> None:
    """Make both files anew, the wheel from the source distribution, which thereby is checked as well."""
    for old in (*dist.glob("*.whl"), *dist.glob("*.tar.gz")):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT))


def version_of(dist: Path) -> str:
    """Return the version that both files bear in their names, which they have from the package."""
    versions = {path.name.split("-")[1].removesuffix(".tar.gz") for path in dist.iterdir()}
    if len(versions) != 1:
        raise ReleaseError(
            f"{dist} has files of {len(versions)} versions; there should be one wheel and its source."
        )
    return versions.pop()


def check_changelog(version: str, text: str) -> str | None:
    """Compare the newest entry with the version; return what is to be done yet, if anything."""
    newest = re.search(r"^## (\S+) ?(.*)$", text, re.MULTILINE)
    if newest is None or newest[1] != version:
        raise ReleaseError(f"The newest entry of CHANGELOG.md is not {version}, the package's version.")
    if not re.fullmatch(r"\(\d{4}-\d{2}-\d{2}\)", newest[2]):
        return f"CHANGELOG.md has no date for {version} yet, such as (2026-12-24): give it one first."
    return None


def check_installed(wheel: Path) -> None:
    """Install the wheel, and what it depends on, into a clean environment, and use it there."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = str(home / "venv" / "bin" / "python")
        pip = (python, "-I", "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "--constraint", str(ROOT / ".ci" / "constraints.txt"), str(wheel))
        run(*pip, "check")
        work = home / "work"
        work.mkdir()
        with emulator() as dbt_cloud:
            environment = isolated_environment(work) | {
                "AIRFLOW_HOME": str(work / "airflow"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
                "AIRFLOW_CONN_DBT_CLOUD_DEFAULT": dbt_cloud.airflow_connection(job_id=dbt_cloud.job_id),
            }
            run(python, "-I", str(ROOT / ".ci" / "check_installed.py"), cwd=work, env=environment)


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command; what it has printed is shown if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"{done.stdout[-5000:]}\nThis has failed: {' '.join(command)}")
    print(done.stdout.strip() if ".ci/" in " ".join(command) else f"ok: {' '.join(command)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dist", type=Path, default=ROOT / "dist", help="where the files are (default: dist)"
    )
    parser.add_argument("--built", action="store_true", help="check files that are there already")
    arguments = parser.parse_args()
    dist: Path = arguments.dist
    try:
        if not arguments.built:
            build(dist)
        version = version_of(dist)
        undone = check_changelog(version, CHANGELOG.read_text(encoding="utf-8"))
        (wheel,) = dist.glob("*.whl")
        run(sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
        run(sys.executable, str(ROOT / ".ci" / "check_built.py"), str(dist))
        check_installed(wheel)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Version {version} can be released from {os.path.relpath(dist)}. {undone or ''}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
