"""Lines found without a network: laws on pictures whose lines are known, and formulas by another library's filters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from slipcast.systems.images.drawn_lines import lineart, scribble, soft_edges

FINDERS = [lineart, scribble, soft_edges]


def drawing(ground: float = 1.0, ink: float = 0.0) -> np.ndarray:
    """A line, two pixels wide, down the middle."""
    picture = np.full((64, 64, 3), ground, np.float32)
    picture[:, 31:33] = ink
    return picture


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_plain_picture_has_no_lines(find, level):
    found = find(np.full((32, 48, 3), level, np.float32))
    assert found.shape == (32, 48) and found.dtype == np.float32
    assert found.max() < 1e-3


@pytest.mark.parametrize("find", [lineart, scribble])
@pytest.mark.parametrize("ink", [0.0, 0.6])
def test_a_dark_line_is_white_on_black_and_a_light_one_is_none(find, ink):
    found = find(drawing(ink=ink))
    assert (found[:, 31:33] > 0.49).all() and found[:, :8].max() < 1e-4
    assert find(drawing(ground=0.0, ink=1.0))[:, 31:33].max() < 1e-4


def test_a_faint_drawing_is_drawn_as_brightly_as_a_strong_one():
    """Half white is the median of what is darker: of one line, all the same."""
    strong, faint = lineart(drawing(ink=0.0)), lineart(drawing(ink=0.7))
    assert np.abs(strong - faint).max() < 0.05 and strong.max() == pytest.approx(0.5, abs=0.02)


def test_lines_are_the_formulas_of_their_authors():
    """On levels of 0 to 255 with scipy's Gaussians, which end a pixel later."""
    grain = ndimage.gaussian_filter(np.random.default_rng(0).random((96, 96)), 2)
    levels = (128 + 1500 * (grain - grain.mean())).clip(0, 255)[..., None] * [1.0, 0.9, 0.8]

    def blurred(width: float) -> np.ndarray:
        return ndimage.gaussian_filter(levels, (width, width, 0), mode="mirror", truncate=4)

    darker = np.min(blurred(6.0) - levels, axis=2).clip(0, 255)
    drawn = (darker / max(16, np.median(darker[darker > 8])) * 127).clip(0, 255)
    assert np.abs(255 * lineart((levels / 255).astype(np.float32)) - drawn).max() < 1
    xdog = np.min(blurred(5.0) - blurred(0.5), axis=2)
    certain = np.abs(xdog - 16) > 0.5
    assert (scribble((levels / 255).astype(np.float32))[certain] == (xdog > 16)[certain]).all()
    assert 0.02 < (xdog > 16).mean() < 0.9


@pytest.mark.parametrize("height", [0.1, 0.3])
def test_a_step_is_an_edge_as_bright_as_it_is_high(height):
    """The slope of a step under a Gaussian of 2 pixels is h / (2 sqrt(2 pi)): the edge is 2 h bright."""
    picture = np.zeros((64, 64, 3), np.float32)
    picture[:, 32:, 1] = height  # in one channel alone
    found = soft_edges(picture)
    assert found[:, 31:33] == pytest.approx(2 * height, rel=0.08)
    assert found[:, :20].max() < 1e-3
    assert np.allclose(soft_edges(picture.transpose(1, 0, 2)), found.T, atol=1e-5)
