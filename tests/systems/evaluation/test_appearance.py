"""Colours, edges and views, on pictures whose figures are known."""

import numpy as np
import pytest

from slipcast.systems.evaluation.alignment import classes_of
from slipcast.systems.evaluation.appearance import (
    canny_discrepancy,
    colours,
    repeats_its_front,
    view_consistency,
)


def test_colours_of_plain_pictures():
    assert colours(np.full((4, 4, 3), 0.5)) == {"saturation": 0, "pure": 0}
    blue = np.zeros((4, 4, 3))
    blue[..., 2] = 1
    assert colours(blue) == {"saturation": 1, "pure": 1}
    blue[:2] = 0.3  # half of it grey
    assert colours(blue) == {"saturation": 0.5, "pure": 0.5}
    assert colours(np.zeros((2, 2, 3))) == {"saturation": 0, "pure": 0}


def test_saturation_is_that_of_hsv():
    import colorsys

    rng = np.random.default_rng(0)
    pixels = rng.random((50, 3))
    expected = np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in pixels])
    assert colours(pixels)["saturation"] == pytest.approx(expected)


def test_canny_discrepancy_counts_the_edges_that_only_one_has():
    square = np.zeros((40, 40, 3), np.float32)
    square[10:30, 10:30] = 1
    plain = np.zeros_like(square)
    assert canny_discrepancy(square, square) == 0
    edges = canny_discrepancy(square, plain)
    assert edges == canny_discrepancy(plain, square)
    assert edges == pytest.approx(4 * 20 / 1600, rel=0.15)  # its outline, one pixel wide


def test_views_that_are_equal_agree_wholly():
    same = np.ones((8, 5))
    assert view_consistency(same) == pytest.approx(1)
    across = np.eye(8)
    assert view_consistency(across) == pytest.approx(0)


def test_a_face_behind_is_a_repeated_front():
    front, side, back = np.eye(3)
    ring = np.stack([front, side, side, side, back, side, side, side])
    assert not repeats_its_front(ring)
    ring[4] = 0.9 * front + 0.1 * back
    assert repeats_its_front(ring)
    ring[2] = front  # one side looks like it as well: then it is no proof
    assert not repeats_its_front(ring)


def test_the_last_word_that_a_class_ends_with_is_the_thing():
    names = ["tench", "coffee mug", "tea cup", "barber chair", "folding chair", "pot pie"]
    assert classes_of("a coffee cup", names) == [2]
    assert classes_of("a wooden CHAIR, front view", names) == [3, 4]
    assert classes_of("a pot", names) == []
