"""What the bench makes of the waits in one event loop."""

import pytest
from bench_report import Spread
from bench_waits import OFFICIAL, OURS, PANELS, Load, Plan, Trial, floor_of, panels, sections


def trial(**figures):
    """A trial; what is not told cost one."""
    return Trial(**{**dict.fromkeys(Trial.__dataclass_fields__, 1), **figures})


@pytest.mark.parametrize(("size", "requests"), [(1, 7), (100, 7), (101, 14), (1000, 70), (10_000, 700)])
def test_the_floor_is_one_list_for_each_hundred_runs_and_look(size, requests):
    """Seven looks in 35 seconds at one every 5 seconds."""
    assert floor_of(size, seconds=35, poll=5) == requests


def test_the_official_provider_waits_for_no_more_than_it_is_asked_to():
    """Beyond the limit this provider is measured alone."""
    plan = Plan(sizes=[10, 1000], latencies=[0.0], repeats=1, official_max=100)
    assert list(plan.loads()) == [Load(OURS, 10), Load(OFFICIAL, 10), Load(OURS, 1000)]


def test_the_two_are_compared_where_both_were_measured():
    """The last column says what this provider needs of what the official one does."""
    plan = Plan(sizes=[10], latencies=[0.0], repeats=1, official_max=10)
    found = {Load(OURS, 10): [trial(requests=7)], Load(OFFICIAL, 10): [trial(requests=70)]}
    (section,) = sections(plan, found)
    assert section.rows[0] == ("10", "requests", "7", "70", "10 %")


def test_beyond_the_limit_this_provider_stands_alone():
    """What was not measured is left open."""
    plan = Plan(sizes=[100], latencies=[0.0], repeats=1, official_max=10)
    (section,) = sections(plan, {Load(OURS, 100): [trial(requests=7)]})
    assert section.rows[0] == ("100", "requests", "7", "-", "-")


def test_each_latency_has_a_table():
    """What an API costs that takes its time is told by itself."""
    plan = Plan(sizes=[10], latencies=[0.0, 0.3], repeats=1, official_max=1)
    found = {Load(OURS, 10, latency): [trial(requests=latency)] for latency in plan.latencies}
    assert [section.rows[0][2] for section in sections(plan, found)] == ["0", "0.3"]


def test_the_picture_has_a_line_for_each_provider_and_latency():
    """Against how many runs are waited for."""
    found = {Load(OURS, size, latency): [trial()] for size in (10, 100) for latency in (0.0, 0.3)}
    lines = {title: list(lines) for title, lines in panels(found).items()}
    assert lines == {title: [(OURS, ""), (OURS, "0.3 s an answer")] for title in PANELS.values()}


def test_a_line_keeps_all_repeats():
    """Least and most are drawn too."""
    found = {Load(OURS, 10): [trial(requests=7), trial(requests=8)]}
    assert panels(found)["requests"][OURS, ""] == {10: Spread((7, 8))}
