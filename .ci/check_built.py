"""Check that a wheel and its source distribution hold the package, all of it, and nothing else.

Usage: python check_built.py DIRECTORY_WITH_BOTH
"""
# ruff: noqa: T201

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "airflow_provider_dbtcloud_dlt"
ENTRY_POINTS = {
    "the provider": f"provider_info = {PACKAGE}.provider_info:get_provider_info",
    "its plug-in": f"dbt_cloud_dlt = {PACKAGE}.plugin:DbtCloudRunPicture",
}

BESIDE_THE_PACKAGE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
"""What a source distribution holds in addition, some of it whether it is asked for or not."""


def source_files(root: Path) -> set[str]:
    """Return what the checkout holds of the package, as paths in a wheel."""
    return {
        path.relative_to(root).as_posix()
        for path in (root / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def differences(found: set[str], expected: set[str]) -> Iterator[str]:
    """Yield a sentence for each file that is missing, or too much."""
    for name in sorted(expected - found):
        yield f"{name} is in the checkout, but not in here"
    for name in sorted(found - expected):
        yield f"{name} is in here, but not part of the package"


def faults_of_source(source: Path, expected: set[str]) -> Iterator[str]:
    """Yield a sentence for each thing wrong with the source distribution."""
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    yield from differences(names, expected | BESIDE_THE_PACKAGE)


def faults_of_wheel(wheel: Path, expected: set[str]) -> Iterator[str]:
    """Yield a sentence for each thing wrong with the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info"
        found = {name for name in names if not name.startswith(f"{metadata}/")}
        yield from differences(found, expected)
        if f"{PACKAGE}/py.typed" not in found:
            yield "py.typed is missing: type checkers would ignore the annotations"
        if f"{metadata}/licenses/LICENSE" not in names:
            yield "the licence is missing"
        entry_points = f"{metadata}/entry_points.txt"
        description = archive.read(f"{metadata}/METADATA").decode().partition("\n\n")[2]
        for link in re.findall(r"\]\((?!https://)[^)]*\)", description):
            yield f"the description, which PyPI shows, links to {link[2:-1]}"
        told = archive.read(entry_points).decode() if entry_points in names else ""
        for what, entry_point in ENTRY_POINTS.items():
            if entry_point not in told:
                yield f"an entry point is missing: Airflow would not find {what}"


def main() -> int:
    """Print what is wrong, or a line for each file that all is well."""
    folder = Path(sys.argv[1])
    expected = source_files(Path(__file__).resolve().parents[1])
    status = 0
    for pattern, faults in (("*.tar.gz", faults_of_source), ("*.whl", faults_of_wheel)):
        built = list(folder.glob(pattern))
        if len(built) != 1:
            print(f"Expected one {pattern} in {folder}, found {len(built)}")
            return 1
        wrong = list(faults(built[0], expected))
        for sentence in wrong or [f"{len(expected)} files of the package and nothing else"]:
            print(f"{built[0].name}: {sentence}")
        status = status or int(bool(wrong))
    return status


if __name__ == "__main__":
    sys.exit(main())
