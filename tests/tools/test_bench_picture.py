"""The bench's picture is written."""

import pytest
from bench_report import Spread

pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")

PANELS = {
    "requests": {
        ("ours", ""): {10: Spread((7, 8, 7)), 100: Spread((7, 7, 7))},
        ("official", "0.3 s an answer"): {10: Spread((70,))},
    },
    "memory": {("ours", ""): {10: Spread((0, 0, 1))}},
}


@pytest.mark.parametrize(("name", "begins"), [("bench.svg", b"<?xml"), ("bench.png", b"\x89PNG")])
def test_the_picture_is_of_the_kind_that_its_name_says(tmp_path, name, begins):
    """SVG for the README, PNG for what does not show that."""
    from bench_picture import draw

    draw(PANELS, tmp_path / "images" / name)
    assert (tmp_path / "images" / name).read_bytes().startswith(begins)


def test_the_same_figures_make_the_same_picture(tmp_path):
    """A picture that is drawn again is no change."""
    from bench_picture import draw

    for name in ("one.svg", "two.svg"):
        draw(PANELS, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
