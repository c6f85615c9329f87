"""The bench's statistics and tables."""

import pytest
from bench_report import Section, Spread, markdown, number, percentile_95, ratio, spreads


def test_a_spread_shows_median_least_and_most():
    """One run that was held up does not move what is told first."""
    assert str(Spread((3.0, 90.0, 2.0))) == "3 (2 to 90)"


def test_a_spread_of_what_is_always_the_same_is_one_figure():
    """A count that cannot vary is not told three times."""
    assert str(Spread((46, 46, 46))) == "46"


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (6296, "6,296"), (12.44, "12.4"), (0.0123, "0.0123"), (1e-5, "0.00")]
)
def test_a_number_has_three_digits(value, shown):
    """More would claim to know what was not measured."""
    assert number(value) == shown


def test_a_ratio_is_in_percent():
    """What costs a fiftieth costs two percent."""
    assert ratio(1, 50) == "2 %"


def test_nothing_is_compared_with_nothing():
    """Where the other has used nothing there is no ratio."""
    assert ratio(1, 0) == "-"


def test_ninety_five_of_a_hundred_do_not_exceed_the_percentile():
    """The five that are late are left out."""
    assert 95 <= percentile_95([float(one) for one in range(1, 101)]) < 96


def test_one_value_is_its_own_percentile():
    """A single run can be waited for as well."""
    assert percentile_95([2.5]) == 2.5


def test_a_section_is_a_markdown_table():
    """Its heading, what has to be known, and the rows."""
    section = Section("Imports", "Medians.", ("provider", "modules"), [("ours", "46")])
    assert markdown([section]) == (
        "## Imports\n\nMedians.\n\n| provider | modules |\n| --- | --: |\n| ours | 46 |\n"
    )


def test_each_figure_of_several_measurements_has_a_spread():
    """Rows are measurements, columns are what was measured."""
    assert spreads([[1, 10], [2, 20]]) == [Spread((1, 2)), Spread((10, 20))]
