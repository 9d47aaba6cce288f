"""Perp-Neg's law of the view: nothing against the view itself, most against the front from behind."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.guidance.view_negatives import view_negatives


@given(st.floats(-10, 10))
def test_law_left_and_right_are_alike_and_turns_do_not_count(azimuth: float) -> None:
    here = view_negatives(azimuth)
    assert here == pytest.approx(view_negatives(-azimuth), abs=1e-9)
    assert here == pytest.approx(view_negatives(azimuth + 2 * math.pi), abs=1e-9)
    assert all(weight >= 0 for weight in here.values())


def test_the_weights_are_those_of_the_published_constants() -> None:
    def decay(a: float, b: float, c: float, r: float) -> float:
        return a * math.exp(-b * r) + c

    for turn, front, side in (
        (0.0, decay(4, 0.5, -2.426, 1), decay(4, 0.5, -2.426, 0)),
        (0.5, decay(4, 0.5, -2.426, 0.5), decay(4, 0.5, -2.426, 0.5)),
        (1.0, decay(4, 0.5, -2.426, 0), decay(4, 0.5, -2.426, 1)),
        (1.5, decay(1, 0.5, 0.967, 0.5), decay(1, 0.5, -0.606, 0.5)),
        (2.0, decay(1, 0.5, 0.967, 0), decay(1, 0.5, -0.606, 0)),
    ):
        assert view_negatives(turn * math.pi / 2) == pytest.approx({"front": front, "side": side})


def test_the_front_is_left_more_and_more_on_the_way_round() -> None:
    fronts = [view_negatives(turn * math.pi / 20)["front"] for turn in range(21)]
    assert fronts == sorted(fronts) and fronts[0] < 1e-3 and fronts[-1] == pytest.approx(1.967)
    before, after = (view_negatives(math.pi / 2 + step)["front"] for step in (-1e-6, 1e-6))
    assert before == pytest.approx(after, abs=2e-3), "it does not jump at the side"
