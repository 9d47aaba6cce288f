"""Curves: where the points are, and round numbers beside them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some
from PIL import ImageColor

from slipcast.pipeline.tables.plots import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Panel,
    draw,
    ticks_of,
)

numbers = some.floats(-1e4, 1e4).map(lambda value: round(value, 3))


@given(numbers, numbers)
def test_ticks_enclose_all_values_and_are_few(one, other) -> None:
    low, high = sorted((one, other))
    ticks = ticks_of(low, high)
    assert ticks[0] <= low + 1e-9 and ticks[-1] >= high - 1e-9 and ticks[-1] > ticks[0]
    assert 2 <= len(ticks) <= 8


def where(picture: np.ndarray, colour: str) -> np.ndarray:
    """Pixels below the legend that are quite of a colour, [N, 2] as x, y."""
    close = (np.abs(picture.astype(int) - ImageColor.getrgb(colour)).sum(2) < 24).nonzero()
    return np.stack([close[1], close[0]], 1)[close[0] > TOP - 5]


def test_points_are_where_their_numbers_are() -> None:
    """From 0 to 10 and from x = 1 to 4: the line's middle is a third of the way along, or half of it by doublings."""
    marks = {1.0: "1", 2.0: "2", 4.0: "4"}
    lines = {"a": {1.0: [0.0], 2.0: [10.0], 4.0: [0.0]}, "b": {1.0: [10.0], 4.0: [10.0]}}
    for doubling, part in ((False, 1 / 3), (True, 1 / 2)):
        picture = draw([Panel("what", lines)] * 4, "x", marks, doubling=doubling)
        assert picture.shape == (2 * HEIGHT, 3 * WIDTH, 3) and picture.dtype == np.uint8
        for y, x in ((0, 1), (0, 2), (1, 0)):
            there = picture[y * HEIGHT : (y + 1) * HEIGHT, x * WIDTH : (x + 1) * WIDTH]
            assert (there == picture[:HEIGHT, :WIDTH]).all()
        picture = picture[:HEIGHT]
        points = where(picture[:, :WIDTH], COLOURS[0])
        width = WIDTH - LEFT - RIGHT
        bottom = points[points[:, 1] > HEIGHT - BOTTOM - 2]
        assert abs(bottom[:, 0].min() - LEFT) < 5 and abs(bottom[:, 0].max() - (LEFT + width)) < 5
        # The other line lies over the peak itself.
        peak = points[points[:, 1] < TOP + 12][:, 0].mean()
        assert abs(peak - (LEFT + part * width)) < 5


def test_every_seed_is_a_dot_and_the_line_their_mean() -> None:
    marks = {0.0: "0", 1.0: "1"}
    points = where(draw([Panel("what", {"a": {0.0: [0.0, 10.0], 1.0: [5.0]}})], "x", marks), COLOURS[0])
    heights = points[np.abs(points[:, 0] - LEFT) <= 1][:, 1]
    height = HEIGHT - TOP - BOTTOM
    for value in (0, 5, 10):
        assert np.abs(heights - (TOP + height * (1 - value / 10))).min() < 2
