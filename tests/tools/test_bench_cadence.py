"""Runs that are watched in virtual time."""

import pytest
from bench_cadence import LENGTHS, section, watch


@pytest.mark.parametrize(("length", "looks", "delay"), [(60.0, 7, 2.0), (62.0, 7, 0.0), (0.0, 1, 2.0)])
def test_a_run_is_looked_at_until_it_has_ended(length, looks, delay):
    """The last look is the first one that comes at its end or later."""
    assert watch(length, first_look=2.0, pause=lambda _: 10.0) == (looks, delay)


def test_a_pause_may_depend_on_how_long_the_run_has_gone_on():
    """As an adaptive interval does."""
    assert watch(7.0, first_look=1.0, pause=lambda elapsed: elapsed) == (4, 1.0)


def test_all_ways_are_played_for_all_lengths():
    """Five ways to look at jobs of four lengths."""
    pytest.importorskip("airflow_provider_dbtcloud_dlt.client.cadence")
    rows = section(trials=3).rows
    assert [row[0] for row in rows[::5]] == list(LENGTHS)


def test_the_same_seed_gives_the_same_figures():
    """What is written down can be found again."""
    pytest.importorskip("airflow_provider_dbtcloud_dlt.client.cadence")
    assert section(trials=5) == section(trials=5)
