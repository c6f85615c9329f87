"""The quick start, word for word: its files are written, and its commands run in one shell."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import free_port, isolated_environment

SECONDS = 300


@pytest.mark.slow
def test_the_quick_start_ends_with_the_table_that_dbt_has_built(all_blocks, emulator_folder, tmp_path):
    """Two orders, 19.50 in all; only the port differs, and the emulator runs behind the shell."""
    (dag,) = [block.text for block in all_blocks if block.file == "shop.py"]
    (emulator_folder / "airflow" / "dags").mkdir(parents=True)
    (emulator_folder / "airflow" / "dags" / "shop.py").write_text(dag, encoding="utf-8")
    steps = [block for block in all_blocks if block.run == "quickstart"]
    shell = [block.text for block in steps if block.language == "sh"]
    assert shell[0].startswith("python -m airflow_provider_dbtcloud_dlt.emulator")
    shell[0] = (
        f"{shell[0].strip()} >emulator.log 2>&1 &\n"
        "emulator=$!\ntrap 'kill $emulator; cat emulator.log' EXIT\n"
    )
    environment = isolated_environment(tmp_path)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", "".join(shell).replace("8580", str(free_port()))],
        cwd=emulator_folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"│ +2 │ +19\.5 │", done.stdout)
