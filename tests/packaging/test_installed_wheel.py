"""CI tests the wheel that users get, not the files of the checkout."""

import os
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

import airflow_provider_dbtcloud_dlt as package

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif("EXPECT_INSTALLED_WHEEL" not in os.environ, reason="the checkout itself is tested here")
def test_the_package_under_test_is_the_installed_one():
    """Where a wheel is expected, the package is a file of the installed distribution."""
    location = Path(package.__file__).resolve()
    assert "site-packages" in location.parts
    assert not location.is_relative_to(CHECKOUT)
    files = distribution("airflow-provider-dbtcloud-dlt").files or []
    assert location in {Path(str(file.locate())).resolve() for file in files}


def test_the_version_is_the_distributions():
    """The package and its metadata name the same version."""
    assert package.__version__ == version("airflow-provider-dbtcloud-dlt")
