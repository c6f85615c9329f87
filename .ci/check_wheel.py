"""Check that a wheel holds the package, all of it, and nothing else.

Usage: python check_wheel.py DIRECTORY_WITH_ONE_WHEEL
"""
# ruff: noqa: T201

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "airflow_provider_dbtcloud_dlt"
ENTRY_POINTS = {
    "the provider": f"provider_info = {PACKAGE}.provider_info:get_provider_info",
    "its plug-in": f"dbt_cloud_dlt = {PACKAGE}.plugin:DbtCloudRunPicture",
}


def source_files(root: Path) -> set[str]:
    """Return what the checkout holds of the package, as paths in a wheel."""
    return {
        path.relative_to(root).as_posix()
        for path in (root / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def faults(wheel: Path, expected: set[str]) -> Iterator[str]:
    """Yield a sentence for each thing wrong with the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info"
        found = {name for name in names if not name.startswith(f"{metadata}/")}
        for name in sorted(expected - found):
            yield f"{name} is in the checkout, but not in the wheel"
        for name in sorted(found - expected):
            yield f"{name} is in the wheel, but not part of the package"
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
    """Print what is wrong, or one line that all is well."""
    wheels = list(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        print(f"Expected one wheel in {sys.argv[1]}, found {len(wheels)}")
        return 1
    expected = source_files(Path(__file__).resolve().parents[1])
    wrong = list(faults(wheels[0], expected))
    for sentence in wrong:
        print(f"{wheels[0].name}: {sentence}")
    if not wrong:
        print(f"{wheels[0].name}: {len(expected)} files of the package and nothing else")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
