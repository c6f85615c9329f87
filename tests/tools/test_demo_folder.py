"""The demo's folder is emptied: it must be the demo's, and nobody else's just now."""

import stat

import pytest
from demo import emptied
from processes import ServiceError


def test_what_an_earlier_demo_left_is_removed(tmp_path):
    """The second demo starts in an empty folder."""
    with emptied(tmp_path / "demo"):
        (tmp_path / "demo" / "logs").mkdir()
        (tmp_path / "demo" / "flights.duckdb").touch()
    with emptied(tmp_path / "demo"):
        assert [path.name for path in (tmp_path / "demo").iterdir()] == [".demo-lock"]


def test_the_folder_is_for_its_owner_alone(tmp_path):
    """Airflow's connections and logs are in it; an earlier demo may have left it open to everybody."""
    (tmp_path / "demo").mkdir(mode=0o755)
    with emptied(tmp_path / "demo"):
        assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


def test_a_folder_of_others_is_left_alone(tmp_path):
    """A folder with files that the demo did not make is refused, and kept."""
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ServiceError, match="was not made by the demo"), emptied(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").exists()


def test_a_running_demo_is_left_alone(tmp_path):
    """Two demos in one folder would remove each other's files: the second is refused."""
    with emptied(tmp_path):
        (tmp_path / "flights.duckdb").touch()
        with pytest.raises(ServiceError, match="A demo is running in"), emptied(tmp_path):
            pass
        assert (tmp_path / "flights.duckdb").exists()
