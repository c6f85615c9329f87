"""The official provider, which some tests set beside this one."""

import importlib.util
import os

import pytest


def is_installed() -> bool:
    """Whether it is there; an error if it is not although `EXPECT_PEERS` says that it must be."""
    if importlib.util.find_spec("airflow.providers.dbt") is not None:
        return True
    if os.environ.get("EXPECT_PEERS"):
        raise RuntimeError("EXPECT_PEERS is set, but the official provider is not installed.")
    return False


def require() -> None:
    """Skip the test without it."""
    if not is_installed():
        pytest.skip("the official provider is not installed: pip install '.[official]'")
